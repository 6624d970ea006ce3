"""Devices, precision and random seeds."""

import contextlib
import json
import os
import sys
import tempfile

from utils.errors import UserError
from utils.lookup import choose, load


@contextlib.contextmanager
def quiet_stderr():
    """Keep what native libraries print at start-up off the terminal, unless something unexpected happens.

    TensorFlow logs device probing to file descriptor 2 before any of its log settings count.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except UserError:
            raise  # its message says it all
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


# STRATEGY.NAME -> function cfg -> tf.distribute.Strategy
STRATEGIES = {
    "auto": "utils.devices:automatic",
    "single": "utils.devices:single",
    "mirrored": "utils.devices:mirrored",
    "multi_worker": "utils.devices:multi_worker",
    "tpu": "utils.devices:tpu",
}

PRECISIONS = {False: "float32", True: "mixed_float16", "bfloat16": "mixed_bfloat16"}


def make_strategy(cfg):
    """Seed everything, set the precision, and return the `tf.distribute.Strategy` to build and train under.

    Raises:
        UserError: a GPU id, a cluster or a TPU that is not there.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        import keras
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        split_cpu(cfg.STRATEGY.LOGICAL_CPUS)
        if cfg.OPTIMIZATION.DETERMINISTIC:
            tf.config.experimental.enable_op_determinism()
        # With several workers the strategy has to come before any operation; it probes the devices itself.
        strategy = load(choose(STRATEGIES, cfg.STRATEGY.NAME, "STRATEGY.NAME"))(cfg)
        tf.zeros(1)
    if strategy.num_replicas_in_sync > 1 and cfg.OPTIMIZER.ACCUMULATION_STEPS > 1 and cfg.OPTIMIZATION.AMP is True:
        raise UserError(
            f"OPTIMIZER.ACCUMULATION_STEPS={cfg.OPTIMIZER.ACCUMULATION_STEPS} on several devices does not go with "
            "OPTIMIZATION.AMP=True, whose scale may change in between: set OPTIMIZATION.AMP=bfloat16 or false."
        )
    keras.utils.set_random_seed(cfg.SEED)
    keras.config.set_dtype_policy(PRECISIONS[cfg.OPTIMIZATION.AMP])
    return strategy


def automatic(cfg):
    """All GPUs that USE_MULTI_GPUS names; else one device."""
    return mirrored(cfg) if cfg.USE_MULTI_GPUS.VALUE else single(cfg)


def single(cfg):
    import tensorflow as tf

    return tf.distribute.get_strategy()


def mirrored(cfg):
    """The GPUs of USE_MULTI_GPUS.GPU_IDS, each with a copy of the model; without GPUs the logical CPUs."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")
    if not gpus and cfg.STRATEGY.LOGICAL_CPUS is not None:
        # Collective operations of one process get mixed up when a second model is trained in it.
        return tf.distribute.MirroredStrategy([cpu.name for cpu in cpus], tf.distribute.ReductionToOneDevice())
    if not gpus and not cfg.USE_MULTI_GPUS.VALUE:
        raise UserError(
            "STRATEGY.NAME=mirrored, but TensorFlow sees no GPU here; STRATEGY.LOGICAL_CPUS=2 tries it on CPUs."
        )
    chosen = choose_gpus(cfg.USE_MULTI_GPUS.GPU_IDS, len(gpus))
    return tf.distribute.MirroredStrategy([f"/gpu:{number}" for number in chosen])


def multi_worker(cfg):
    """Several processes, on this machine or others, that TF_CONFIG or SLURM describes."""
    import tensorflow as tf

    if "TF_CONFIG" in os.environ:
        check_tf_config(os.environ["TF_CONFIG"])
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    elif "SLURM_PROCID" in os.environ:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
    else:
        raise UserError(
            "STRATEGY.NAME=multi_worker needs to know its workers: set the environment variable TF_CONFIG for each of "
            "them, or start them with srun. README shows both."
        )
    options = tf.distribute.experimental.CommunicationOptions()
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver, communication_options=options)


def check_tf_config(text):
    """Raise a UserError for a TF_CONFIG that does not say who the workers are and which of them this is."""
    try:
        content = json.loads(text)
        workers, index = content["cluster"]["worker"], content["task"]["index"]
        content["task"]["type"], workers[index]
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(
            f"The environment variable TF_CONFIG={text[:200]} does not describe this worker. It is JSON such as "
            '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}.'
        ) from None


def tpu(cfg):
    """The TPU of STRATEGY.TPU. Needs the package tensorflow-tpu; never tried on one, none was at hand."""
    import tensorflow as tf

    name = cfg.STRATEGY.TPU
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UserError(
            f"STRATEGY.TPU={name}: no TPU was found ({str(error).strip().splitlines()[0]}). On a TPU machine install "
            "requirements-tpu.txt (the package tensorflow-tpu) in place of tensorflow, and name the TPU or local."
        ) from None
    return tf.distribute.TPUStrategy(resolver)


@contextlib.contextmanager
def explain_failures(cfg):
    """Say what to do when the device is out of memory or another worker is gone, instead of where it happened.

    Raises:
        UserError: in place of TensorFlow's error.
    """
    import tensorflow as tf

    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError):
        raise UserError(
            "The device has not enough memory for a step. What was saved before is kept. Lower "
            f"HYPER_PARAMETERS.BATCH_SIZE={cfg.HYPER_PARAMETERS.BATCH_SIZE} (OPTIMIZER.ACCUMULATION_STEPS keeps the "
            f"gradient of a large batch), INPUT {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH} (or DATASET.CROP), MODEL.FILTERS. "
            f"On a GPU OPTIMIZATION.AMP=True halves most of it (now {cfg.OPTIMIZATION.AMP})."
        ) from None
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if cfg.STRATEGY.NAME != "multi_worker":
            raise
        reason = next((line for line in str(error).splitlines() if "Collective" in line), type(error).__name__)
        raise UserError(
            f"Another worker is gone ({reason.strip()}). Start all of them again with the same commands: they go on "
            "from the last epoch that was saved."
        ) from None


def split_cpu(count):
    """Make `count` logical devices of the CPU, so that strategies can be tried without GPUs."""
    import tensorflow as tf

    if count is None:
        return
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise UserError(
                f"STRATEGY.LOGICAL_CPUS={count} comes too late: TensorFlow has begun with "
                f"{len(tf.config.list_logical_devices('CPU'))}. Start a new process."
            ) from None


def local_replicas(strategy):
    """Replicas of this process; with several workers each has its own."""
    return 1 if strategy.num_replicas_in_sync == 1 else len(strategy.extended.worker_devices)


def worker(strategy):
    """(number of this worker, workers); worker 0, the chief, writes the files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not getattr(strategy.extended, "_in_multi_worker_mode", lambda: False)():
        return 0, 1
    workers = strategy.num_replicas_in_sync // local_replicas(strategy)
    return resolver.task_id or 0, workers


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
