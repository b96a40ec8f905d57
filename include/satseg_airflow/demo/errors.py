"""Why a demo ends early."""

from satseg.errors import SatsegError


class DemoFailedError(SatsegError):
    """A run failed, or something the demo is there to show did not happen; the message says what to do."""
