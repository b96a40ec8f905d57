"""The packaged model is tried as a server would use it."""

import numpy as np
import pytest

from satseg.config.operation import PromotionConfig
from satseg.errors import BadDataError, InterruptedRunError
from satseg.models.interface import ModelDescription
from satseg.registry import packaged
from satseg.registry.packaged import compared, noise_windows, packaged_gates
from satseg.tracking.probe import probe_packaged

RULES = PromotionConfig()


def description(**changes):
    return ModelDescription(
        **{
            "project": "houses",
            "architecture": "linknet",
            "backbone": "x",
            "bands": ("red", "green", "blue"),
            "dtype": "uint8",
            "classes": ("building",),
            "patch_px": 32,
            "gsd_m": None,
            "mean": (100.0, 100.0, 100.0),
            "std": (300.0, 10.0, 10.0),
            "dataset_version": "v1",
            "patch_set": "set",
        }
        | changes
    )


def test_noise_fits_the_model():
    windows = noise_windows(description())
    assert windows.shape == (2, 32, 32, 3)
    assert windows.dtype == np.uint8
    assert {0, 255} <= {*windows[..., 0].ravel()}
    assert noise_windows(description(dtype="float32")).dtype == np.float32
    assert noise_windows(description(patch_px=100)).shape[1:3] == (128, 128)


ONES = np.ones((2, 32, 32, 1), np.float32)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ONES[:, ::2], r"shape (2, 16, 32, 1) instead of (2, 32, 32, 1)"),
        (ONES * np.nan, "NaN or infinite"),
        (ONES * 7, "lie in 7..7 instead of 0..1"),
        (ONES * 0.99, "differ by 0.01"),
    ],
)
def test_what_is_wrong_with_the_predictions_is_said(answer, words):
    with pytest.raises(BadDataError) as raised:
        compared(answer.astype(np.float32), ONES, description())
    assert words in str(raised.value)


def test_rounding_is_no_difference():
    assert compared(ONES - np.float32(1e-6), ONES, description()) == pytest.approx(1e-6, rel=0.1)


def _raising(error):
    def fail(*args):
        raise error

    return fail


def test_failure_is_evidence_and_being_told_to_stop_is_not(monkeypatch):
    monkeypatch.setattr(packaged, "_tried", _raising(ValueError("bad zip")))
    (gate,) = packaged_gates(None, "houses", None, RULES)
    assert (gate.outcome, gate.evidence) == ("failed", "ValueError: bad zip")
    monkeypatch.setattr(packaged, "_tried", _raising(InterruptedRunError("SIGTERM")))
    with pytest.raises(InterruptedRunError):
        packaged_gates(None, "houses", None, RULES)


@pytest.mark.parametrize(
    ("bounds", "failed"),
    [
        ({}, set()),
        ({"max_latency_s": 0.1}, {"latency_s"}),
        ({"max_latency_s": 0.3, "max_memory_mib": 400}, {"memory_mib"}),
    ],
)
def test_speed_and_memory_are_held_against_the_projects_bounds(monkeypatch, bounds, failed):
    tried = packaged.Tried(
        key="", windows=6, difference=1e-7, load_s=2.0, latency_s=0.2, memory_mib=500, python="3.11.7"
    )

    class Ref:
        label = "v3"

    monkeypatch.setattr(packaged, "_tried", lambda *args: tried)
    gates = packaged_gates(None, "houses", Ref, PromotionConfig(**bounds))
    assert [gate.name for gate in gates] == ["loads_and_predicts", "latency_s", "memory_mib"]
    assert {gate.name for gate in gates if not gate.passed} == failed
    assert "in a clean process of Python 3.11.7" in gates[0].evidence


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.exit('no such layer')", "no such layer"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9; out of memory?"),
        ("import satseg; exec(open(REAL).read())", "imports satseg, which a server does not have"),
    ],
)
def test_what_happens_in_the_clean_process_is_said(monkeypatch, tmp_path, script, words):
    from satseg.tracking import probe

    real = tmp_path / "real.py"
    real.write_text(
        "import json, sys, pathlib; import numpy as np\n"
        "out = pathlib.Path(sys.argv[3]); np.save(out / 'probabilities.npy', np.zeros(1))\n"
        "(out / 'probe.json').write_text(json.dumps({'foreign': [m for m in ('satseg',) if m in sys.modules]}))\n"
    )
    child = tmp_path / "child.py"
    child.write_text(script.replace("REAL", repr(str(real))))
    monkeypatch.setattr(probe, "CHILD", child)
    with pytest.raises(BadDataError, match=words):
        probe_packaged(tmp_path, np.zeros((1, 32, 32, 3), np.uint8))
