import pytest

from satseg.errors import InterruptedRunError, TemporaryError
from satseg.tracking import patience
from satseg.tracking.patience import patiently


class Service:
    """Fails so many times, then answers; its clock stands still but for the pauses."""

    def __init__(self, failures, monkeypatch, error=None):
        self.calls, self.failures, self.now = 0, failures, 0.0
        self.error = error or TemporaryError("MLflow at x does not answer: connection refused.")
        monkeypatch.setattr(patience.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(patience.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "answer"


def test_a_service_that_comes_back_costs_only_the_wait(monkeypatch, capsys):
    service = Service(6, monkeypatch)
    assert patiently(service, 300) == "answer"
    assert service.now == 1 + 2 + 4 + 8 + 16 + 30
    assert "connection refused. Trying again in 16 s." in capsys.readouterr().err


def test_a_service_that_stays_away_ends_the_patience_in_time(monkeypatch):
    service = Service(1000, monkeypatch)
    with pytest.raises(TemporaryError, match="does not answer"):
        patiently(service, 300)
    assert 270 <= service.now <= 300


def test_a_full_disk_and_an_order_to_stop_are_not_waited_for(monkeypatch):
    for error in (TemporaryError("(OperationalError) database or disk is full"), InterruptedRunError("Told to stop")):
        service = Service(1000, monkeypatch, error)
        with pytest.raises(type(error)):
            patiently(service, 300)
        assert service.calls == 1
