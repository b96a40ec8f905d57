"""`python -m satseg` and the console script."""

import sys

from satseg.cli.app import main


def run() -> None:
    """End the process with the exit code of `main`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
