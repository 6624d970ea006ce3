"""Who trains together: what TF_CONFIG, SLURM and Kubernetes say, with substitutes for the latter two."""

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest
from helpers import slurm, tf_config

from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.clusters import find_workers
from utils.devices.strategy import join_workers

TWO_WORKERS = {"worker": ["a:1", "b:1"]}
STEP = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, "auto"),
        ({"TF_CONFIG": tf_config(TWO_WORKERS)}, "multi_worker"),
        ({"TF_CONFIG": tf_config({"chief": ["a:1"], "worker": ["b:1"]})}, "multi_worker"),
        ({"TF_CONFIG": tf_config({"worker": ["a:1"]})}, "auto"),
        ({"TF_CONFIG": "{}"}, "auto"),
        (STEP, "multi_worker"),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, "auto"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, "auto"),  # the batch script itself
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "auto"),
    ],
)
def test_auto_joins_the_workers_that_are_there(environment, expected, nowhere):
    for name, value in environment.items():
        nowhere.setenv(name, value)
    cfg = load_config()
    assert expected == join_workers(cfg).STRATEGY.NAME
    assert cfg.STRATEGY.NAME == "auto"
    single = load_config(["STRATEGY.NAME=single"])
    assert join_workers(single).STRATEGY.NAME == "single"


def test_what_workers_cannot_do_is_refused_when_auto_finds_them(nowhere):
    nowhere.setenv("TF_CONFIG", tf_config(TWO_WORKERS))
    for overrides, words in (
        (["CALLBACKS.CHECKPOINT_EVERY_STEPS=2"], "CHECKPOINT_EVERY_STEPS"),
        (["DATASET.SERVICE=[a:1]", "DATA_GENERATOR_TYPE=TF_DATA"], "SERVICE"),
    ):
        cfg = load_config(overrides)
        with pytest.raises(UserError, match=words):
            join_workers(cfg)


@pytest.mark.parametrize("text", ["{bad", "{}", tf_config({"worker": ["a:1"]}), tf_config({"ps": ["a:1"]}, "ps", 0)])
def test_a_tf_config_that_says_too_little(text, nowhere):
    nowhere.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG"):
        find_workers(load_config(), 0)


@pytest.mark.parametrize(
    "variables, gpus, workers, number",
    [
        (slurm("gpu[01-03]", "1(x3)", 2, "gpu03", 0, 3), 4, ["gpu01:22345", "gpu02:22345", "gpu03:22345"], 2),
        # SLURM's first node is TensorFlow's last: whoever runs there has its address all the same.
        (slurm("n[2,10]", "1(x2)", 0, "n2", 0, 2), 0, ["n10:22345", "n2:22345"], 1),
        (slurm("a,b", "2,1", 1, "a", 1, 3), 1, ["a:22345", "a:22346", "b:22345"], 1),
    ],
)
def test_slurm_tells_the_workers(variables, gpus, workers, number, nowhere):
    for name, value in variables.items():
        nowhere.setenv(name, value)
    nowhere.setenv(
        "CUDA_VISIBLE_DEVICES", "0"
    )  # one GPU for each task of a node: TensorFlow's own division fails there
    resolver = find_workers(load_config(), gpus)
    assert resolver.cluster_spec().as_dict() == {"worker": workers}
    assert (resolver.task_type, resolver.task_id) == ("worker", number)
    assert resolver.num_accelerators().get("GPU", 0) == gpus
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_slurm_without_srun_says_so(nowhere):
    nowhere.setenv("SLURM_PROCID", "0")
    nowhere.setenv("SLURM_NTASKS", "2")
    with pytest.raises(UserError, match=r"SLURM_STEP_NUM_TASKS.*srun"):
        find_workers(load_config(), 0)


@pytest.fixture
def kubernetes(nowhere, tmp_path):
    """The package `kubernetes` with three pods that run: what it was asked, and the pods, to be changed."""
    found = SimpleNamespace(asked=[], pods={f"job-{i}": (f"10.0.0.{i}", "Running") for i in range(3)})

    def list_namespaced_pod(namespace, label_selector):
        found.asked.append((namespace, label_selector))
        return SimpleNamespace(
            items=[
                SimpleNamespace(
                    metadata=SimpleNamespace(name=name),
                    status=SimpleNamespace(pod_ip=address, host_ip="192.168.0.1", phase=phase),
                )
                for name, (address, phase) in reversed(found.pods.items())
            ]
        )

    package = ModuleType("kubernetes")
    package.config = SimpleNamespace(load_incluster_config=lambda: found.asked.append("rights of the pod"))
    package.client = SimpleNamespace(CoreV1Api=lambda: SimpleNamespace(list_namespaced_pod=list_namespaced_pod))
    nowhere.setitem(sys.modules, "kubernetes", package)
    (tmp_path / "namespace").write_text("team\n")
    nowhere.setattr("utils.devices.clusters.NAMESPACE", tmp_path / "namespace")
    nowhere.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    nowhere.setenv("POD_IP", "10.0.0.1")
    return found


def test_kubernetes_tells_the_workers(kubernetes):
    resolver = find_workers(load_config(["STRATEGY.KUBERNETES_LABEL='job-name=seg'"]), 2)
    assert kubernetes.asked == ["rights of the pod", ("team", "job-name=seg")]
    assert resolver.cluster_spec().as_dict() == {"worker": [f"10.0.0.{i}:8470" for i in range(3)]}
    assert (resolver.task_type, resolver.task_id, resolver.num_accelerators()) == ("worker", 1, {"GPU": 2})


def test_kubernetes_tells_the_workers_of_jax(kubernetes, nowhere):
    import jax

    from utils.devices import jax_strategies

    found = []
    nowhere.setattr(jax.config, "update", lambda *setting: None)
    nowhere.setattr(jax_strategies, "connect", lambda *settings: found.append(settings))
    jax_strategies.join_processes(load_config(["BACKEND=jax", "STRATEGY.NAME=multi_worker", "VERBOSE=0"]))
    nowhere.setenv("OMPI_COMM_WORLD_RANK", "0")
    jax_strategies.join_processes(load_config(["BACKEND=jax", "STRATEGY.NAME=multi_worker", "VERBOSE=0"]))
    assert found == [("10.0.0.0:8470", 3, 1), (None, None, None)]


def test_pods_that_have_ended_are_no_workers(kubernetes):
    kubernetes.pods |= {"job-old": ("10.0.0.7", "Failed"), "job-done": ("10.0.0.8", "Succeeded")}
    resolver = find_workers(load_config(), 0)
    assert resolver.cluster_spec().as_dict() == {"worker": [f"10.0.0.{i}:8470" for i in range(3)]}


def test_kubernetes_that_does_not_tell(kubernetes, nowhere):
    kubernetes.pods["job-2"] = ("10.0.0.2", "Pending")
    with pytest.raises(UserError, match=r'Pod "job-2" is not running.*must run.*docs/how-to/clusters\.md'):
        find_workers(load_config(), 0)
    for pods in (
        {"job-0": ("10.0.0.0", "Running"), "job-9": ("10.0.0.9", "Running")},
        {"job-1": ("10.0.0.1", "Running")},
    ):
        kubernetes.pods = pods
        with pytest.raises(UserError, match=r"KUBERNETES_LABEL=job-name=tensorflow finds .*10\.0\.0\.1:8470.*POD_IP"):
            find_workers(load_config(), 0)
    nowhere.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(UserError, match="pip install kubernetes"):
        find_workers(load_config(), 0)
