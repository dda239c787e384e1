"""Compare settings of a baseline without any test image, on the synthetic defects of `synthetic_defects.py`.

    python benchmarks/baseline_settings.py data/results/baseline_settings.csv simplenet --data mini
    '{}' '{"noise": 1.0}' '{"noise": 1.0, "steps": 500}'

Each setting is a JSON object of the baseline's options; {} are its defaults. A third of the normal training images is
held out, and each is scored as it is and with one defect. The rows of a baseline, a data set and a setting are added to
the CSV or replace those that it has: the means over categories of the metrics, and the seconds of the fit.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from provenance import write
from synthetic_defects import SyntheticTest, evaluate

from mintad.baselines import BASELINES
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.baselines import fit_baseline, published
from mintad.runs.options import resolve_config
from mintad.runs.prepare import prepare_data
from mintad.scoring.metrics import MEAN

SHOWN = ("image_auroc_max", "pixel_ap_spoiled")


def main() -> None:
    """Fit the baseline with every setting, and write the CSV after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("baseline", choices=sorted(BASELINES.on_features()))
    parser.add_argument("settings", nargs="+", type=json.loads)
    parser.add_argument("--preset")
    parser.add_argument("--data", default="mini")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=["data.holdout=0.34"], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
    config = published(arguments.baseline, config)
    prepared = prepare_data(config, progress=False)
    test = SyntheticTest.from_holdout(prepared, config.features.image_size)
    for options in arguments.settings:
        began = time.perf_counter()
        baseline, _, _ = fit_baseline(arguments.baseline, prepared, config, options=options)
        seconds = time.perf_counter() - began
        values = evaluate(baseline, prepared, config, test)
        measured = {metric: round(float(values[MEAN, metric]), 4) for metric in SHOWN}
        key = {"baseline": arguments.baseline, "data": arguments.data, "setting": json.dumps(options)}
        print(*key.values(), *measured.values(), f"{seconds:.0f} s", flush=True)
        rows = [{**key, "metric": m, "value": v} for m, v in {**measured, "seconds": round(seconds, 1)}.items()]
        earlier = read_commented_csv(arguments.csv)[1].to_dict("records") if arguments.csv.exists() else []
        write(arguments.csv, [row for row in earlier if any(row[name] != key[name] for name in key)] + rows)


if __name__ == "__main__":
    main()
