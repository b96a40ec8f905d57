"""Every error satseg raises on purpose, with its exit code and whether trying again can help.

A message says what is wrong, with which value, and how to mend it. The command line prints it without a
traceback; the Airflow stage operator turns the exit code into fail, retry or skip.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a `satseg` process says by the code it ends with."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_DATA = 3
    DECIDED_AGAINST = 4
    TEMPORARY = 75


class SatsegError(Exception):
    """Base of all errors a user can do something about."""

    exit_code: ExitCode = ExitCode.UNEXPECTED

    @property
    def retry_helps(self) -> bool:
        """Whether the same call can succeed later without anybody changing anything."""
        return self.exit_code is ExitCode.TEMPORARY


class ConfigurationError(SatsegError):
    """Wrong usage: an option, a project file or an environment variable."""

    exit_code = ExitCode.USAGE


class NotFoundError(ConfigurationError):
    """A named thing (project, dataset version, patch set, run, model version, scene) does not exist."""


class BadDataError(SatsegError):
    """Input data that cannot be used: a scene, a label file, a patch set, a model file."""

    exit_code = ExitCode.BAD_DATA


class SplitLeakError(BadDataError):
    """Training windows lie within the buffer of validation or test windows."""


class TrainingDivergedError(BadDataError):
    """The loss became NaN or infinite."""


class TemporaryError(SatsegError):
    """A service is unreachable, a lock is held, or the process was told to stop: trying again can help."""

    exit_code = ExitCode.TEMPORARY


class LockHeldError(TemporaryError):
    """Another process works on the same thing."""


class InterruptedRunError(TemporaryError):
    """The process was told to stop (SIGTERM) and saved what it had."""
