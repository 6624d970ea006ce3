"""Which processes train together: from TF_CONFIG, SLURM or Kubernetes. TensorFlow is imported only to ask it."""

import json
import os
import socket
from pathlib import Path

from utils.base.errors import UserError

JOBS = ("chief", "worker")
KUBERNETES_PORT = 8470  # of all pods; each has an address of its own
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def several_workers():
    """Whether TF_CONFIG or srun says that this process is one of several that train together.

    Any pod knows of its Kubernetes, so that alone says nothing.
    """
    if "TF_CONFIG" in os.environ:
        try:
            cluster = json.loads(os.environ["TF_CONFIG"]).get("cluster", {})
            return sum(len(cluster.get(job, ())) for job in JOBS) > 1
        except (ValueError, AttributeError, TypeError):
            raise bad_tf_config() from None
    # Of a step of srun; the batch script itself has SLURM_NTASKS and SLURM_PROCID, and is one process.
    return "SLURM_PROCID" in os.environ and os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def find_workers(cfg, gpus):
    """The `tf.distribute` resolver of this process's cluster.

    Args:
        cfg: checked config; STRATEGY.KUBERNETES_LABEL is read.
        gpus: int, those that this process sees.

    Raises:
        UserError: nothing says who the workers are, or which of them this one is.
    """
    if "TF_CONFIG" in os.environ:
        return from_tf_config()
    if "SLURM_PROCID" in os.environ:
        return from_slurm(gpus)
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return from_kubernetes(cfg.STRATEGY.KUBERNETES_LABEL, gpus)
    raise UserError(
        "STRATEGY.NAME=multi_worker needs to know its workers: set the environment variable TF_CONFIG for each of "
        "them, or start them with srun, or as pods of Kubernetes. docs/how-to/clusters.md shows all three."
    )


def from_tf_config():
    import tensorflow as tf

    try:
        content = json.loads(os.environ["TF_CONFIG"])
        job, index = content["task"]["type"], content["task"]["index"]
        content["cluster"][job][index]
        if job not in JOBS:
            raise ValueError(job)
    except (ValueError, KeyError, TypeError, IndexError):
        raise bad_tf_config() from None
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def bad_tf_config():
    return UserError(
        f"The environment variable TF_CONFIG={os.environ['TF_CONFIG'][:200]} does not describe this worker. It is JSON "
        'such as {"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}.'
    )


def from_slurm(gpus):
    """The tasks of this step of srun. Each takes the GPUs that SLURM lets it see."""
    import tensorflow as tf

    try:
        # Its own share of the GPUs is of no use here: it comes after TensorFlow has looked for them, and fails where
        # SLURM shows each task its own. As many as tasks, one for each, make it list all tasks.
        tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=20_000 + int(os.environ.get("SLURM_JOB_ID", 0)) % 10_000,  # other jobs may share a node
            gpus_per_node=tasks,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        workers = resolver.cluster_spec().as_dict()["worker"]
        # TensorFlow numbers hosts by name (n10 before n2), SLURM does not: the place is found by host.
        node = os.environ.get("SLURMD_NODENAME")
        here = [number for number, address in enumerate(workers) if address.rpartition(":")[0] == node]
        number = here[int(os.environ.get("SLURM_LOCALID", 0))] if node else int(os.environ["SLURM_PROCID"])
        return known_cluster(workers, number, gpus)
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise UserError(
            f"SLURM does not say who the workers are ({error}): start them with srun, as in "
            "docs/how-to/clusters.md, or set TF_CONFIG."
        ) from None


def from_kubernetes(label, gpus):
    """The running pods with a label, this one found among them by its address."""
    import tensorflow as tf

    try:
        import kubernetes
    except ImportError:
        raise UserError(
            "STRATEGY.NAME=multi_worker asks Kubernetes for its workers and needs a package: pip install kubernetes. "
            "Where TF_CONFIG is set it is not needed."
        ) from None
    try:
        own = os.environ.get("POD_IP") or socket.gethostbyname(socket.gethostname())
        kubernetes.config.load_incluster_config()
        resolver = tf.distribute.cluster_resolver.KubernetesClusterResolver(
            {"worker": [label]},
            tf_server_port=KUBERNETES_PORT,
            override_client=PodAddresses(kubernetes.client.CoreV1Api(), NAMESPACE.read_text().strip()),
        )
        workers = resolver.cluster_spec().as_dict().get("worker", [])
    except Exception as error:  # the client's own, of its HTTP library, TensorFlow's
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"Kubernetes does not say who the workers are ({reason[0]}). All pods with the label "
            f"STRATEGY.KUBERNETES_LABEL={label} must run, and their service account must be allowed to list pods: "
            "docs/how-to/clusters.md shows both."
        ) from None
    address = f"{own}:{KUBERNETES_PORT}"
    if address not in workers or len(workers) == 1:
        raise UserError(
            f"STRATEGY.KUBERNETES_LABEL={label} finds the workers {', '.join(workers) or 'none'}; this one is "
            f"{address}, and there must be another. Give all pods that label, and POD_IP as in docs/how-to/clusters.md."
        )
    return known_cluster(workers, workers.index(address), gpus)


class PodAddresses:
    """What TensorFlow's resolver asks of Kubernetes, answered for pods that have addresses of their own.

    By itself the resolver takes the addresses of nodes, looks in all namespaces, which takes rights in all of them, and
    reads a file that pods do not have. Pods that have ended are left out here: evicted ones keep their label. Those
    that are still to run stay, and the resolver refuses them: this pod starts again until all run.

    Args:
        api: `kubernetes.client.CoreV1Api`.
        namespace: str, of this pod.
    """

    def __init__(self, api, namespace):
        self.api, self.namespace = api, namespace

    def list_pod_for_all_namespaces(self, label_selector):
        pods = self.api.list_namespaced_pod(self.namespace, label_selector=label_selector)
        pods.items = [pod for pod in pods.items if pod.status.phase not in ("Failed", "Succeeded")]
        for pod in pods.items:
            pod.status.host_ip = pod.status.pod_ip
        return pods


def known_cluster(workers, number, gpus):
    """The resolver of a list of `host:port`, for the worker of that number."""
    import tensorflow as tf

    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": workers}),
        task_type="worker",
        task_id=number,
        num_accelerators={"GPU": gpus} if gpus else {},
        rpc_layer="grpc",
    )
