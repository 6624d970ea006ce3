"""SIGKILL at random moments of preparation and evaluation, and of one worker of two; of training: tests/test_resume.py.

Whatever is killed, the same command typed again ends as if nothing had happened.
"""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest
from helpers import PROJECT, TINY, run_command

from train import train
from utils.config import load_config

SMALL = [
    "MODEL.TYPE=unet",
    "MODEL.FILTERS=[4,6]",
    "INPUT.HEIGHT=48",
    "INPUT.WIDTH=48",
    "loss=bce_dice",
    "VERBOSE=2",
]


def digest(folder, ignore=()):
    """{relative name: SHA-256} of all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(word in path.as_posix() for word in ignore)
    }


def kill_often(arguments, kills, longest, seed):
    """Start a command and kill it after a random time, `kills` times; then let it end. Returns how many were hit."""
    moments, hits = random.Random(seed), 0
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.3, 0.95) * longest)
        hits += process.poll() is None
        process.kill()
        process.wait()
    result = run_command(*arguments)
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    return hits


def seconds(arguments):
    begin = time.monotonic()
    result = run_command(*arguments)
    assert result.returncode == 0, result.stderr
    return time.monotonic() - begin


def scans(folder):
    from data_preparation.make_phantom import make_phantom

    make_phantom(folder / "data", volumes_train=4, volumes_val=2, size=96, slices=20)
    return ["data_preparation/preprocess_data.py", f"WORK_DIR={folder}", "VERBOSE=0", *TINY]


def shards(folder, phantom):
    source = phantom / "data/train"
    options = ["--name", "train", "--shards", 2, "--workers", 1]
    return ["data_preparation/tfrecord.py", source / "images", source / "mask", folder / "shards", *options]


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["preprocess_data", "tfrecord"])
def test_a_killed_preparation_ends_with_the_same_files(what, kills, tmp_path, phantom):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    make = scans if what == "preprocess_data" else lambda folder: shards(folder, phantom)
    longest = seconds(make(whole))
    hits = kill_often(make(killed), kills, longest, what)
    found = [digest(folder, ignore=("manifest", "/scans/", "/Training")) for folder in (whole, killed)]
    assert len(found[0]) > 1 and found[0] == found[1]
    print(f"{what}: killed {hits} of {kills} times, same {len(found[0])} files")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, phantom):
    folder = tmp_path_factory.mktemp("trained")
    paths = [f"CALLBACKS.{name}.PATH={folder}" for name in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")]
    train(load_config([f"WORK_DIR={phantom}", *SMALL, *paths, "HYPER_PARAMETERS.EPOCHS=1"]))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 30])
def test_a_killed_evaluation_keeps_the_scores_that_were_there(kills, trained, phantom):
    command = ["evaluate.py", f"WORK_DIR={phantom}", "MODEL.TYPE=unet", f"CALLBACKS.MODEL_CHECKPOINT.PATH={trained}"]
    longest = seconds([*command, "VERBOSE=0"])
    scores = trained / "model_unet.evaluation/evaluation.json"
    before, weights = scores_of(scores), digest(trained, ignore=("evaluation",))
    hits = kill_often([*command, "VERBOSE=0"], kills, longest, 0)
    assert hits >= kills / 3 - 1 and scores_of(scores) == before and digest(trained, ignore=("evaluation",)) == weights
    print(f"evaluation: killed {hits} of {kills} times, same scores")


def scores_of(path):
    return {split: found["scores"] for split, found in json.loads(path.read_text())["splits"].items()}


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("localhost", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def start_workers(folder, phantom, *options):
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    paths = [f"CALLBACKS.{name}.PATH={folder}" for name in ("MODEL_CHECKPOINT", "CSV_LOGGER", "TENSORBOARD")]
    return [
        subprocess.Popen(
            [sys.executable, "train.py", f"WORK_DIR={phantom}", *SMALL, *paths, "STRATEGY.NAME=multi_worker", *options],
            cwd=PROJECT,
            env={**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_one_worker_of_two_killed(lost, tmp_path, phantom):
    """The other ends by itself, in bounded time, with one clear line; the same commands go on. Worker 0 writes."""
    workers = start_workers(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=500")
    try:
        for line in workers[0].stdout:
            if "Epoch 2/" in line:
                break
        workers[lost].kill()
        output, _ = workers[1 - lost].communicate(timeout=120)
    finally:
        for worker in workers:
            worker.kill()
    assert "Traceback" not in output, output[-3000:]
    if lost == 0 and os.environ.get("KERAS_BACKEND") == "jax":
        # JAX's service lives in the first worker. Without it XLA aborts the others, in general before our line.
        assert workers[1].returncode in (2, -signal.SIGABRT), output[-3000:]
    else:
        assert workers[1 - lost].returncode == 2, output[-3000:]
        assert "Error: Another worker" in output and "Start all of them again" in output
    workers = start_workers(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=500", "CALLBACKS.EARLY_STOPPING.PATIENCE=1")
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert "Epoch 1/" not in outputs[0]


@pytest.mark.slow
def test_workers_told_to_stop_end_the_epoch_and_go_on(tmp_path, phantom):
    """As SLURM does before it takes the machines away: SIGTERM to all."""
    workers = start_workers(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=500")
    try:
        for line in workers[0].stdout:
            if "Epoch 2/" in line:
                break
        for worker in workers:
            worker.terminate()
        outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert "Traceback" not in "".join(outputs) and "the state is saved in" in outputs[0], outputs
    assert workers[0].returncode == 143, outputs
    workers = start_workers(tmp_path, phantom, "HYPER_PARAMETERS.EPOCHS=500", "CALLBACKS.EARLY_STOPPING.PATIENCE=1")
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert "Epoch 1/" not in outputs[0]
