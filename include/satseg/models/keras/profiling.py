"""A TensorBoard profile of some training steps."""

from pathlib import Path

from satseg.models.keras.runtime import tf


class StepProfiler:
    """Profiles steps `first` … `first + count - 1`; the steps before are slow because the graph is traced."""

    def __init__(self, folder: Path, first: int = 4, count: int = 10) -> None:
        self.folder = folder
        self._first = first
        self._end = first + count
        self._done = 0
        self._active = False

    def step(self) -> None:
        """Count a step that is done."""
        self._done += 1
        if self._done == self._first - 1:
            tf.profiler.experimental.start(str(self.folder))
            self._active = True
        elif self._done == self._end - 1:
            self.close()

    def close(self) -> None:
        """Write the profile, if one was begun."""
        if self._active:
            self._active = False
            tf.profiler.experimental.stop()
