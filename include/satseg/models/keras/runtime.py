"""The one place that imports TensorFlow and Keras: legacy Keras, quiet logs."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["SM_FRAMEWORK"] = "tf.keras"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    # TensorFlow's C++ part greets before it has read TF_CPP_MIN_LOG_LEVEL, and calls a missing GPU an error
    if threading.current_thread() is not threading.main_thread():  # stderr is the whole process's: others may write now
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _native_stderr_closed(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    import tf_keras as keras
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2 as constant_weights

    # a GPU's memory is taken as needed: several stages may share one
    for _gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(_gpu, True)

tf.get_logger().setLevel(logging.ERROR)
# layers with randomness get generators that can be set, so that a resumed training goes on exactly
keras.backend.experimental.enable_tf_random_generator()

# functions for tf.data and tf.function are taken as they are: AutoGraph would write each to a file in /tmp that a
# killed process leaves there
plain_graph = tf.autograph.experimental.do_not_convert

__all__ = ["constant_weights", "keras", "plain_graph", "segmentation_models", "tf"]


def segmentation_models() -> Any:
    """Import segmentation_models on tf.keras; loading a saved model does not need it."""
    with warnings.catch_warnings(), redirect_stdout(None):  # it greets on stdout
        warnings.simplefilter("ignore")
        import segmentation_models as library

    return library
