"""Devices, precision and random seeds."""

import contextlib
import os
import sys
import tempfile

from utils.errors import UserError


@contextlib.contextmanager
def quiet_stderr():
    """Keep what native libraries print at start-up off the terminal, unless the block fails.

    TensorFlow logs device probing to file descriptor 2 before any of its log settings count.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def make_strategy(cfg):
    """Seed everything, set the precision, and return the `tf.distribute.Strategy` to build and train under.

    Raises:
        UserError: a GPU id that this machine does not have.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        tf.zeros(1)  # the devices are probed once more when the first operation runs

    keras.utils.set_random_seed(cfg.SEED)
    precision = {False: "float32", True: "mixed_float16", "bfloat16": "mixed_bfloat16"}[cfg.OPTIMIZATION.AMP]
    keras.config.set_dtype_policy(precision)

    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not cfg.USE_MULTI_GPUS.VALUE:
        return tf.distribute.get_strategy()
    chosen = choose_gpus(cfg.USE_MULTI_GPUS.GPU_IDS, len(gpus))
    return tf.distribute.MirroredStrategy([f"/gpu:{number}" for number in chosen])


def local_replicas(strategy):
    """Replicas of this process; with several workers each has its own."""
    return 1 if strategy.num_replicas_in_sync == 1 else len(strategy.extended.worker_devices)


def choose_gpus(gpu_ids, available):
    """Ids of the GPUs that USE_MULTI_GPUS.GPU_IDS means: -1 all, a number the first so many, a list those."""
    if not available:
        raise UserError("USE_MULTI_GPUS.VALUE=True, but TensorFlow sees no GPU here. Set USE_MULTI_GPUS.VALUE=False.")
    if gpu_ids == -1:
        return list(range(available))
    chosen = list(range(gpu_ids)) if isinstance(gpu_ids, int) else list(gpu_ids)
    missing = [number for number in chosen if not 0 <= number < available]
    if missing or not chosen:
        raise UserError(
            f"USE_MULTI_GPUS.GPU_IDS={gpu_ids} asks for GPUs {missing or 'none'}; this machine has ids "
            f"0 to {available - 1}. Use -1 for all."
        )
    return chosen
