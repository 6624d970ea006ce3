"""Strategies of JAX: the devices that a run computes on."""

from __future__ import annotations

import json
import os
import threading

import jax
from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.startup import end_at_once, quiet_end
from utils.devices.clusters import IN_KUBERNETES, check_tf_config, pods_of_kubernetes
from utils.devices.gpus import choose_gpus
from utils.devices.jax_devices import JaxDevices

WAIT_SECONDS = 300  # for the other processes


def start(cfg: DictConfig) -> None:
    """What has to be set before JAX touches a device."""
    count = cfg.STRATEGY.LOGICAL_CPUS
    if count is not None:
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            if jax.device_count("cpu") != count:
                raise UserError(
                    f"STRATEGY.LOGICAL_CPUS={count} comes too late: JAX already runs with {jax.device_count('cpu')}. "
                    "Start a new process."
                ) from None
    if cfg.OPTIMIZATION.DETERMINISTIC and "xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()


def automatic(cfg: DictConfig) -> JaxDevices:
    """The GPUs of USE_MULTI_GPUS, or all TPU cores or logical CPUs, if there are several or if it asks for them.

    Else one device.
    """
    wanted = cfg.USE_MULTI_GPUS.VALUE
    if wanted is None:
        wanted = jax.local_device_count() > 1 or cfg.USE_MULTI_GPUS.GPU_IDS != -1
    return mirrored(cfg) if wanted else single(cfg)


def single(cfg: DictConfig) -> JaxDevices:
    """One device."""
    return JaxDevices(tuple(jax.local_devices()[:1]), "single")


def mirrored(cfg: DictConfig) -> JaxDevices:
    """The GPUs of USE_MULTI_GPUS.GPU_IDS, all TPU cores, or several logical CPUs."""
    devices = jax.local_devices()
    kind = devices[0].platform
    if kind == "gpu" or (kind == "cpu" and len(devices) == 1 and cfg.STRATEGY.NAME != "mirrored"):
        chosen = choose_gpus(cfg.USE_MULTI_GPUS.GPU_IDS, len(devices) if kind == "gpu" else 0)
        devices = [devices[number] for number in chosen]
    elif kind == "cpu" and len(devices) == 1:
        raise UserError(
            "STRATEGY.NAME=mirrored, but JAX sees no GPU here. To try it on CPUs, set STRATEGY.LOGICAL_CPUS=2."
        )
    return JaxDevices(tuple(devices), "mirrored")


def multi_worker(cfg: DictConfig) -> JaxDevices:
    """Several processes, on this machine or others, each with all the devices it sees.

    TF_CONFIG or Kubernetes names them, or SLURM, Open MPI or the TPU, which JAX asks by itself.
    """
    join_processes(cfg)
    return JaxDevices(devices_of_all(), "multi_worker")


def devices_of_all() -> tuple[jax.Device, ...]:
    """The devices of all processes, those of process 0 first."""
    return tuple(sorted(jax.devices(), key=lambda device: (device.process_index, device.id)))


def join_processes(cfg: DictConfig) -> None:
    """Connect to the other processes, unless that was done before.

    Raises:
        UserError: it is unknown who they are, or one of them does not come.
    """
    if jax.distributed.is_initialized():
        return
    known = addresses_of_tf_config()
    started = any(name in os.environ for name in ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK"))
    if known is None and not started and cfg.STRATEGY.NAME == "multi_worker" and IN_KUBERNETES in os.environ:
        known = pods_of_kubernetes(cfg.STRATEGY.KUBERNETES_LABEL)
    who = f"{len(known[0])} workers: {', '.join(known[0])}" if known else "the other workers"
    if cfg.VERBOSE:
        print(f"Waiting for {who}", flush=True)
    address, count, number = (known[0][0], len(known[0]), known[1]) if known else (None, None, None)
    try:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_enable_recoverability", True)  # else XLA aborts this process when another dies
        connect(address, count, number)
    except (RuntimeError, ValueError, TimeoutError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"STRATEGY.NAME=multi_worker: the workers did not come together ({reason}). Set the environment variable "
            "TF_CONFIG for each of them, or start them with srun, as Kubernetes pods, or on each host of a TPU pod. "
            "docs/how-to/clusters.md shows how."
        ) from None


def connect(address: str | None, count: int | None, number: int | None) -> None:
    """`jax.distributed.initialize`, which aborts the process when it has waited too long; this gives up before.

    Raises:
        TimeoutError: another process did not come within WAIT_SECONDS.
        Exception: what it raises.
    """
    failures: list[Exception] = []

    def initialize() -> None:
        try:
            limit = 2 * WAIT_SECONDS + 60
            jax.distributed.initialize(address, count, number, visible_gpus(), initialization_timeout=limit)
        except Exception as error:  # lost in a thread: the run would go on alone
            failures.append(error)

    thread = threading.Thread(target=initialize, daemon=True)
    with end_at_once():
        thread.start()
        thread.join(WAIT_SECONDS)
    if thread.is_alive():
        quiet_end()  # JAX would say that it waits no longer
        raise TimeoutError(f"not all of them came within {WAIT_SECONDS} seconds")
    if failures:
        raise failures[0]


def visible_gpus() -> list[int] | None:
    """All GPUs that CUDA_VISIBLE_DEVICES leaves to this process; None if it names none.

    Without them, JAX gives a task of SLURM the one whose number is that of the task on its node.
    """
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name not in ("", "-1")]
    return list(range(len(names))) or None


def addresses_of_tf_config() -> tuple[list[str], int] | None:
    """(`host:port` of every worker, number of this one) of TF_CONFIG; None if it is not set."""
    if "TF_CONFIG" not in os.environ:
        return None
    job, index = check_tf_config()
    cluster = json.loads(os.environ["TF_CONFIG"])["cluster"]
    chiefs = cluster.get("chief", [])
    return [*chiefs, *cluster.get("worker", [])], index + (len(chiefs) if job == "worker" else 0)


def tpu(cfg: DictConfig) -> JaxDevices:
    """All cores of the TPU, those of every host of a pod slice. Never run on a TPU: none was at hand."""
    if several_tpu_hosts():
        return multi_worker(cfg)
    devices = devices_of_all()
    if devices[0].platform != "tpu":
        raise UserError(
            f"STRATEGY.NAME=tpu BACKEND=jax: JAX sees no TPU here, only {devices[0].platform}. On a TPU machine run "
            "pip install -r requirements-jax.txt 'jax[tpu]'."
        )
    return JaxDevices(devices, "tpu")


def several_tpu_hosts() -> bool:
    """Whether this is one host of a pod slice, as Cloud TPU says it."""
    return len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1
