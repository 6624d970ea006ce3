"""The image classifier: parameters, labels from folders and tables, training to prediction, bad input."""

import csv

import cv2
import numpy as np
import pytest

from data_generators import build_dataset
from evaluate import evaluate
from losses.supervision import RocAuc
from models import build_model
from predict import predict
from train import train
from utils.base.errors import UserError
from utils.config import load_config

SETTINGS = [
    "MODEL.TYPE=classifier",
    "MODEL.FILTERS=[4,8,8]",
    "INPUT.HEIGHT=16",
    "INPUT.WIDTH=16",
    "VERBOSE=0",
    "HYPER_PARAMETERS.BATCH_SIZE=8",
    "HYPER_PARAMETERS.LEARNING_RATE=1e-2",
    "HYPER_PARAMETERS.EPOCHS=6",
]
NAMES = ("dark", "light", "striped")


@pytest.fixture
def folders(tmp_path):
    """Three kinds of 16x16 pictures, 12 for training and 6 for validation each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        for name in NAMES:
            folder = tmp_path / "data" / split / "images" / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture = np.full((16, 16), {"dark": 40, "light": 200, "striped": 120}[name]) + rng.normal(
                    0, 10, (16, 16)
                )
                if name == "striped":
                    picture[::2] -= 100
                cv2.imwrite(str(folder / f"{name}_{number}.png"), picture.clip(0, 255).astype(np.uint8))
    return tmp_path


def test_parameters_of_the_kit():
    cfg = load_config(["MODEL.TYPE=classifier", "MODEL.BACKBONE.TYPE=efficientnetb0", "OUTPUT.CLASSES=5"])
    assert build_model(cfg).count_params() == 4_055_969


def test_from_folders_to_labels(folders):
    overrides = [f"WORK_DIR={folders}", *SETTINGS, "OUTPUT.CLASSES=3"]
    history = train(load_config(overrides))
    assert max(history["val_accuracy"]) > 0.9
    scores = evaluate(load_config([*overrides[:2], "VERBOSE=0"]))
    assert scores["accuracy"] == pytest.approx(max(history["val_accuracy"]), abs=1e-6)
    assert scores["roc_auc"] > 0.9
    stripes = folders / "data/val/images/striped"
    folder = predict(load_config([*overrides[:2], f"DATASET.VAL.IMAGES_PATH={stripes}", "VERBOSE=0"]))
    with open(folder / "labels.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == sorted(str(path) for path in stripes.iterdir())
    assert np.mean([row["label"] == "striped" for row in rows]) > 0.6
    assert sum(float(rows[0][name]) for name in NAMES) == pytest.approx(1, abs=1e-4)
    predict(load_config([*overrides[:2], "VERBOSE=0"]))  # the folders it was trained on
    assert len((folder / "labels.csv").read_text().splitlines()) == 19


def test_several_labels_from_a_table(folders):
    images = sorted((folders / "data/train/images").rglob("*.png"))
    with open(folders / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for path in images:
            name = path.parent.name
            writer.writerow([path.relative_to(folders), name, *(["mean_low"] if name != "light" else [])])
    overrides = [
        f"WORK_DIR={folders}",
        *SETTINGS,
        "OUTPUT.CLASSES=4",
        "HYPER_PARAMETERS.EPOCHS=1",
        "DATASET.TRAIN.IMAGES_PATH=table.csv",
        "DATASET.VAL.IMAGES_PATH=table.csv",
    ]
    with pytest.raises(UserError, match=r"several labels.*sigmoid"):
        train(load_config(overrides))
    cfg = load_config([*overrides, "MODEL.CLASSIFIER_ACTIVATION=sigmoid"])
    _, labels = next(iter(build_dataset(cfg, "val")))
    np.testing.assert_array_equal(np.asarray(labels)[0], [1, 0, 1, 0])  # dark, light, mean_low, striped
    assert np.isfinite(train(cfg)["val_roc_auc"][0])


def test_one_class_is_absent_or_present(folders):
    for split in ("train", "val"):
        for path in (folders / "data" / split / "images/striped").iterdir():
            path.unlink()
        (folders / "data" / split / "images/striped").rmdir()
    cfg = load_config([f"WORK_DIR={folders}", *SETTINGS, "OUTPUT.CLASSES=1"])
    _, labels = next(iter(build_dataset(cfg, "val")))
    assert np.asarray(labels).tolist() == [[0]] * 6 + [[1]] * 2
    assert max(train(cfg)["val_accuracy"]) > 0.9


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["OUTPUT.CLASSES=2"], ["3 classes", "OUTPUT.CLASSES=3"]),
        (["OUTPUT.CLASSES=3", "DATASET.VAL.IMAGES_PATH=nowhere"], ["DATASET.VAL.IMAGES_PATH", "nowhere"]),
        (["OUTPUT.CLASSES=3", "DATASET.VAL.IMAGES_PATH=broken.csv"], ["line 2", "no.png"]),
        (["OUTPUT.CLASSES=3", "INPUT.HEIGHT=32"], ["RESIZE"]),
    ],
)
def test_bad_labels_are_explained(folders, overrides, words):
    (folders / "broken.csv").write_text("data/val/images/dark/dark_0.png,dark\nno.png,light\n")
    with pytest.raises(UserError) as error:
        train(load_config([f"WORK_DIR={folders}", *SETTINGS, *overrides]))
    for word in words:
        assert word in str(error.value)


def test_roc_auc_leaves_out_classes_that_no_image_has():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    labels = np.eye(4, dtype=np.float32)[rng.integers(0, 3, 60)]
    scores = (0.4 * labels + 0.6 * rng.random((60, 4))).astype(np.float32)
    metric = RocAuc(4)
    for part in (slice(0, 7), slice(7, 60)):
        metric.update_state(labels[part], scores[part])
    expected = np.mean([roc_auc_score(labels[:, i], scores[:, i]) for i in range(3)])
    assert float(metric.result()) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(
    "overrides, word",
    [
        (["MODEL.CGM=True"], "MODEL.CGM"),
        (["MODEL.DEEP_SUPERVISION=True"], "MODEL.DEEP_SUPERVISION"),
        (["OUTPUT.CLASSES=1", "MODEL.CLASSIFIER_ACTIVATION=softmax"], "always 1"),
    ],
)
def test_settings_without_effect_are_refused(overrides, word):
    with pytest.raises(UserError, match=word):
        load_config(["MODEL.TYPE=classifier", *overrides])


def test_a_mask_loss_is_refused():
    with pytest.raises(UserError, match="LOSS is for masks"):
        load_config(["MODEL.TYPE=classifier", "loss=dice"])
