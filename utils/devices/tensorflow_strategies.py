"""Strategies of TensorFlow: one device, several GPUs, several processes, a TPU."""

from __future__ import annotations

import tensorflow as tf
from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.startup import end_at_once
from utils.devices.clusters import find_workers
from utils.devices.gpus import choose_gpus


def start(cfg: DictConfig) -> None:
    """What has to be set before TensorFlow touches a device."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    split_cpu(cfg.STRATEGY.LOGICAL_CPUS)
    if cfg.OPTIMIZATION.DETERMINISTIC:
        tf.config.experimental.enable_op_determinism()


def automatic(cfg: DictConfig) -> tf.distribute.Strategy:
    """The GPUs of USE_MULTI_GPUS if there are several or if it asks for them, else one device.

    Without GPUs, logical CPUs take their place.
    """
    wanted = cfg.USE_MULTI_GPUS.VALUE
    if wanted is None:
        devices = len(tf.config.list_physical_devices("GPU")) or cfg.STRATEGY.LOGICAL_CPUS or 1
        wanted = devices > 1 or cfg.USE_MULTI_GPUS.GPU_IDS != -1
    return mirrored(cfg) if wanted else single(cfg)


def single(cfg: DictConfig) -> tf.distribute.Strategy:
    """One device."""
    return tf.distribute.get_strategy()


def mirrored(cfg: DictConfig) -> tf.distribute.Strategy:
    """The GPUs of USE_MULTI_GPUS.GPU_IDS, each with a copy of the model. Without GPUs, the logical CPUs."""
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
