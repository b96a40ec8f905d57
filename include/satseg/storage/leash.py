"""`python leash.py PARENT_PID COMMAND…`: become COMMAND, and get SIGTERM from the kernel when the parent dies.

A task whose worker is killed with -9 cannot stop its stage any more; the kernel can (Linux `prctl`,
PR_SET_PDEATHSIG, kept across exec). Elsewhere the command just runs. Plain standard library, started with
`python -I -S`, so that it costs some 15 ms.
"""

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and replace it by the command."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the request reached the kernel
            sys.exit(128 + signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main(sys.argv[1:])
