"""Names and sizes of Airflow pools, and the queues of its Celery workers."""

from satseg.storage.devices import devices

GPU_POOL = "gpu"  # says how many tasks train or predict at once; a lease says on which device
GPU_QUEUE = "gpu"  # the Celery workers on machines with GPUs; the LocalExecutor has no queues
DEFAULT_QUEUE = "default"


def gpu_slots() -> int:
    """Return the size of the pool `gpu`: one slot per GPU, or the CPU slots of a machine without any."""
    return len(devices())
