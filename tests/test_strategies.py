"""Training on several devices: parts of the CPU stand for GPUs, processes on this machine for workers."""

import csv
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT, assert_one_clear_error, run_command

from utils.devices import check_tf_config
from utils.errors import UserError

SMALL = [
    "MODEL.TYPE=unet",
    "MODEL.FILTERS=[4,6]",
    "INPUT.HEIGHT=48",
    "INPUT.WIDTH=48",
    "HYPER_PARAMETERS.EPOCHS=1",
    "HYPER_PARAMETERS.LEARNING_RATE=1e-3",
    "loss=bce_dice",
    "VERBOSE=0",
    "RESUME=never",
]
TWO = ["STRATEGY.NAME=mirrored", "STRATEGY.LOGICAL_CPUS=2"]


def paths(data):
    for split in ("TRAIN", "VAL"):
        place = data / "data" / split.lower()
        yield f"DATASET.{split}.IMAGES_PATH={place / 'images'}"
        yield f"DATASET.{split}.MASK_PATH={place / 'mask'}"


def train(folder, data, *overrides):
    result = run_command("train.py", f"WORK_DIR={folder}", *SMALL, *paths(data), *overrides)
    assert result.returncode == 0, result.stderr
    return read_log(folder)


def read_log(folder):
    with open(folder / "checkpoint" / "training_logs_unet.csv") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


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


def test_a_replica_without_an_image_changes_nothing(tmp_path, phantom):
    """Batches of 4 of 5 images: the last one has a single image for two replicas."""
    lists = []
    for key, kind in (("IMAGES_PATH", "images"), ("MASK_PATH", "mask")):
        files = sorted((phantom / "data/train" / kind).glob("*.png"))[:5]
        lists.append(f"DATASET.TRAIN.{key}=[{','.join(map(str, files))}]")
    options = ["MODEL.DECODER.NORM=False", "OPTIMIZER.NAME=sgd", *lists]
    one = train(tmp_path / "1", phantom, "HYPER_PARAMETERS.BATCH_SIZE=4", *options)
    two = train(tmp_path / "2", phantom, "HYPER_PARAMETERS.BATCH_SIZE=2", *options, *TWO)
    assert one[0]["val_loss"] == pytest.approx(two[0]["val_loss"], abs=1e-6)


def test_synchronised_normalisation_sees_the_whole_batch(tmp_path, phantom):
    one = train(tmp_path / "1", phantom, "HYPER_PARAMETERS.BATCH_SIZE=10")
    sync = train(tmp_path / "2", phantom, "HYPER_PARAMETERS.BATCH_SIZE=5", "MODEL.SYNC_BATCH_NORM=True", *TWO)
    alone = train(tmp_path / "3", phantom, "HYPER_PARAMETERS.BATCH_SIZE=5", *TWO)
    assert sync[0]["loss"] == pytest.approx(one[0]["loss"], abs=2e-5)
    assert abs(alone[0]["loss"] - one[0]["loss"]) > 1e-4


SCRIPT = """
import sys
from train import train
from utils.config import load_config

for model in sys.argv[1].split(","):
    for options in ([], ["OPTIMIZATION.XLA=True"], ["OPTIMIZATION.AMP=True"]):
        history = train(load_config([*sys.argv[2:], f"MODEL.TYPE={model}", *options]))
        print("trained", model, *options, history["loss"])
"""


@pytest.mark.parametrize(
    "models",
    [
        "unet3plus_deepsup_cgm",  # has all that the others have
        pytest.param("unet3plus,unet3plus_deepsup,tiny_unet3plus,unet,unet++", marks=pytest.mark.slow),
    ],
)
def test_mirrored_trains_with_xla_and_amp(models, tmp_path, phantom):
    options = [*SMALL[1:], "MODEL.FILTERS=[4,6]", "HYPER_PARAMETERS.BATCH_SIZE=5", *TWO]
    arguments = ["-c", SCRIPT, models, f"WORK_DIR={tmp_path}", *paths(phantom), *options]
    result = run_command(*arguments, timeout=900, PYTHONPATH=str(PROJECT))
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("trained") == 3 * len(models.split(","))


WORKER = """
import json, sys
from train import train
from utils.config import load_config

print("history", json.dumps(train(load_config(sys.argv[1:]))))
"""


def test_two_workers_end_with_the_weights_of_one_device(one_device, tmp_path, phantom):
    folder, expected = one_device
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            ports.append(probe.getsockname()[1])
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    options = ["HYPER_PARAMETERS.BATCH_SIZE=3", "MODEL.DECODER.NORM=False", "STRATEGY.NAME=multi_worker"]
    arguments = [f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom), *options]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            cwd=PROJECT,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
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
    names = ("run.json", "state.npz", "weights.h5", "yaml")
    assert files == [*(f"model_unet.{name}" for name in names), "training_curves.png", "training_logs_unet.csv"]
    # And a single device finds the same scores in them.
    result = run_command("evaluate.py", f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet", "VERBOSE=0")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "checkpoint/model_unet.evaluation/evaluation.json").read_text())
    scores = report["splits"]["val"]["scores"]
    for name in ("loss", "dice", "dice_coef"):
        assert scores[name] == pytest.approx(log[f"val_{name}"], abs=1e-6), name


def test_bad_settings_are_one_clear_line(tmp_path, phantom):
    common = [f"WORK_DIR={tmp_path}", *SMALL, *paths(phantom)]
    for overrides, words in (
        (["STRATEGY.NAME=mirrorred"], ["STRATEGY.NAME=mirrorred", "mirrored"]),
        (["STRATEGY.NAME=multi_worker"], ["TF_CONFIG", "srun"]),
        (["STRATEGY.NAME=tpu"], ["DATA_GENERATOR_TYPE", "TF_DATA"]),
        (["STRATEGY.NAME=mirrored"], ["GPU"]),
        (["USE_MULTI_GPUS.VALUE=True"], ["GPU"]),
    ):
        assert_one_clear_error(run_command("train.py", *common, *overrides), *words)


@pytest.mark.slow
def test_float16_trains_as_well_as_float32(tmp_path, phantom):
    options = ["HYPER_PARAMETERS.EPOCHS=40", "HYPER_PARAMETERS.BATCH_SIZE=4", "HYPER_PARAMETERS.LEARNING_RATE=1e-2"]
    wide = ["MODEL.FILTERS=[8,16,32]", "LR_SCHEDULE.NAME=cosine", "loss=unet3plus_hybrid"]
    full, half = (
        train(tmp_path / str(amp), phantom, *options, *wide, f"OPTIMIZATION.AMP={amp}")[-1]["val_dice"]
        for amp in (False, True)
    )
    print(f"validation Dice: float32 {full:.4f}, float16 {half:.4f}")
    assert full > 0.8
    assert half == pytest.approx(full, abs=0.01)


def test_a_mask_of_a_million_pixels_does_not_overflow_in_float16():
    from losses import build_loss
    from losses.metrics import DiceCoefficient
    from utils.config import load_config

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
from utils.devices import split_cpu
from utils.optimizers import make_optimizer
from utils.trainer import Trainer

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
    result = run_command("-c", UPDATES, PYTHONPATH=str(PROJECT))
    assert "updates agree" in result.stdout, result.stderr[-3000:]


@pytest.mark.parametrize(
    "text", ["{bad", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}']
)
def test_a_tf_config_that_says_too_little(text):
    with pytest.raises(UserError, match="TF_CONFIG"):
        check_tf_config(text)
