"""What to lower when a stage met the memory limit of its container."""

_LOWER = {
    "ingest": "ingest fewer or smaller scenes at once",
    "patch": "give `satseg patch` fewer --threads, or lower patches.shard_mib",
    "train": "lower training.batch_size, training.cache_mib or patches.size_px",
    "tune": "lower training.batch_size, training.cache_mib or patches.size_px",
    "reproduce": "give it the memory that the training had",
    "evaluate": "lower inference.batch_size or inference.window_px",
    "promote": "lower inference.batch_size or inference.window_px",
    "predict": "lower inference.batch_size or inference.window_px, or set inference.split_mpix",
    "export": "export one format at a time",
}


def memory_advice(stage: str, limit_bytes: int) -> str:
    """Return one sentence for people: the limit, and what to raise or lower."""
    lower = _LOWER.get(stage, "give it fewer scenes at once")
    return (
        f"Its container may use {limit_bytes / 2**20:,.0f} MiB (SATSEG_DOCKER_MEMORY, or SATSEG_DOCKER_STAGES for this "
        f"stage alone). Raise that, or {lower}."
    )
