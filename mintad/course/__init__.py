"""What the notebook series alone uses: set-up, shared models, checks, experiments, pages; release and grading."""
