"""Names of files in a run directory that sweeps need, too; this module imports nothing, so that it costs nothing."""

EXECUTED = "notebook.ipynb"
"""The executed notebook, where papermill writes it into the run directory; it does so before the run is made."""
PARAMETERS, STATUS = "parameters.json", "status.json"
"""What a sweep keeps in the run directory, from before the run is made."""
