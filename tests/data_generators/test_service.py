"""DATASET.SERVICE, tried with two processes on this machine: what training sees is what it sees without them."""

import os
import signal
import socket

import numpy as np
import pytest
import warm_helpers
from helpers import TINY
from warm_helpers import run_warm

from data_generators import build_dataset
from utils.base.errors import UserError
from utils.config import load_config

COMMON = [
    *TINY,
    "DATA_GENERATOR_TYPE=TF_DATA",
    "augmentation=light",
    "HYPER_PARAMETERS.BATCH_SIZE=3",
    "HYPER_PARAMETERS.EPOCHS=2",
]


def free_ports(count):
    """Ports `n` of which `n + 1` is free too."""
    found = []
    while len(found) < count:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("localhost", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("localhost", port + 1))
            except OSError:
                continue
            if all(abs(port - other) > 1 for other in found):
                found.append(port)
    return found


@pytest.fixture(scope="module")
def service(phantom):
    """The overrides that name two hosts, and their processes."""
    overrides = [*COMMON, f"WORK_DIR={phantom}"]
    overrides.append(f"DATASET.SERVICE=[{','.join(f'localhost:{port}' for port in free_ports(2))}]")
    command = ["-m", "data_generators.serve", *overrides]
    hosts = [warm_helpers.start(*command, f"+serve={number}") for number in range(2)]
    for number, host in enumerate(hosts):
        assert host.stdout.readline().startswith(f"Serving as host {number} of 2 at localhost:")
    yield overrides, hosts
    for host in hosts:
        host.kill()
        host.wait()


def batches(dataset):
    return [[np.asarray(part) for part in batch] for batch in dataset]


def same(found, expected):
    assert len(found) == len(expected)
    for batch, wanted in zip(found, expected, strict=True):
        for part, other in zip(batch, wanted, strict=True):
            assert part.dtype == other.dtype
            np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("replicas, as_stored", [(1, True), (2, False)])
def test_the_same_batches_in_the_same_order(service, replicas, as_stored):
    overrides, _ = service
    expected, served = (
        build_dataset(load_config(chosen), "train", replicas=replicas, augment=True, as_stored=as_stored)
        for chosen in (overrides[:-1], overrides)
    )
    assert served.steps == expected.steps > 2
    for _ in range(2):
        same(batches(served), batches(expected))
    for dataset in (served, expected):
        dataset.sampler.set_epoch(1, 2)  # as a run that goes on does
    same(batches(served), batches(expected))


@pytest.mark.slow
def test_training_ends_with_the_same_weights(service, tmp_path):
    overrides, _ = service
    found = []
    for name, chosen in (("with", overrides), ("without", overrides[:-1])):
        folders = [
            f"CALLBACKS.{key}.PATH={tmp_path / name}" for key in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")
        ]
        result = run_warm("train.py", *chosen, *folders)
        assert result.returncode == 0, result.stderr
        found.append((tmp_path / name / "model_tiny_unet3plus.weights.h5").read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "other", ["seed", "more epochs", "the hosts in another order", "one host alone"], ids=lambda text: text
)
def test_hosts_that_serve_something_else(other, service):
    overrides, _ = service
    hosts = overrides[-1].split("[")[1].strip("]").split(",")
    changed = {
        "seed": "SEED=7",
        "more epochs": "HYPER_PARAMETERS.EPOCHS=3",
        "the hosts in another order": f"DATASET.SERVICE=[{hosts[1]},{hosts[0]}]",
        "one host alone": f"DATASET.SERVICE=[{hosts[0]}]",
    }[other]
    with pytest.raises(UserError, match="was started with different settings"):
        build_dataset(load_config([*overrides, changed]), "train", augment=True)


def test_a_port_of_connections_that_ended_is_free():
    from data_generators.loaders.service import start_server

    (port,) = free_ports(1)
    with socket.create_server(("localhost", port)) as server, socket.create_connection(("localhost", port)):
        server.accept()[0].close()  # the side that closes first waits for a minute
    assert start_server("localhost", port)


def test_a_port_that_is_taken():
    from data_generators.loaders.service import start_server

    (port,) = free_ports(1)
    with socket.socket() as taken:
        taken.bind(("", port + 1))
        with pytest.raises(UserError, match=f"the port {port + 1} cannot be used"):
            start_server("localhost", port)


def test_a_host_that_is_not_there(phantom):
    (port,) = free_ports(1)
    cfg = load_config([*COMMON, f"WORK_DIR={phantom}", f"DATASET.SERVICE=[localhost:{port}]"])
    with pytest.raises(UserError, match=f"localhost:{port} does not answer"):
        build_dataset(cfg, "train", augment=True)


@pytest.mark.parametrize(
    "override, words",
    [
        ("DATASET.SERVICE=[host1]", "must be a list of name:port"),
        ("DATASET.SERVICE=[host1:5050,host1:5050]", "must name each host once"),
        ("DATASET.SERVICE=[host1:65535]", "must be a list of name:port"),
        ("DATA_GENERATOR_TYPE=TF_GENERATOR", "needs DATA_GENERATOR_TYPE=TF_DATA or TFRECORD"),
        ("STRATEGY.NAME=multi_worker", "does not work with STRATEGY.NAME=multi_worker"),
    ],
)
def test_settings_that_do_not_go_together(override, words):
    with pytest.raises(UserError, match=words):
        load_config(["DATASET.SERVICE=[host1:5050]", "DATA_GENERATOR_TYPE=TF_DATA", override])


def test_a_host_that_dies(service):
    """Last: the host is gone afterwards."""
    overrides, hosts = service
    dataset = build_dataset(load_config(overrides), "train", augment=True)
    found = iter(dataset)
    next(found)
    os.kill(hosts[1].pid, signal.SIGKILL)
    hosts[1].wait()
    with pytest.raises(UserError, match=r"does not answer .*with \+serve=1"):
        list(found)
