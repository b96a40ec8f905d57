"""Names and sizes of Airflow pools."""

from satseg.storage.devices import devices

GPU_POOL = "gpu"  # says how many tasks train or predict at once; a lease says on which device


def gpu_slots() -> int:
    """Return the size of the pool `gpu`: one slot per GPU, or the CPU slots of a machine without any."""
    return len(devices())
