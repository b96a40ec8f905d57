"""What to say when a training does not fit into memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from satseg.config.training import TrainingConfig
from satseg.errors import ConfigurationError
from satseg.models.keras.runtime import tf

# libraries below TensorFlow report it as an internal or unknown error
_SIGNS = ("out of memory", "failed to allocate", "alloc_failed", "resource exhausted")


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return True
    return isinstance(error, tf.errors.OpError) and any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def out_of_memory_explained(config: TrainingConfig, size_px: int) -> Iterator[None]:
    """Turn the many ways of running out of memory into one message with the batch size and what to lower.

    Raises:
        ConfigurationError: there was not enough memory.
    """
    try:
        yield
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        smaller = "take a smaller backbone or smaller patches.size_px"
        if config.batch_size > 1:
            smaller = f"lower it, for example --set training.batch_size={config.batch_size // 2}, or {smaller}"
        raise ConfigurationError(
            f"Out of memory with training.batch_size {config.batch_size}, {config.architecture} on {config.backbone} "
            f"and windows of {size_px} px: {smaller}. On a GPU training.precision=mixed_float16 needs half the memory."
        ) from error
