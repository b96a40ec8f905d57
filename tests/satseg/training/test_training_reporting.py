import pytest

from satseg.errors import InterruptedRunError, TemporaryError
from satseg.training.reporting import EpochLog
from satseg.training.run_folder import EpochRecord, Progress


class Tracked:
    """An MLflow run that is away while `away`."""

    def __init__(self, monkeypatch, seconds=0.0):
        self.now, self.seconds, self.tries = 1000.0, seconds, 0
        monkeypatch.setattr("satseg.training.reporting.time.monotonic", lambda: self.now)
        self.away, self.error = False, TemporaryError("MLflow does not answer.")
        self.metrics, self.times = {}, {}

    def log_metrics(self, metrics, step, measured_at):
        self.tries += 1
        self.now += self.seconds
        if self.away:
            raise self.error
        self.metrics[step] = metrics
        self.times[step] = measured_at.isoformat()


def epoch(number):
    return EpochRecord(
        epoch=number, epochs=9, loss=0.5, val_loss=0.4, val_iou=0.3, val_dice=0.46, lr=1e-3, seconds=2.0,
        time=f"2026-11-23T10:0{number % 10}:00+00:00",
        scores={"val_recall": 0.5},
    )  # fmt: skip


def test_epochs_wait_while_mlflow_is_away_and_are_sent_once_it_is_back(capsys, monkeypatch):
    tracked, progress = Tracked(monkeypatch), Progress()
    log = EpochLog(tracked, progress)
    for number, away in ((1, False), (2, True), (3, True), (4, False)):
        tracked.away = away
        progress.history = [*progress.history, epoch(number)]
        log.send()
        assert progress.logged == {1: 1, 2: 1, 3: 1, 4: 4}[number]
    assert list(tracked.metrics) == [1, 2, 3, 4]
    assert tracked.metrics[2] == {
        "loss": 0.5, "val_loss": 0.4, "val_iou": 0.3, "val_dice": 0.46, "lr": 1e-3, "epoch_seconds": 2.0,
        "val_recall": 0.5,
    }  # fmt: skip
    assert tracked.times == {number: epoch(number).time for number in (1, 2, 3, 4)}  # not the time of sending
    assert "Training goes on; 2 epochs wait to be logged." in capsys.readouterr().err


def test_a_server_that_lets_its_callers_wait_does_not_slow_the_training_down(monkeypatch):
    tracked, progress = Tracked(monkeypatch, seconds=60.0), Progress()
    tracked.away = True
    log = EpochLog(tracked, progress)
    for number in range(1, 101):
        tracked.now += 10.0  # an epoch
        progress.history = [*progress.history, epoch(number)]
        log.send()
    assert 100 * 10 / (tracked.now - 1000.0) > 0.8
    assert tracked.tries >= 3


def test_what_still_waits_at_the_end_is_an_error_that_a_retry_mends(monkeypatch):
    monkeypatch.setattr("satseg.tracking.patience.FIRST_PAUSE_S", 1e9)
    tracked, progress = Tracked(monkeypatch), Progress(history=[epoch(1)])
    tracked.away = True
    with pytest.raises(TemporaryError):
        EpochLog(tracked, progress).finish()
    saved = Progress.model_validate_json(progress.model_dump_json())
    tracked.away = False
    EpochLog(tracked, saved).finish()
    assert list(tracked.metrics) == [1]


def test_an_order_to_stop_is_not_taken_for_a_silent_mlflow(monkeypatch):
    tracked, progress = Tracked(monkeypatch), Progress(history=[epoch(1)])
    tracked.away, tracked.error = True, InterruptedRunError("Told to stop")
    with pytest.raises(InterruptedRunError):
        EpochLog(tracked, progress).send()
