"""Devices, precision and random seeds. TensorFlow is imported inside the functions: settings are checked without it."""

from __future__ import annotations

import atexit
import copy
import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.keras_settings import choose_backend, set_keras
from utils.base.progress import Task
from utils.base.registry import load_object, look_up
from utils.base.startup import end_at_once, interrupt_later, quiet_stderr, without_unused_packages
from utils.config.checks import check_strategy
from utils.devices.clusters import find_workers, several_workers

if TYPE_CHECKING:
    import tensorflow as tf

# STRATEGY.NAME -> function cfg -> tf.distribute.Strategy
STRATEGIES = {
    "auto": "utils.devices.strategy:automatic",
    "single": "utils.devices.strategy:single",
    "mirrored": "utils.devices.strategy:mirrored",
    "multi_worker": "utils.devices.strategy:multi_worker",
    "tpu": "utils.devices.strategy:tpu",
}

PRECISIONS = {False: "float32", True: "mixed_float16", "bfloat16": "mixed_bfloat16"}


def make_strategy(cfg: DictConfig) -> tf.distribute.Strategy:
    """Seed everything, set the precision, and return the `tf.distribute.Strategy` to build and train under.

    Raises:
        UserError: a GPU, a cluster or a TPU cannot be found; settings that do not work on several devices.
    """
    choose_backend()
    # As the process ends, Python would look for garbage in all of TensorFlow: one to two seconds without a word.
    atexit.register(gc.freeze)
    quiet = not cfg.VERBOSE or "tensorflow" in sys.modules
    with quiet_stderr(loud=cfg.VERBOSE == 2), Task("loading TensorFlow", quiet=quiet, leave=False):
        with interrupt_later(), without_unused_packages():
            import keras
            import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        split_cpu(cfg.STRATEGY.LOGICAL_CPUS)
        if cfg.OPTIMIZATION.DETERMINISTIC:
            tf.config.experimental.enable_op_determinism()
        # With several workers the strategy has to come before any operation; it probes the devices itself.
        strategy = load_object(look_up(STRATEGIES, cfg.STRATEGY.NAME, "STRATEGY.NAME"))(cfg)
        tf.zeros(1)
    set_keras()
    if strategy.num_replicas_in_sync > 1 and cfg.OPTIMIZER.ACCUMULATION_STEPS > 1 and cfg.OPTIMIZATION.AMP is True:
        raise UserError(
            f"OPTIMIZER.ACCUMULATION_STEPS={cfg.OPTIMIZER.ACCUMULATION_STEPS} on several devices cannot be "
            "combined with OPTIMIZATION.AMP=True, whose loss scale may change in between. Set "
            "OPTIMIZATION.AMP=bfloat16 or false, or USE_MULTI_GPUS.VALUE=False."
        )
    if strategy.num_replicas_in_sync > 1 and cfg.MODEL.SYNC_BATCH_NORM and cfg.OPTIMIZATION.XLA:
        raise UserError(
            "MODEL.SYNC_BATCH_NORM=True on several devices cannot be combined with OPTIMIZATION.XLA=True, which "
            "compiles each device's part of a step alone. Set one of them to False."
        )
    keras.utils.set_random_seed(cfg.SEED)
    keras.config.set_dtype_policy(PRECISIONS[cfg.OPTIMIZATION.AMP])
    return strategy


def join_workers(cfg: DictConfig) -> DictConfig:
    """The config with STRATEGY.NAME=multi_worker in place of auto, if this process is one of several that train.

    For training only: any other command runs alone and would wait for the others forever.

    Raises:
        UserError: settings that do not work with several workers.
    """
    if cfg.STRATEGY.NAME != "auto" or not several_workers():
        return cfg
    joined = copy.deepcopy(cfg)
    joined.STRATEGY.NAME = "multi_worker"
    check_strategy(joined)
    return joined


def automatic(cfg: DictConfig) -> tf.distribute.Strategy:
    """The GPUs of USE_MULTI_GPUS if there are several or if it asks for them, else one device.

    Without GPUs, logical CPUs take their place.
    """
    import tensorflow as tf

    wanted = cfg.USE_MULTI_GPUS.VALUE
    if wanted is None:
        devices = len(tf.config.list_physical_devices("GPU")) or cfg.STRATEGY.LOGICAL_CPUS or 1
        wanted = devices > 1 or cfg.USE_MULTI_GPUS.GPU_IDS != -1
    return mirrored(cfg) if wanted else single(cfg)


def single(cfg: DictConfig) -> tf.distribute.Strategy:
    """One device."""
    import tensorflow as tf

    return tf.distribute.get_strategy()


def mirrored(cfg: DictConfig) -> tf.distribute.Strategy:
    """The GPUs of USE_MULTI_GPUS.GPU_IDS, each with a copy of the model. Without GPUs, the logical CPUs."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")
    if not gpus and cfg.STRATEGY.LOGICAL_CPUS is not None:
        # Collective operations of one process get mixed up when a second model is trained in it.
        return tf.distribute.MirroredStrategy([cpu.name for cpu in cpus], tf.distribute.ReductionToOneDevice())
    if not gpus and cfg.STRATEGY.NAME == "mirrored":
        raise UserError(
            "STRATEGY.NAME=mirrored, but TensorFlow sees no GPU here. To try it on CPUs, set STRATEGY.LOGICAL_CPUS=2."
        )
    chosen = choose_gpus(cfg.USE_MULTI_GPUS.GPU_IDS, len(gpus))
    return tf.distribute.MirroredStrategy([f"/gpu:{number}" for number in chosen])


def multi_worker(cfg: DictConfig) -> tf.distribute.Strategy:
    """Several processes, on this machine or others, each with all the GPUs it sees."""
    import tensorflow as tf

    resolver = find_workers(cfg, len(tf.config.list_physical_devices("GPU")))
    cluster = resolver.cluster_spec()
    addresses = [address for job in cluster.jobs for address in cluster.job_tasks(job)]
    if cfg.VERBOSE:
        print(f"Waiting for {len(addresses)} workers: {', '.join(addresses)}", flush=True)
    options = tf.distribute.experimental.CommunicationOptions()
    with end_at_once():
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver, communication_options=options)


def tpu(cfg: DictConfig) -> tf.distribute.Strategy:
    """The TPU of STRATEGY.TPU. Needs the package tensorflow-tpu. Never run on a TPU: none was at hand."""
    import tensorflow as tf

    name = cfg.STRATEGY.TPU
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:  # a name is looked up on the network
        raise UserError(
            f"STRATEGY.TPU={name}: no TPU was found ({str(error).strip().splitlines()[0]}). On a TPU machine install "
            "requirements-tpu.txt (the package tensorflow-tpu) in place of tensorflow, and name the TPU or local."
        ) from None
    return tf.distribute.TPUStrategy(resolver)


def split_cpu(count: int | None) -> None:
    """Make `count` logical devices of the CPU, to try strategies without GPUs. None leaves it whole."""
    import tensorflow as tf

    if count is None:
        return
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise UserError(
                f"STRATEGY.LOGICAL_CPUS={count} comes too late: TensorFlow already runs with "
                f"{len(tf.config.list_logical_devices('CPU'))}. Start a new process."
            ) from None


def local_replicas(strategy: tf.distribute.Strategy) -> int:
    """Replicas of this process. With several workers, each has its own."""
    return 1 if strategy.num_replicas_in_sync == 1 else len(strategy.extended.worker_devices)


def worker(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """(number of this worker, workers). Worker 0, the chief, writes the files."""
    if not getattr(strategy.extended, "_in_multi_worker_mode", lambda: False)():
        return 0, 1
    workers = strategy.num_replicas_in_sync // local_replicas(strategy)
    return strategy.extended._id_in_cluster, workers  # a TF_CONFIG may have a chief before worker 0


def choose_gpus(gpu_ids: int | Sequence[int], available: int) -> list[int]:
    """Ids of the GPUs that USE_MULTI_GPUS.GPU_IDS asks for: -1 all, n the first n, a list exactly those.

    Raises:
        UserError: a GPU that this machine does not have, or one named twice.

    Example:
        >>> choose_gpus(2, available=4)
        [0, 1]
        >>> choose_gpus([1, 3], available=4)
        [1, 3]
    """
    if not available:
        raise UserError(
            f"USE_MULTI_GPUS asks for GPUs (GPU_IDS={gpu_ids}), but TensorFlow sees no GPU here. Set "
            "USE_MULTI_GPUS.VALUE=False."
        )
    if gpu_ids == -1:
        return list(range(available))
    chosen = list(range(gpu_ids)) if isinstance(gpu_ids, int) else list(gpu_ids)
    missing = [number for number in chosen if not 0 <= number < available]
    if missing or not chosen:
        raise UserError(
            f"USE_MULTI_GPUS.GPU_IDS={gpu_ids} asks for GPUs {missing or 'none'}; this machine has ids "
            f"0 to {available - 1}. Use -1 for all."
        )
    if len(set(chosen)) < len(chosen):
        raise UserError(f"USE_MULTI_GPUS.GPU_IDS={gpu_ids} names a GPU twice.")
    return chosen
