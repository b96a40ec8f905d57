"""`python -I probe_child.py MODEL IMAGES OUT`: load an MLflow model in the serving environment and predict with it.

Runs alone: nothing of satseg may be imported here, or the probe would find what a server does not have. Writes the
probabilities to OUT/probabilities.npy and what it took to OUT/probe.json.
"""

import json
import resource
import sys
import time
from pathlib import Path
from statistics import median

import mlflow
import numpy as np

SINGLE_CALLS = 7


def main(model: str, images: str, out: str) -> None:
    """Load, predict everything, then one window at a time."""
    begin = time.perf_counter()
    loaded = mlflow.pyfunc.load_model(model)
    load_s = time.perf_counter() - begin
    pixels = np.load(images)
    np.save(Path(out) / "probabilities.npy", np.asarray(loaded.predict(pixels)))
    loaded.predict(pixels[:1])  # the first call of a new batch size compiles
    seconds = []
    for number in range(SINGLE_CALLS):
        window = pixels[number % len(pixels)][None]
        begin = time.perf_counter()
        loaded.predict(window)
        seconds.append(time.perf_counter() - begin)
    found = {
        "load_s": load_s,
        "latency_s": median(seconds),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "python": sys.version.split()[0],
        "foreign": sorted({name.partition(".")[0] for name in sys.modules} & {"satseg", "satseg_airflow"}),
    }
    (Path(out) / "probe.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
