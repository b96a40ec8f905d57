"""How many processor threads a training may use."""

import os


def threads_per_run(concurrent: int) -> int:
    """Return the threads of one of `concurrent` trainings on this machine, at least 1.

    Counted are the processors this process may run on. More threads than processors make every training slower.
    """
    return max(1, len(os.sched_getaffinity(0)) // max(1, concurrent))
