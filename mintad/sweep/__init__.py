"""Many runs of one notebook: a grid of parameters, on this machine or a Dask cluster, resumable (`mintad sweep`)."""

from mintad.sweep.engine import sweep
from mintad.sweep.plan import PlannedRun, plan
from mintad.sweep.spec import Spec, load_spec
from mintad.sweep.status import Status, read_status
from mintad.sweep.table import collect

__all__ = ["PlannedRun", "Spec", "Status", "collect", "load_spec", "plan", "read_status", "sweep"]
