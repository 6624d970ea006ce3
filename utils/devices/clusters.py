"""Which processes train together, according to TF_CONFIG, SLURM or Kubernetes.

TensorFlow is imported inside the functions: settings are checked without it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from utils.base.errors import UserError

if TYPE_CHECKING:
    from tensorflow.distribute.cluster_resolver import ClusterResolver

JOBS = ("chief", "worker")
IN_KUBERNETES = "KUBERNETES_SERVICE_HOST"  # set in every pod
KUBERNETES_PORT = 8470  # of every pod; each pod has its own address
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def several_workers() -> bool:
    """Whether TF_CONFIG or srun says that this process is one of several that train together.

    Kubernetes is not asked: its variables are set in every pod, alone or not.

    Raises:
        UserError: TF_CONFIG is not JSON.
    """
    if "TF_CONFIG" in os.environ:
        try:
            cluster = json.loads(os.environ["TF_CONFIG"]).get("cluster", {})
            return sum(len(cluster.get(job, ())) for job in JOBS) > 1
        except (ValueError, AttributeError, TypeError):
            raise bad_tf_config() from None
    # Set by srun. The batch script itself, which is one process, has SLURM_NTASKS and SLURM_PROCID too.
    return "SLURM_PROCID" in os.environ and os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def find_workers(cfg: DictConfig, gpus: int) -> ClusterResolver:
    """The resolver of this process's cluster, of `tf.distribute.cluster_resolver`.

    Args:
        cfg: checked config; STRATEGY.KUBERNETES_LABEL is read.
        gpus: number of those that this process sees.

    Raises:
        UserError: it is unknown who the workers are, or which of them this one is.
    """
    if "TF_CONFIG" in os.environ:
        return from_tf_config()
    if "SLURM_PROCID" in os.environ:
        return from_slurm(gpus)
    if IN_KUBERNETES in os.environ:
        return known_cluster(*pods_of_kubernetes(cfg.STRATEGY.KUBERNETES_LABEL), gpus)
    raise UserError(
        "STRATEGY.NAME=multi_worker needs to know its workers: set the environment variable TF_CONFIG for each of "
        "them, or start them with srun or as Kubernetes pods. docs/how-to/clusters.md shows all three."
    )


def from_tf_config() -> ClusterResolver:
    """The cluster of the environment variable TF_CONFIG."""
    import tensorflow as tf

    check_tf_config()
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def check_tf_config() -> tuple[str, int]:
    """(job, number) of this process in TF_CONFIG.

    Raises:
        UserError: it does not describe this process.
    """
    try:
        content = json.loads(os.environ["TF_CONFIG"])
        job, index = content["task"]["type"], content["task"]["index"]
        content["cluster"][job][index]
        if job not in JOBS:
            raise ValueError(job)
    except (ValueError, KeyError, TypeError, IndexError):
        raise bad_tf_config() from None
    return job, index


def bad_tf_config() -> UserError:
    """The error to raise if TF_CONFIG cannot be read."""
    return UserError(
        f"The environment variable TF_CONFIG={os.environ['TF_CONFIG'][:200]} does not describe this worker. It must be "
        'JSON such as {"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}.'
    )


def from_slurm(gpus: int) -> ClusterResolver:
    """The tasks of this srun step. Each takes the GPUs that SLURM lets it see."""
    import tensorflow as tf

    try:
        # The resolver's division of GPUs is useless here: it comes after TensorFlow has looked for them, and fails if
        # SLURM shows each task only its own. One GPU for each task makes it list all tasks.
        tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=20_000 + int(os.environ.get("SLURM_JOB_ID", 0)) % 10_000,  # other jobs may run on the same node
            gpus_per_node=tasks,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        workers = resolver.cluster_spec().as_dict()["worker"]
        # TensorFlow sorts hosts by name (n10 before n2), SLURM does not: find this task by its host.
        node = os.environ.get("SLURMD_NODENAME")
        here = [number for number, address in enumerate(workers) if address.rpartition(":")[0] == node]
        number = here[int(os.environ.get("SLURM_LOCALID", 0))] if node else int(os.environ["SLURM_PROCID"])
        return known_cluster(workers, number, gpus)
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise UserError(
            f"SLURM does not say who the workers are ({error}): start them with srun, as in "
            "docs/how-to/clusters.md, or set TF_CONFIG."
        ) from None


def pods_of_kubernetes(label: str) -> tuple[list[str], int]:
    """(`address:port` of every running pod with a label, by name; number of this one, found by its address).

    Pods that have ended are left out: evicted ones keep their label. If one does not run yet, this pod ends, and
    Kubernetes starts it again until all of them run.

    Raises:
        UserError: Kubernetes does not tell, or this pod is not among several.
    """
    try:
        import kubernetes
    except ImportError:
        raise UserError(
            "STRATEGY.NAME=multi_worker asks Kubernetes for its workers and needs a package: pip install kubernetes. "
            "Or set TF_CONFIG."
        ) from None
    try:
        own = os.environ.get("POD_IP") or socket.gethostbyname(socket.gethostname())
        kubernetes.config.load_incluster_config()
        api, namespace = kubernetes.client.CoreV1Api(), NAMESPACE.read_text().strip()
        pods = api.list_namespaced_pod(namespace, label_selector=label).items
        pods = [pod for pod in pods if pod.status.phase not in ("Failed", "Succeeded")]
        waiting = [f'Pod "{pod.metadata.name}" is not running' for pod in pods if pod.status.phase != "Running"]
        if waiting:
            raise RuntimeError(waiting[0])
    except Exception as error:  # of the client or of its HTTP library
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"Kubernetes does not say who the workers are ({reason[0]}). All pods with the label "
            f"STRATEGY.KUBERNETES_LABEL={label} must run, and their service account must be allowed to list pods: "
            "docs/how-to/clusters.md shows both."
        ) from None
    pods = sorted(pods, key=lambda pod: pod.metadata.name)
    workers = [f"{pod.status.pod_ip}:{KUBERNETES_PORT}" for pod in pods]
    address = f"{own}:{KUBERNETES_PORT}"
    if address not in workers or len(workers) == 1:
        raise UserError(
            f"STRATEGY.KUBERNETES_LABEL={label} finds the workers {', '.join(workers) or 'none'}; this one is "
            f"{address}, and there must be another. Give all pods that label, and POD_IP as in docs/how-to/clusters.md."
        )
    return workers, workers.index(address)


def known_cluster(workers: Sequence[str], number: int, gpus: int) -> ClusterResolver:
    """The resolver of a list of `host:port`, for the worker with that number."""
    import tensorflow as tf

    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": workers}),
        task_type="worker",
        task_id=number,
        num_accelerators={"GPU": gpus} if gpus else {},
        rpc_layer="grpc",
    )
