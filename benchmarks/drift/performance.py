"""How far off an accuracy that is estimated without labels is, on NannyML's car loan in parts of 5,000 rows."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.drift import sources
from benchmarks.drift.streams import SCORE, Values

from penstock_operator.core.drift.counting import count
from penstock_operator.core.drift.performance import estimator_of
from penstock_operator.core.drift.tally import Frame
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.table import Table

CHUNK = 5_000
_PEER = Path(__file__).parent / "peers" / "nannyml_cbpe.py"


def measure(packages: Path, nannyml: Path) -> dict[str, Any]:
    """Return the mean absolute error of Penstock, of NannyML and of whoever says that nothing changes."""
    case = sources.car_loan(packages)
    known, truth, said = sources.labels(packages)
    right = (truth == said).reshape(-1, CHUNK).mean(axis=1)
    live = {SCORE: np.concatenate([case.before[SCORE], case.after[SCORE]])}
    ours = estimated({SCORE: case.reference[SCORE]}, known, live)
    printed = subprocess.run([str(nannyml), str(_PEER), str(CHUNK)], check=True, capture_output=True, text=True).stdout
    theirs = np.array(json.loads(printed.splitlines()[-1]))
    reference_right = float(((case.reference[SCORE] >= 0.5) == known).mean())
    return {
        "chunkRows": CHUNK,
        "chunks": len(right),
        "accuracy": right.round(4).tolist(),
        "penstock": ours.round(4).tolist(),
        "nannyml": theirs.round(4).tolist(),
        "maePenstock": round(float(np.abs(ours - right).mean()), 5),
        "maeNannyml": round(float(np.abs(theirs - right).mean()), 5),
        "maeUnchanged": round(float(np.abs(reference_right - right).mean()), 5),
    }


def estimated(reference: Values, labels: Any, live: Values) -> Any:
    """Return the estimate of each part, from what pods count."""
    inputs, outputs = without_model(Table(arrays=dict(reference)), [SCORE])
    profile = build(inputs, outputs, labels=labels, choices=Choices())
    estimator = estimator_of(profile)
    assert estimator is not None
    frame = Frame(columns=profile.columns)
    windows = count(frame, {column.name: live[SCORE] for column in profile.columns}, CHUNK)
    estimates = [estimator.of(windows.bins[at, estimator.column]) for at in range(len(windows))]
    return np.array([one.accuracy for one in estimates if one is not None])
