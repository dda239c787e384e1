"""What the notebook series alone uses: set-up, shared models, checks of exercises, experiments, pages."""
