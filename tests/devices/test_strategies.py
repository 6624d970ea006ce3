"""Training on several devices: parts of the CPU stand for GPUs, processes on this machine for workers."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import warm_helpers
from helpers import PROJECT, SMALL, assert_one_clear_error, paths, slurm, tf_config
from warm_helpers import run_warm

from evaluate import evaluate
from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.strategy import STRATEGIES, make_strategy

TWO = ["STRATEGY.LOGICAL_CPUS=2", "STRATEGY.NAME=mirrored"]


ALL = """
import json, sys
from train import train
from utils.config import load_config

for overrides in json.loads(sys.argv[1]):
    train(load_config(overrides))
"""


def train(folder, data, *overrides):
    (log,) = train_all(data, {folder: overrides})
    return log


def train_all(data, runs):
    """Train `{folder: overrides}` one after the other in a process of two logical CPUs; the log of each."""
    common = [*SMALL, *paths(data), "STRATEGY.LOGICAL_CPUS=2", "STRATEGY.NAME=single"]
    overrides = [[f"WORK_DIR={folder}", *common, *own] for folder, own in runs.items()]
    result = run_warm("-c", ALL, json.dumps(overrides), timeout=900, PYTHONPATH=str(PROJECT))
    assert result.returncode == 0, result.stderr
    return [read_log(folder) for folder in runs]


def read_log(folder):
    with open(folder / "checkpoint" / "training_logs_unet.csv") as file:
        return [{name: float(value) for name, value in row.items() if name != "run"} for row in csv.DictReader(file)]


def weights(folder):
    import h5py

    values = {}
    with h5py.File(folder / "checkpoint" / "model_unet.weights.h5") as file:
        file.visititems(lambda name, item: values.update({name: item[()]}) if hasattr(item, "shape") else None)
    return values


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, phantom):
    """20 images in batches of 6: the last batch has two, one for each replica of two."""
    folder = tmp_path_factory.mktemp("one")
    return folder, train(folder, phantom, "HYPER_PARAMETERS.BATCH_SIZE=6", "MODEL.DECODER.NORM=False")


def test_two_replicas_equal_one_with_the_double_batch(one_device, tmp_path, phantom):
    folder, expected = one_device
    found = train(tmp_path, phantom, "HYPER_PARAMETERS.BATCH_SIZE=3", "MODEL.DECODER.NORM=False", *TWO)
    for name, value in expected[0].items():
        assert found[0][name] == pytest.approx(value, abs=1e-5), name
    one, two = weights(folder), weights(tmp_path)
    assert one.keys() == two.keys() and len(one) > 10
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5)


@pytest.mark.slow  # that every image counts once is tested with the loaders
def test_a_replica_without_an_image_changes_nothing(tmp_path, phantom):
    """Batches of 4 of 5 images: the last one has a single image for two replicas."""
    lists = []
    for key, kind in (("IMAGES_PATH", "images"), ("MASK_PATH", "mask")):
        files = sorted((phantom / "data/train" / kind).glob("*.png"))[:5]
        lists.append(f"DATASET.TRAIN.{key}=[{','.join(map(str, files))}]")
    options = ["MODEL.DECODER.NORM=False", "OPTIMIZER.NAME=sgd", *lists]
    runs = {
        tmp_path / "1": ["HYPER_PARAMETERS.BATCH_SIZE=4", *options],
        tmp_path / "2": ["HYPER_PARAMETERS.BATCH_SIZE=2", *options, *TWO],
    }
    one, two = train_all(phantom, runs)
    assert one[0]["val_loss"] == pytest.approx(two[0]["val_loss"], abs=1e-6)


def test_synchronised_normalisation_sees_the_whole_batch(tmp_path, phantom):
    runs = {
        tmp_path / "1": ["HYPER_PARAMETERS.BATCH_SIZE=10"],
        tmp_path / "2": ["HYPER_PARAMETERS.BATCH_SIZE=5", "MODEL.SYNC_BATCH_NORM=True", *TWO],
        tmp_path / "3": ["HYPER_PARAMETERS.BATCH_SIZE=5", *TWO],
    }
    one, sync, alone = train_all(phantom, runs)
    assert sync[0]["loss"] == pytest.approx(one[0]["loss"], abs=2e-5)
    # Validation, shared between the replicas, sees the averages that are saved.
    for folder, log in ((tmp_path / "2", sync), (tmp_path / "3", alone)):
        evaluate(load_config([f"WORK_DIR={folder}", "MODEL.TYPE=unet", "VERBOSE=0"]))
        found = json.loads((folder / "checkpoint/model_unet.evaluation/evaluation.json").read_text())
        assert found["splits"]["val"]["scores"]["loss"] == pytest.approx(log[0]["val_loss"], abs=1e-6)
    assert abs(alone[0]["loss"] - one[0]["loss"]) > 1e-4


SCRIPT = """
import sys
from train import train
from utils.config import load_config

for model in sys.argv[1].split(","):
    for options in (["OPTIMIZATION.XLA=True"], ["OPTIMIZATION.AMP=True"]):
        history = train(load_config([*sys.argv[2:], f"MODEL.TYPE={model}", *options]))
        print("trained", model, *options, history["loss"])
"""


@pytest.mark.parametrize(
    "models",
    [
        "unet",
        pytest.param("tiny_unet3plus,unet3plus,unet3plus_deepsup,unet3plus_deepsup_cgm,unet++", marks=pytest.mark.slow),
    ],
)
def test_mirrored_trains_with_xla_and_amp(models, tmp_path, phantom):
    options = [*SMALL[1:], "MODEL.FILTERS=[4,6]", "HYPER_PARAMETERS.BATCH_SIZE=5", *TWO]
    arguments = ["-c", SCRIPT, models, f"WORK_DIR={tmp_path}", *paths(phantom), *options]
    result = run_warm(*arguments, timeout=900, PYTHONPATH=str(PROJECT))
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("trained") == 2 * len(models.split(","))


WORKER = """
import json, sys
from train import train
from utils.config import load_config

print("history", json.dumps(train(load_config(sys.argv[1:]))))
"""


def two_workers(kind):
    """The environments of two workers on this machine."""
    if kind == "SLURM":
        return [slurm("localhost", "2", number, "localhost", number, 2) for number in range(2)]
    with socket.socket() as one, socket.socket() as two:
        one.bind(("localhost", 0))
        two.bind(("localhost", 0))
        cluster = {job: [f"localhost:{probe.getsockname()[1]}"] for job, probe in (("chief", one), ("worker", two))}
    return [{"TF_CONFIG": tf_config(cluster, job, 0)} for job in cluster]


@pytest.mark.parametrize("kind", ["TF_CONFIG", pytest.param("SLURM", marks=pytest.mark.slow)])
def test_two_workers_end_with_the_weights_of_one_device(kind, one_device, tmp_path, phantom):
    """The first is the chief of TF_CONFIG; STRATEGY.NAME=auto finds the other."""
    folder, expected = one_device
    options = ["HYPER_PARAMETERS.BATCH_SIZE=3", "MODEL.DECODER.NORM=False"]
    arguments = [f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom), *options]
    processes = [
        warm_helpers.start("-c", WORKER, *arguments, merge=True, PYTHONPATH=str(PROJECT), **environment)
        for environment in two_workers(kind)
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    log = read_log(tmp_path)[0]
    assert log["val_loss"] == pytest.approx(expected[0]["val_loss"], abs=1e-5)
    one, two = weights(folder), weights(tmp_path)
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5)
    # Each worker validated its own copy of the weights on all images: the same to the last bit.
    histories = [
        json.loads(line.removeprefix("history "))
        for output in outputs
        for line in output.splitlines()
        if line.startswith("history ")
    ]
    assert len(histories) == 2
    for name in ("val_loss", "val_dice", "val_dice_coef"):
        assert histories[0][name] == histories[1][name]
    # One set of files, the chief's.
    files = sorted(path.name for path in (tmp_path / "checkpoint").iterdir() if path.is_file())
    names = ("fingerprint.json", "run.json", "state.npz", "weights.h5", "yaml")
    pictures_and_log = ["training_curves_unet.png", "training_logs_unet.csv", "validation_unet.png"]
    assert files == [*(f"model_unet.{name}" for name in names), *pictures_and_log]
    # And a single device finds the same scores in them.
    result = run_warm("evaluate.py", f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet", "VERBOSE=0")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "checkpoint/model_unet.evaluation/evaluation.json").read_text())
    scores = report["splits"]["val"]["scores"]
    for name in ("loss", "dice", "dice_coef"):
        assert scores[name] == pytest.approx(log[f"val_{name}"], abs=1e-6), name


@pytest.mark.parametrize(
    "override, words",
    [
        ("STRATEGY.NAME=mirrorred", "STRATEGY.NAME=mirrorred .* mirrored"),
        ("STRATEGY.NAME=multi_worker", "TF_CONFIG .* srun"),
        ("STRATEGY.NAME=tpu", "DATA_GENERATOR_TYPE=TF_DATA"),
        ("STRATEGY.NAME=mirrored", "sees no GPU here"),
        ("USE_MULTI_GPUS.VALUE=True", "sees no GPU here"),
    ],
)
def test_bad_settings_are_one_clear_line(override, words, nowhere):
    with pytest.raises(UserError, match=words):
        make_strategy(load_config([*SMALL, override]))


@pytest.mark.parametrize(
    "overrides",
    [
        ["MODEL.SYNC_BATCH_NORM=True", "OPTIMIZATION.XLA=True"],
        ["OPTIMIZER.ACCUMULATION_STEPS=2", "OPTIMIZATION.AMP=True"],
    ],
)
def test_what_does_not_go_together_on_several_devices(overrides, asked):
    import tensorflow as tf

    several = SimpleNamespace(num_replicas_in_sync=4)
    asked["patch"].setattr(tf.distribute, "MirroredStrategy", lambda *devices: several)
    with pytest.raises(UserError, match=" on several devices cannot be combined with ".join(overrides)):
        make_strategy(load_config([*SMALL, *overrides]))


def test_a_gpu_that_is_not_there_ends_the_command(tmp_path, phantom):
    result = run_warm("train.py", f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom), "STRATEGY.NAME=mirrored")
    assert_one_clear_error(result, "sees no GPU here")


@pytest.mark.slow
def test_float16_trains_as_well_as_float32(tmp_path, phantom):
    options = ["HYPER_PARAMETERS.EPOCHS=40", "HYPER_PARAMETERS.BATCH_SIZE=4", "HYPER_PARAMETERS.LEARNING_RATE=1e-2"]
    wide = ["MODEL.FILTERS=[8,16,32]", "LR_SCHEDULE.NAME=cosine", "loss=unet3plus_hybrid"]
    runs = {tmp_path / str(amp): [*options, *wide, f"OPTIMIZATION.AMP={amp}"] for amp in (False, True)}
    full, half = (log[-1]["val_dice"] for log in train_all(phantom, runs))
    print(f"validation Dice: float32 {full:.4f}, float16 {half:.4f}")
    assert full > 0.8
    assert half == pytest.approx(full, abs=0.01)


def test_a_mask_of_a_million_pixels_does_not_overflow_in_float16():
    from losses import build_loss
    from losses.metrics.each_image import DiceCoefficient

    masks = np.ones((1, 1024, 1024, 1), np.uint8)
    predictions = np.ones((1, 1024, 1024, 1), np.float16)
    cfg = load_config(["loss=dice", "OUTPUT.CLASSES=1"])
    assert float(build_loss(cfg)(masks, predictions)) == pytest.approx(0, abs=1e-6)
    metric = DiceCoefficient()
    metric.update_state(masks, predictions)
    assert float(metric.result()) == 1


UPDATES = """
import keras, numpy as np, tensorflow as tf
from utils.config import load_config
from utils.devices.tensorflow_strategies import split_cpu
from utils.training.optimizers import make_optimizer
from utils.training.trainer import Trainer

split_cpu(2)
two = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"], tf.distribute.ReductionToOneDevice())
x, y = tf.constant([[1.0], [2.0], [3.0], [4.0]]), tf.constant([[9.0], [-3.0], [50.0], [1.0]])


def make(strategy, *options):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        image = keras.Input((1,))
        network = keras.Model(image, {"mask": keras.layers.Dense(1, dtype="float32")(image)})
        trainer = Trainer(network, lambda y, outputs, border: keras.ops.mean((outputs["mask"] - y) ** 2), {})
        cfg = load_config(["OPTIMIZER.NAME=sgd", "HYPER_PARAMETERS.LEARNING_RATE=1", *options])
        trainer.compile(make_optimizer(cfg))
    return trainer


def kernels(strategy, trainer):
    variable = trainer.network.trainable_variables[0].value
    return [float(part.numpy().item()) for part in strategy.experimental_local_results(variable)]


ACCUMULATED = ["OPTIMIZER.ACCUMULATION_STEPS=2", "OPTIMIZER.EMA=0.5", "OPTIMIZER.NAME=adam"]
for options in (["OPTIMIZER.CLIP_NORM=0.1"], ACCUMULATED):
    found = []
    for strategy in (tf.distribute.get_strategy(), two):
        trainer = make(strategy, *options)
        start = kernels(strategy, trainer)
        for scale in (1, 2, 3, 4, 5):
            trainer.train_on((x * scale, y))
        assert kernels(strategy, trainer) != start
        if "OPTIMIZER.EMA=0.5" in options:
            trainer.optimizer.finalize_variable_values(trainer.trainable_weights)
        found += kernels(strategy, trainer)
    np.testing.assert_allclose(found, found[0], rtol=1e-5)

keras.config.set_dtype_policy("mixed_float16")
trainer = make(two, "OPTIMIZER.CLIP_NORM=0.1")
trainer.train_on((x, y))
before = kernels(two, trainer)
trainer.train_on((tf.constant([[1.0], [1.0], [1e18], [1.0]]), y))  # the part of the second replica overflows
assert kernels(two, trainer) == before, (kernels(two, trainer), before)
trainer.train_on((x, y))
assert kernels(two, trainer) != before and np.isfinite(kernels(two, trainer)).all()
print("updates agree")
"""


def test_clipping_and_overflow_are_those_of_all_replicas():
    result = run_warm("-c", UPDATES, PYTHONPATH=str(PROJECT))
    assert "updates agree" in result.stdout, result.stderr[-3000:]


@pytest.fixture
def asked(nowhere):
    """Four GPUs that are none, and strategies that only note what they were made for."""
    import tensorflow as tf

    found = {"gpus": 4, "strategies": [], "patch": nowhere}

    def note(kind):
        return lambda *args, **kwargs: found["strategies"].append((kind, args, kwargs)) or tf.distribute.get_strategy()

    devices = tf.config.list_physical_devices
    nowhere.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: [f"gpu{i}" for i in range(found["gpus"])] if kind == "GPU" else devices(kind),
    )
    nowhere.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grow: None)
    nowhere.setattr(tf.distribute, "MirroredStrategy", note("mirrored"))
    nowhere.setattr(tf.distribute, "MultiWorkerMirroredStrategy", note("multi_worker"))
    return found


def choose_with_tensorflow(gpus, overrides, asked):
    asked["gpus"] = gpus
    make_strategy(load_config(overrides))
    return [int(name.removeprefix("/gpu:")) for _, (names,), _ in asked["strategies"] for name in names]


def choose_with_jax(gpus, overrides, asked):
    """The devices of a strategy: `Gpu`s that are none."""
    import jax

    from utils.devices import jax_strategies

    class Gpu(int):
        platform = "gpu"

    devices = [Gpu(number) for number in range(gpus)] or jax.local_devices()[:1]
    asked["patch"].setattr(jax, "local_devices", lambda: devices)
    asked["patch"].setattr(jax, "local_device_count", lambda: len(devices))
    cfg = load_config([*overrides, "BACKEND=jax"])
    strategy = getattr(jax_strategies, STRATEGIES[cfg.STRATEGY.NAME])(cfg)
    return [] if strategy.name == "single" else list(strategy.devices)


WITH_EACH = pytest.mark.parametrize("choose", [choose_with_tensorflow, choose_with_jax])


@WITH_EACH
@pytest.mark.parametrize(
    "gpus, overrides, expected",
    [
        (4, [], [0, 1, 2, 3]),
        (4, ["USE_MULTI_GPUS.GPU_IDS=2"], [0, 1]),
        (4, ["USE_MULTI_GPUS.GPU_IDS=[1,3]"], [1, 3]),
        (4, ["USE_MULTI_GPUS.VALUE=False"], []),
        (4, ["STRATEGY.NAME=single"], []),
        (1, [], []),
        (1, ["USE_MULTI_GPUS.VALUE=True"], [0]),
        (0, [], []),
        (1, ["USE_MULTI_GPUS.GPU_IDS=1"], [0]),
        (4, ["USE_MULTI_GPUS.VALUE=False", "USE_MULTI_GPUS.GPU_IDS=2"], []),
    ],
)
def test_auto_takes_the_gpus_that_are_there(choose, gpus, overrides, expected, asked):
    assert choose(gpus, overrides, asked) == expected
    assert {kind for kind, *_ in asked["strategies"]} <= {"mirrored"}


@WITH_EACH
@pytest.mark.parametrize(
    "gpus, setting, words",
    [
        (0, "VALUE=True", "no GPU here"),
        (0, "GPU_IDS=2", r"GPU_IDS=2\), but .* no GPU here"),
        (1, "GPU_IDS=2", r"asks for GPUs \[1\]"),
        (4, "GPU_IDS=[1,4]", r"asks for GPUs \[4\]"),
        (4, "GPU_IDS=[0,0]", "twice"),
    ],
)
def test_gpus_that_are_not_there(choose, gpus, setting, words, asked):
    with pytest.raises(UserError, match=words):
        choose(gpus, [f"USE_MULTI_GPUS.{setting}"], asked)


REPLICAS = """
import sys
from utils.config import load_config
from utils.devices.strategy import make_strategy

print(make_strategy(load_config(sys.argv[1:])).num_replicas_in_sync)
"""


@pytest.mark.parametrize("name, replicas", [("auto", "2"), pytest.param("single", "1", marks=pytest.mark.slow)])
def test_logical_cpus_without_gpus(name, replicas):
    overrides = ["STRATEGY.LOGICAL_CPUS=2", f"STRATEGY.NAME={name}"]
    result = run_warm("-c", REPLICAS, *overrides, PYTHONPATH=str(PROJECT), CUDA_VISIBLE_DEVICES="")
    assert result.stdout.strip() == replicas, result.stderr


@pytest.mark.parametrize("index", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_worker_that_waits_for_another_says_so_and_ends_with_ctrl_c(index, tmp_path, phantom):
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("localhost", 0))
        addresses = [f"localhost:{probe.getsockname()[1]}" for probe in (one, two)]
    command = [sys.executable, "train.py", f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom), "VERBOSE=1"]
    environment = os.environ | {"TF_CONFIG": tf_config({"worker": addresses}, index=index)}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"Waiting for 2 workers: {', '.join(addresses)}\n"
        time.sleep(2)  # until TensorFlow waits
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == -signal.SIGINT
    finally:
        process.kill()
