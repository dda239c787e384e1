"""The files of a run directory, by name; this module imports nothing, so that naming one costs nothing.

``config.json`` resolved configuration, ``versions.json``, ``classes.json``, ``images.csv`` (which images trained and
which were held out), ``seconds.json``, ``log.txt``, ``history.csv``, the newest of ``checkpoints/``.

After evaluation ``sharp_prior.safetensors`` where the configuration has one, ``products.safetensors`` (features of the
products), ``photographs.json`` (sizes, formats and the like of the training images), ``scores.csv``, ``maps.npy``,
``threshold.json`` (thresholds of the classes, and the held-out scores behind them), ``made_defects.csv`` where a
category has no anomalous test images (`mintad.runs.made`), ``region.png`` where anomalies count in a part of the image
alone (`mintad.runs.region`), ``digests.json`` of these, the page ``results.html``, and last ``results.csv``: every
number of the model and of the baselines (`mintad.scoring.metrics.RESULT_COLUMNS`).

A process that works in the directory holds the lock on the empty file ``.lock``. Separate models lie in
``categories/``, a run directory each; a sweep adds ``notebook.ipynb``, ``parameters.json`` and ``status.json``.
"""

RESULTS, PAGE = "results.csv", "results.html"
SHARP_PRIOR, PRODUCTS = "sharp_prior.safetensors", "products.safetensors"
RECORD_FILES = ("versions.json", "classes.json", "images.csv", "seconds.json", "log.txt", "history.csv")
PHOTOGRAPHS, DIGESTS, MADE, REGION = "photographs.json", "digests.json", "made_defects.csv", "region.png"
BEFORE = "results_before.csv"  # the former results.csv, while the new files take their names
RESULT_FILES = ("scores.csv", "maps.npy", "threshold.json", MADE, REGION, DIGESTS, PAGE, RESULTS)
"""In the order in which they are written: results.csv says that the run is finished."""
_FITTED = (SHARP_PRIOR, PRODUCTS, PHOTOGRAPHS)
OWN_FILES = (*RECORD_FILES, *_FITTED, *RESULT_FILES, BEFORE, "config.json")  # in the order in which they are removed
CATEGORIES = "categories"  # folder of a separate training: a run directory per category
LOCK = ".lock"
EXECUTED = "notebook.ipynb"
"""The executed notebook, where papermill writes it into the run directory; it does so before the run is made."""
PARAMETERS, STATUS = "parameters.json", "status.json"
"""What a sweep keeps in the run directory, from before the run is made."""
