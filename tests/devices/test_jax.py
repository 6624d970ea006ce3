"""Training on JAX: the numbers of TensorFlow, several devices, exact resume, no TensorFlow."""

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import PROJECT, SMALL, UNOPTIMISED, assert_one_clear_error, paths, run_command, tf_config

from train import train
from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.strategy import make_strategy

# Trains the configs of argv[1], {folder: overrides}, in one process without TensorFlow. Prints what JAX compiles.
WITHOUT_TENSORFLOW = """
import json, logging, sys
sys.modules["tensorflow"] = None
import jax

jax.config.update("jax_log_compiles", True)
logging.getLogger("jax").propagate = False
logging.getLogger("jax").addHandler(logging.StreamHandler(sys.stdout))
from train import train
from utils.config import load_config

for folder, overrides in json.loads(sys.argv[1]):
    print("training", folder)
    train(load_config([f"WORK_DIR={folder}", *overrides]))
"""


def train_on_jax(place, runs, devices=1):
    """Train `[(folder, overrides)]` one after the other in one process with so many devices."""
    jobs = json.dumps([(str(folder), [*overrides, "BACKEND=jax"]) for folder, overrides in runs])
    environment = {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(PROJECT),
        "XLA_FLAGS": f"{UNOPTIMISED} --xla_force_host_platform_device_count={devices}",
        # What two runs have in common is compiled once.
        "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = run_command("-c", WITHOUT_TENSORFLOW, jobs, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def read_log(folder):
    with open(folder / "checkpoint/training_logs_unet.csv") as file:
        return [{name: float(value) for name, value in row.items() if name != "run"} for row in csv.DictReader(file)]


def weights(folder):
    import h5py

    values = {}
    with h5py.File(folder / "checkpoint/model_unet.weights.h5") as file:
        file.visititems(lambda name, item: values.update({name: item[()]}) if hasattr(item, "shape") else None)
    return values


@pytest.fixture(scope="module")
def trained(tmp_path_factory, phantom):
    """One epoch on TensorFlow, and the same run after a second one on TensorFlow and on JAX; runs on JAX alone."""
    place = tmp_path_factory.mktemp("jax")
    one = [*SMALL, *paths(phantom), "HYPER_PARAMETERS.BATCH_SIZE=6", "STRATEGY.NAME=single", "RESUME=auto"]
    again = "HYPER_PARAMETERS.EPOCHS=2"
    train(load_config([f"WORK_DIR={place}/tensorflow", *one]))
    shutil.copytree(place / "tensorflow", place / "from_tensorflow")
    train(load_config([f"WORK_DIR={place}/tensorflow", *one, again]))
    dropout = "MODEL.DECODER.DROPOUT=0.2"  # the backends draw other numbers
    runs = [
        (place / "from_tensorflow", [*one, again]),
        (place / "whole", [*one, dropout, again]),
        (place / "resumed", [*one, dropout]),
        (place / "resumed", [*one, dropout, again]),
        (place / "two", [*one, dropout, again, "HYPER_PARAMETERS.BATCH_SIZE=3", "STRATEGY.NAME=auto"]),
    ]
    (place / "compilations.txt").write_text(train_on_jax(place, runs, devices=2))
    return place


def test_a_run_of_tensorflow_goes_on_with_the_same_numbers(trained):
    expected, found = read_log(trained / "tensorflow"), read_log(trained / "from_tensorflow")
    assert found[0] == expected[0]
    for name, value in expected[1].items():
        # Of 23,000 pixels a few lie so close to the threshold that rounding decides.
        tolerance = {"rel": 5e-5} if name.endswith("loss") else {"rel": 5e-4, "abs": 1e-3}
        assert found[1][name] == pytest.approx(value, **tolerance), name
    expected, found = weights(trained / "tensorflow"), weights(trained / "from_tensorflow")
    assert expected.keys() == found.keys() and len(found) > 10
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=2e-4, err_msg=name)


def test_a_resumed_run_is_the_whole_run(trained):
    assert read_log(trained / "whole") == read_log(trained / "resumed")
    run = json.loads((trained / "resumed/checkpoint/model_unet.run.json").read_text())
    assert run["since_last_start"]["epochs"] == 1
    expected, found = weights(trained / "whole"), weights(trained / "resumed")
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_two_devices_compute_what_one_does_with_the_double_batch(trained):
    assert_same_training(trained / "whole", trained / "two")


@pytest.mark.slow
def test_eight_devices_compute_what_one_does_with_eight_times_the_batch(tmp_path, phantom):
    """20 images in batches of 8: of the last one, half of the devices have no image."""
    common = [*SMALL, *paths(phantom), "HYPER_PARAMETERS.EPOCHS=2"]
    runs = [
        (tmp_path / "one", [*common, "HYPER_PARAMETERS.BATCH_SIZE=8", "STRATEGY.NAME=single"]),
        (tmp_path / "eight", [*common, "HYPER_PARAMETERS.BATCH_SIZE=1", "STRATEGY.NAME=auto"]),
    ]
    train_on_jax(tmp_path, runs, devices=8)
    assert json.loads((tmp_path / "eight/checkpoint/model_unet.run.json").read_text())["devices"] == 8
    assert_same_training(tmp_path / "one", tmp_path / "eight")


def assert_same_training(one, several):
    """The logs and the weights of two folders."""
    for expected, found in zip(read_log(one), read_log(several), strict=True):
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-5), name
    assert_same_weights(one, several)


def assert_same_weights(one, several):
    expected, found = weights(one), weights(several)
    assert expected.keys() == found.keys() and len(found) > 10
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_nothing_is_compiled_twice(trained):
    """20 images in batches of 6, so that the last one has two; of the 10 for validation it has four."""
    *_, compilations = (trained / "compilations.txt").read_text().split("training ")
    assert compilations.count("Compiling jit(run)") == len(("step", "forward pass", "loss", "metrics"))


def test_the_training_step():
    """`on_jax.py`, in a process of JAX."""
    run_on_jax("tests/devices/on_jax.py")


# Files of tests of which JAX passes all but what `-k` leaves out: what is of TensorFlow alone.
ON_JAX = {
    "step": ["tests/devices/on_jax.py"],
    "resume": ["tests/training/test_resume.py", "-k", "TF_GENERATOR or not TF_DATA"],
    "stopping": ["tests/training/test_stopping.py"],
    "features": ["tests/training/test_resume_features.py"],  # half an hour on two cores
    "training": [
        "tests/training/test_schedules.py",
        "tests/training/test_epoch_lines.py",
        "tests/training/test_pictures.py",
        "tests/training/test_monitor.py",
        "tests/training/test_data_wait.py",
        "tests/training/test_optimizers.py",
        "tests/training/test_freeze_end.py",
    ],
    "start": [
        "tests/training/test_start_weights.py",
        "tests/training/test_foreign_weights.py",
        "tests/training/test_state_from_elsewhere.py",
    ],
    "strategies": ["tests/devices/test_strategies.py", "-k", "two_replicas or without_an_image or float16 or logical"],
    "failures": ["tests/devices/test_failures.py", "-k", "not memory"],
    "evaluation": ["tests/evaluation/test_evaluate.py", "tests/evaluation/test_folds.py", "-k", "not replicas"],
    "faults": ["tests/faults/test_kills.py", "-k", "worker"],
}


@pytest.mark.slow
@pytest.mark.parametrize("files", ON_JAX)
def test_other_tests_on_jax(files):
    run_on_jax(*ON_JAX[files], "-m", "", timeout=3600)


def run_on_jax(*arguments, timeout=300):
    """Run tests in a process of JAX with two devices."""
    flags = f"{UNOPTIMISED} --xla_force_host_platform_device_count=2"
    arguments = ("-p", "no:hypothesispytest", *arguments)  # its summary imports all of Hypothesis, used or not
    done = run_command("-m", "pytest", *arguments, timeout=timeout, KERAS_BACKEND="jax", XLA_FLAGS=flags)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


def test_a_summary_says_what_it_ran_on(trained):
    run = json.loads((trained / "two/checkpoint/model_unet.run.json").read_text())
    assert (run["backend"], run["strategy"], run["devices"]) == ("jax", "mirrored", 2)
    assert run["versions"].keys() == {"application", "jax", "keras"}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 4])  # of 20 images, four devices twice get ten in a single batch
def test_two_processes_train_as_one_device_does(devices, tmp_path, phantom, free_port):
    common = [*SMALL, *paths(phantom), "BACKEND=jax", "HYPER_PARAMETERS.BATCH_SIZE=4"]
    cluster = {"worker": [f"localhost:{free_port}", "localhost:1"]}
    workers = [
        subprocess.Popen(
            [sys.executable, "train.py", f"WORK_DIR={tmp_path}/two", *common],
            cwd=PROJECT,
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "XLA_FLAGS": f"{UNOPTIMISED} --xla_force_host_platform_device_count={devices}",
                "TF_CONFIG": tf_config(cluster, index=index),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    errors = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    one = [*common, f"HYPER_PARAMETERS.BATCH_SIZE={8 * devices}"]
    train_on_jax(tmp_path, [(tmp_path / "one", one)])
    (two,), (one,) = read_log(tmp_path / "two"), read_log(tmp_path / "one")
    for name in ("val_loss", "val_dice"):
        assert two[name] == pytest.approx(one[name], abs=1e-4), name
    assert_same_weights(tmp_path / "one", tmp_path / "two")


# train.py with the patience of argv[1], in seconds.
IMPATIENT = """
import runpy, sys
from utils.devices import jax_strategies

jax_strategies.WAIT_SECONDS = int(sys.argv.pop(1))
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.mark.parametrize("index", [0, 1])
def test_a_host_that_does_not_come_is_one_line(index, tmp_path, phantom, free_port):
    """JAX aborts the process once it has waited, so the wait is ours."""
    common = [f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom), "BACKEND=jax", "STRATEGY.NAME=multi_worker"]
    cluster = {"worker": [f"localhost:{free_port}", "localhost:1"]}
    as_commands_do = {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "jax"}  # in the tests 3, which hides errors too
    result = run_command("-c", IMPATIENT, 1, *common, TF_CONFIG=tf_config(cluster, index=index), **as_commands_do)
    assert_one_clear_error(result, "did not come together (not all of them came within 1 seconds)")
    assert result.stderr.count("\n") == 1, result.stderr


@pytest.mark.parametrize(
    "missing, overrides, words",
    [
        ("jax", [], "BACKEND=jax: JAX is not installed.* set BACKEND=tensorflow"),
        ("tensorflow", ["BACKEND=tensorflow"], "BACKEND=tensorflow: TensorFlow is not installed.* set BACKEND=jax"),
    ],
)
def test_a_backend_that_is_not_installed(missing, overrides, words, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == missing else found(name, *rest)
    )
    monkeypatch.setattr("utils.devices.strategy.choose_backend", lambda backend: None)
    with pytest.raises(UserError, match=words):
        make_strategy(load_config([*SMALL, "BACKEND=jax", *overrides]))


@pytest.mark.parametrize("setting", ["DATA_GENERATOR_TYPE=TF_DATA", "DATASET.SERVICE=[here:5050]"])
def test_a_loader_that_needs_tensorflow(setting, phantom, monkeypatch):
    from data_generators import build_dataset

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorflow" else found(name, *rest)
    )
    cfg = load_config([*SMALL, *paths(phantom), "BACKEND=jax", "DATA_GENERATOR_TYPE=TF_DATA", setting])
    with pytest.raises(UserError, match="needs TensorFlow, which is not installed"):
        build_dataset(cfg, "train", augment=True)


def test_shards_are_read_without_tensorflow(tmp_path, phantom, monkeypatch):
    from data_generators import build_dataset
    from data_preparation.tfrecord import write_shards

    place = phantom / "data/train"
    write_shards(place / "images", place / "mask", tmp_path, "train", 2)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorflow" else found(name, *rest)
    )
    common = [*SMALL, *paths(phantom), "BACKEND=jax"]
    shards = ["DATA_GENERATOR_TYPE=TFRECORD", f"DATASET.TRAIN.IMAGES_PATH={tmp_path}/train-*.tfrec"]
    for batch, expected in zip(
        build_dataset(load_config([*common, *shards]), "train", augment=True),
        build_dataset(load_config(common), "train", augment=True),
        strict=True,
    ):
        for one, other in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("loader", ["TF_GENERATOR", "TFRECORD"])
def test_cloud_storage_needs_tensorflow(loader, tmp_path, phantom, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    cloud = [f"DATA_GENERATOR_TYPE={loader}", "DATASET.TRAIN.IMAGES_PATH=gs://bucket/train-*.tfrec"]
    cfg = load_config([f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom), "BACKEND=jax", *cloud])
    with pytest.raises(UserError, match=r"gs://bucket/train-\*.tfrec: TensorFlow opens cloud storage, and is not"):
        train(cfg)


@pytest.mark.parametrize("loader", ["TF_DATA", "TFRECORD"])
def test_batches_that_tensorflow_prepares_are_arrays(loader, tmp_path, phantom):
    """JAX takes no tensor of TensorFlow. TFRECORD needs it for graph augmentation."""
    from data_generators import build_dataset
    from data_preparation.tfrecord import write_shards

    place = phantom / "data/train"
    write_shards(place / "images", place / "mask", tmp_path, "train", 2)
    shards = [f"DATASET.TRAIN.IMAGES_PATH={tmp_path}/train-*.tfrec"] if loader == "TFRECORD" else []
    common = [*SMALL, *paths(phantom), *shards, f"DATA_GENERATOR_TYPE={loader}", "AUGMENTATION.ENGINE=tensorflow"]
    on_jax = list(build_dataset(load_config([*common, "BACKEND=jax"]), "train", augment=True))
    expected = list(build_dataset(load_config(common), "train", augment=True))
    assert len(on_jax) == len(expected) > 1
    for batch, tensors in zip(on_jax, expected, strict=True):
        assert [type(part) for part in batch] == [np.ndarray, np.ndarray]
        for one, other in zip(batch, tensors, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_run_whose_batches_tensorflow_prepares(trained, tmp_path, phantom):
    """Training, validation and evaluation; the last batch of each is smaller than the others."""
    common = [f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom), "HYPER_PARAMETERS.BATCH_SIZE=6", "BACKEND=jax"]
    common += ["DATA_GENERATOR_TYPE=TF_DATA", "STRATEGY.NAME=single"]
    for command in ("train.py", "evaluate.py"):
        done = run_command(command, *common, KERAS_BACKEND="jax", XLA_FLAGS=UNOPTIMISED)
        assert done.returncode == 0, done.stderr[-3000:]
    (found,), (expected, _) = read_log(tmp_path), read_log(trained / "from_tensorflow")
    for name in ("loss", "val_loss", "val_dice"):
        assert found[name] == pytest.approx(expected[name], abs=1e-3), name


def test_contradictions_and_missing_devices_are_one_line(tmp_path, phantom):
    common = [f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom)]
    result = run_command("train.py", *common, "STRATEGY.NAME=tpu", "BACKEND=jax", KERAS_BACKEND="jax")
    assert_one_clear_error(result, "STRATEGY.NAME=tpu BACKEND=jax: JAX sees no TPU here, only cpu")
    result = run_command("train.py", *common, "BACKEND=jax", KERAS_BACKEND="tensorflow")
    assert_one_clear_error(result, "KERAS_BACKEND='tensorflow' contradicts BACKEND=jax")
    result = run_command("train.py", *common, "STRATEGY.NAME=mirrored", KERAS_BACKEND="jax")
    assert_one_clear_error(result, "STRATEGY.NAME=mirrored, but JAX sees no GPU here")


def test_tensorflow_is_not_imported_where_it_is_installed():
    """It takes seconds; Keras imports it to seed it."""
    code = (
        "import sys; from utils.config import load_config; from utils.devices.strategy import make_strategy;"
        "make_strategy(load_config(['BACKEND=jax', 'VERBOSE=0'])); print('tensorflow' in sys.modules)"
    )
    done = run_command("-c", code, KERAS_BACKEND="jax")
    assert done.stdout.strip() == "False", done.stderr[-3000:]
