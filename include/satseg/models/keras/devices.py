"""What a process computes with: threads, number format, one device or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from satseg.config.training import Precision, TrainingConfig
from satseg.errors import ConfigurationError
from satseg.models.keras.runtime import tf

_VOLTA, _AMPERE = (7, 0), (8, 0)


@dataclass(frozen=True)
class Device:
    """What one training computes with.

    Attributes:
        strategy: of TensorFlow, for one device or several.
        precision: 'float32', 'mixed_float16' or 'mixed_bfloat16'.
    """

    strategy: Any
    precision: str

    @property
    def count(self) -> int:
        """Number of devices that share each batch."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def plain(self) -> bool:
        """Whether a network learns as it is: on one device, in float32."""
        return self.count == 1 and self.precision == "float32"


def prepare_device(threads: int | None = None, repeatable: bool = False) -> None:
    """Set what TensorFlow reads once, before its first operation in a process.

    Args:
        threads: of computation and of the input pipeline; None takes all processors.
        repeatable: refuse GPU kernels whose sums depend on chance.
    """
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if repeatable:
        tf.config.experimental.enable_op_determinism()


def compute_capabilities() -> list[tuple[int, int]]:
    """Return the CUDA compute capability of each visible GPU; (0, 0) where it is unknown."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return [tuple(detail.get("compute_capability", (0, 0))) for detail in details]


def choose_precision(setting: Precision, capabilities: Sequence[tuple[int, int]]) -> str:
    """Return the number format of a training.

    'auto' takes half precision where all GPUs have units for it: bfloat16 from Ampere on (it needs no loss scaling),
    float16 on Volta and Turing, float32 on older ones and on processors, where halves are converted back and forth.
    """
    if setting != "auto":
        return setting
    least = min(capabilities, default=(0, 0))
    if least >= _AMPERE:
        return "mixed_bfloat16"
    return "mixed_float16" if least >= _VOLTA else "float32"


def choose_strategy(devices: Sequence[str] | None, batch_size: int) -> Any:
    """Return how a training uses its devices: MirroredStrategy for more than one, otherwise TensorFlow's default.

    Args:
        devices: names such as '/gpu:1'; None takes all visible GPUs.
        batch_size: windows per step over all devices.

    Raises:
        ConfigurationError: the batch cannot be shared equally.
    """
    if devices is None:
        devices = [f"/gpu:{number}" for number in range(len(tf.config.list_physical_devices("GPU")))]
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    if batch_size % len(devices):
        raise ConfigurationError(
            f"training.batch_size {batch_size} cannot be shared equally by {len(devices)} devices. "
            f"Set it to a multiple of {len(devices)}, for example --set training.batch_size="
            f"{-(-batch_size // len(devices)) * len(devices)}."
        )
    return _mirrored(tuple(devices))


@lru_cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    # two strategies on the same devices in one process number their exchanges alike and mix them up
    return tf.distribute.MirroredStrategy(list(devices))


def choose_device(config: TrainingConfig, devices: Sequence[str] | None) -> Device:
    """Return what a training computes with; see `choose_strategy` and `choose_precision`."""
    strategy = choose_strategy(devices, config.batch_size)
    return Device(strategy, choose_precision(config.precision, compute_capabilities()))
