"""The three commands from data to pictures, as users run them, and what they say to bad input."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
from helpers import TINY, assert_one_clear_error, model_types, run_command
from omegaconf import OmegaConf

from data_preparation.make_phantom import make_phantom
from data_preparation.preprocess_data import preprocess_data
from evaluate import evaluate
from models import MODEL_TYPES
from predict import predict
from train import train
from utils.base.backups import list_backups
from utils.base.errors import UserError
from utils.config import load_config

QUICK = [
    "HYPER_PARAMETERS.EPOCHS=2",
    "HYPER_PARAMETERS.BATCH_SIZE=8",
    "HYPER_PARAMETERS.LEARNING_RATE=1e-3",
    "VERBOSE=0",
]


@pytest.fixture(scope="module")
def trained(phantom, tmp_path_factory):
    """A folder with the phantom's slices and a model trained on them for two epochs, through the command."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(phantom / "data", folder / "data")
    result = run_command("train.py", f"WORK_DIR={folder}", *TINY, *QUICK[:3])
    assert result.returncode == 0, result.stderr
    return folder, result


def test_training_leaves_everything(trained):
    folder, result = trained
    checkpoint = folder / "checkpoint"
    assert (checkpoint / "model_tiny_unet3plus.weights.h5").stat().st_size > 10_000
    assert OmegaConf.load(checkpoint / "model_tiny_unet3plus.yaml").INPUT.HEIGHT == 48
    with open(checkpoint / "training_logs_tiny_unet3plus.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert {"val_dice_coef", "val_dice_class1", "val_iou_class1"} <= set(rows[0])
    assert cv2.imread(str(checkpoint / "training_curves_tiny_unet3plus.png")).shape[1] > 500
    assert list((checkpoint / "tb_logs").rglob("events*"))
    assert "20 for training" in result.stdout and "Best validation dice 0." in result.stdout
    assert "Epoch 2/2" in result.stdout and "compiling the first step" in result.stderr
    assert not list(checkpoint.glob(".*"))


def test_evaluate_agrees_with_the_log_of_training(trained):
    folder, _ = trained
    scores = evaluate(load_config([f"WORK_DIR={folder}", *TINY[:1], "VERBOSE=0", "HYPER_PARAMETERS.BATCH_SIZE=3"]))
    saved = json.loads((folder / "checkpoint/model_tiny_unet3plus.evaluation/evaluation.json").read_text())
    with open(folder / "checkpoint/training_logs_tiny_unet3plus.csv") as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["val_dice"]))
    for name in ("dice_coef", "dice", "iou", "dice_class1"):
        assert scores[name] == pytest.approx(float(best[f"val_{name}"]), abs=1e-5, nan_ok=True)
    found = saved["splits"]["val"]
    assert found["scores"]["dice_coef"] == scores["dice_coef"] and found["images"] == 10


def test_predict_writes_a_mask_and_a_picture_of_every_image(trained):
    folder, _ = trained
    result = run_command("predict.py", f"WORK_DIR={folder}", *TINY[:1])
    assert result.returncode == 0, result.stderr
    said = ["loading TensorFlow", "building tiny_unet3plus", "predict  10  compiling the first step"]
    assert [line for line in result.stderr.splitlines() if line in said] == said
    output = folder / "predictions/model_tiny_unet3plus"
    names = {path.name for path in (folder / "data/val/images").iterdir()}
    assert {path.name for path in (output / "masks").iterdir()} == names
    for name in names:
        mask = cv2.imread(str(output / "masks" / name), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (48, 48) and set(np.unique(mask)) <= {0, 1}
    assert cv2.imread(str(output / "pictures" / name)).shape[1] > 3 * 48


def test_predict_lists_of_absolute_paths_without_masks(trained, tmp_path):
    folder, _ = trained
    images = sorted((folder / "data/val/images").iterdir())[3:5]
    listed = "[" + ",".join(map(str, images)) + "]"
    overrides = [
        f"WORK_DIR={folder}",
        *TINY[:1],
        f"DATASET.VAL.IMAGES_PATH={listed}",
        "DATASET.VAL.MASK_PATH=None",
        "PREDICT.OUTPUT_PATH=elsewhere",
        "SHOW_CENTER_CHANNEL_IMAGE=False",
    ]
    predict(load_config([*overrides, "VERBOSE=0"]))
    masks = folder / "elsewhere/model_tiny_unet3plus/masks"
    assert sorted(path.name for path in masks.iterdir()) == [path.name for path in images]
    whole = folder / "predictions/model_tiny_unet3plus/masks" / images[0].name
    if whole.exists():
        assert (masks / images[0].name).read_bytes() == whole.read_bytes()


def test_predict_lists_of_images_and_masks(trained):
    folder, _ = trained
    images = sorted((folder / "data/val/images").iterdir())[:2]
    masks = [folder / "data/val/mask" / path.name.replace("image", "mask") for path in images]
    cfg = load_config(
        [
            f"WORK_DIR={folder}",
            *TINY[:1],
            "VERBOSE=0",
            f"DATASET.VAL.IMAGES_PATH=[{images[0]},{images[1]}]",
            f"DATASET.VAL.MASK_PATH=[{masks[0]},{masks[1]}]",
            "PREDICT.OUTPUT_PATH=lists",
        ]
    )
    assert len(list((predict(cfg) / "pictures").iterdir())) == 2


def test_a_second_run_keeps_the_first(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "again")
    before = (tmp_path / "again/checkpoint/model_tiny_unet3plus.weights.h5").read_bytes()
    for name in ("model_tiny_unet3plus.evaluation", "model_tiny_unet3plus.previous.evaluation"):
        (tmp_path / "again/checkpoint" / name).mkdir(exist_ok=True)
        (tmp_path / "again/checkpoint" / name / "evaluation.json").write_text(name)
    train(load_config([f"WORK_DIR={tmp_path / 'again'}", *TINY, *QUICK, "HYPER_PARAMETERS.EPOCHS=1", "loss=dice"]))
    checkpoint = tmp_path / "again/checkpoint"
    assert (checkpoint / "model_tiny_unet3plus.previous.weights.h5").read_bytes() == before
    assert (checkpoint / "model_tiny_unet3plus.previous.yaml").exists()
    kept = checkpoint / "model_tiny_unet3plus.previous.evaluation/evaluation.json"
    assert kept.read_text() == "model_tiny_unet3plus.evaluation"
    assert not (checkpoint / "model_tiny_unet3plus.evaluation").exists()
    cfg = load_config(
        [
            f"WORK_DIR={tmp_path / 'again'}",
            *TINY[:1],
            "VERBOSE=0",
            "MODEL.WEIGHTS_FILE_NAME=model_tiny_unet3plus.previous",
        ]
    )
    assert evaluate(cfg)["loss"] > 0


# `trained` is a tiny_unet3plus.
@pytest.mark.parametrize(
    "model_type", model_types(name for name in MODEL_TYPES if name not in ("classifier", "tiny_unet3plus"))
)
def test_every_model_type_trains(model_type, phantom, tmp_path):
    shutil.copytree(phantom / "data", tmp_path / "data")
    cfg = load_config(
        [
            f"WORK_DIR={tmp_path}",
            f"MODEL.TYPE={model_type}",
            *TINY[1:],
            *(["MODEL.FILTERS=[4,6,8]"] if model_type == "conv_deconv" else []),  # it has three levels, always
            *QUICK,
            "HYPER_PARAMETERS.EPOCHS=1",
            "DATA_GENERATOR_TYPE=TF_DATA",
            "loss=dice",
        ]
    )
    history = train(cfg)
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()
    assert ("presence_accuracy" in history) == MODEL_TYPES[model_type].CGM


@pytest.mark.slow
def test_the_classifier_of_the_cgm_learns(tmp_path):
    """Presence is decided better than by always answering what most slices hold."""
    make_phantom(tmp_path / "data", size=48, slices=16)
    cfg = load_config(
        [
            f"WORK_DIR={tmp_path}",
            "MODEL.TYPE=unet3plus_deepsup_cgm",
            *TINY[1:],
            *QUICK,
            "HYPER_PARAMETERS.EPOCHS=12",
            "loss=dice",
            "HYPER_PARAMETERS.LEARNING_RATE=3e-3",
            "DATA_GENERATOR_TYPE=TF_DATA",
        ]
    )
    preprocess_data(cfg)
    present = np.mean(
        [cv2.imread(str(path), cv2.IMREAD_UNCHANGED).any() for path in (tmp_path / "data/val/mask").iterdir()]
    )
    history = train(cfg)
    assert max(history["val_presence_accuracy"]) > max(present, 1 - present) + 0.1


def test_a_seed_gives_the_same_training_twice(phantom, tmp_path):
    losses = []
    for run in ("a", "b"):
        shutil.copytree(phantom / "data", tmp_path / run / "data")
        small = [
            "MODEL.TYPE=unet",
            "MODEL.FILTERS=[2,2]",
            "MODEL.DECODER.DROPOUT=0.1",
            "augmentation=light",
            "loss=dice",
        ]
        losses.append(train(load_config([f"WORK_DIR={tmp_path / run}", *small, *TINY[2:], *QUICK]))["loss"])
    assert losses[0] == losses[1]


def test_steps_are_timed_on_request(phantom, tmp_path, capsys):
    shutil.copytree(phantom / "data", tmp_path / "data")
    small = [f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet", "MODEL.FILTERS=[2,2]", "loss=dice", *TINY[2:], *QUICK]
    train(load_config([*small, "+warmup_steps=1", "+bench_steps=2"]))
    printed = capsys.readouterr().out
    assert "2 steps" in printed and "images/s" in printed and "p90" in printed


def test_fewer_steps_than_were_to_be_timed(phantom, tmp_path, capsys):
    shutil.copytree(phantom / "data", tmp_path / "data")
    small = [f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet", "MODEL.FILTERS=[2,2]", "loss=dice", *TINY[2:], *QUICK]
    train(load_config([*small, "+warmup_steps=2", "+bench_steps=100"]))
    printed = capsys.readouterr().out
    assert "after 6 steps: 4 instead of bench_steps=100" in printed and "Raise HYPER_PARAMETERS.EPOCHS" in printed
    assert "4 steps: " in printed and "images/s" in printed


def test_no_data_yet(tmp_path):
    result = run_command("train.py", f"WORK_DIR={tmp_path}")
    assert_one_clear_error(result, "DATASET.TRAIN.IMAGES_PATH", "DATASET.VAL.MASK_PATH", str(tmp_path))


def test_no_weights_yet(phantom, tmp_path):
    assert_one_clear_error(run_command("predict.py", f"WORK_DIR={tmp_path}"), "Train first")


def test_labels_beyond_the_classes_stop_before_training(phantom, tmp_path):
    shutil.copytree(phantom / "data", tmp_path / "data")
    path = next(iter((tmp_path / "data/train/mask").iterdir()))
    cv2.imwrite(str(path), np.full((48, 48), 255, np.uint8))
    assert_one_clear_error(run_command("train.py", f"WORK_DIR={tmp_path}", *TINY), path.name, "255", "NORMALIZE_MASK")
    assert not (tmp_path / "checkpoint").exists()


def test_weights_of_another_model(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy/checkpoint/model_tiny_unet3plus.yaml").unlink()
    with pytest.raises(UserError, match="do not fit"):
        evaluate(load_config([f"WORK_DIR={tmp_path / 'copy'}", *TINY[:1], *TINY[2:], "VERBOSE=0"]))


def test_damaged_weights(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "copy")
    weights = tmp_path / "copy/checkpoint/model_tiny_unet3plus.weights.h5"
    for version in (weights, *list_backups(weights)):
        version.write_bytes(version.read_bytes()[:5000])
    with pytest.raises(UserError, match="damaged"):
        evaluate(load_config([f"WORK_DIR={tmp_path / 'copy'}", *TINY[:1], "VERBOSE=0"]))
