"""Overlapping classes from a run-length table to predictions."""

import csv
import json

import cv2
import nibabel as nib
import numpy as np
import pytest
from helpers import installed, source_of

from data_generators import LOADERS, build_dataset
from data_preparation import rle_csv
from data_preparation.verify_data import find_training_files, verify_data
from evaluate import evaluate
from models import build_model, inference_model
from predict import predict
from train import train
from utils.base import rle
from utils.base.class_bits import pack, unpack
from utils.base.errors import UserError
from utils.config import load_config
from utils.export.exporters import make_job
from utils.export.stored_values import with_stored_values
from utils.inference.postprocessing import build_postprocessing

SIDE = 16
OVERLAP = ["OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASSES=2"]
TINY = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", f"INPUT.HEIGHT={SIDE}", f"INPUT.WIDTH={SIDE}", "VERBOSE=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `data`, made from a table: squares of class 1 and, shifted over them, of class 2."""
    folder, rows = tmp_path_factory.mktemp("overlap"), [["ImageId", "ClassId", "EncodedPixels"]]
    (folder / "raw").mkdir()
    for number in range(8):
        masks = np.zeros((SIDE, SIDE, 2), np.uint8)
        masks[2 + number % 2 : 9, 1 + number // 2 : 8, 0] = masks[5:13, 4:11, 1] = 1
        image = np.stack([masks[..., 0] * 200, masks[..., 1] * 200, masks[..., 0] * 0], axis=-1)
        cv2.imwrite(str(folder / f"raw/{number}.png"), image)
        rows += [[number, index + 1, rle.encode(masks[..., index])] for index in range(2)]
    with open(folder / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    arguments = [folder / "table.csv", folder / "raw", folder / "data", "--val", "0.5", "--multi-label", "--quiet"]
    rle_csv.main([*map(str, arguments), "--class-column", "ClassId"])
    return folder


def config(folder, *overrides):
    return load_config([f"WORK_DIR={folder}", *TINY, *overrides])


def test_preparation_and_verification_know_that_classes_overlap(folder):
    masks = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (folder / "data/train/mask").iterdir()]
    assert {3} <= set(np.unique(masks)) <= {0, 1, 2, 3} and (unpack(masks[0], 2)[..., 1].sum() == 56)
    with pytest.raises(UserError, match=r"MULTI_LABEL=False contradicts the data.*Type OUTPUT.MULTI_LABEL=True"):
        find_training_files(config(folder, "OUTPUT.CLASSES=4"))[0]
    labels = verify_data(config(folder, *OVERLAP), details=True)["train"]["labels"]
    assert list(labels) == [0, 1, 2] and labels[2]["pixels"] == 4 * 56 and labels[2]["images"] == 4
    assert labels[0]["pixels"] + labels[1]["pixels"] + labels[2]["pixels"] > 4 * SIDE**2
    with pytest.raises(UserError, match="allows 0 to 1"):
        verify_data(config(folder, "OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASSES=1"))


KNOBS = [f"AUGMENTATION.{knob}.PROBABILITY=1.0" for knob in ("ROTATION", "ZOOM", "HORIZONTAL_FLIP")]
KNOBS += ["AUGMENTATION.ZOOM.FACTOR=[1.1,3.0]", "AUGMENTATION.FILL=zero"]


ENGINE_AND_CACHE = {
    "TF_GENERATOR": ("albumentations", "memory"),
    "TF_DATA": ("tensorflow", "null"),
    "TFRECORD": ("tensorflow", "kept"),
    "DALI_GENERATOR": ("albumentations", "null"),  # it has neither: changes and decodes pictures itself
}


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_loaders_engines_and_caches_keep_the_bits(loader, folder):
    engine, cache = ENGINE_AND_CACHE[loader]
    options = [f"DATA_GENERATOR_TYPE={loader}", *source_of(loader, folder), f"DATASET.CACHE={cache}"]
    cfg = config(folder, *OVERLAP, *options)
    stored = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (folder / "data/train/mask").iterdir()}
    dataset = build_dataset(cfg, "train", augment=False)
    for _ in range(2):  # the second epoch comes from the cache
        found = np.concatenate([np.asarray(mask)[..., 0] for _, mask in dataset])
        assert found.dtype == np.uint8
        assert sorted(mask.tobytes() for mask in found) == sorted(mask.tobytes() for mask in stored.values())

    cfg = config(folder, *OVERLAP, *options, f"AUGMENTATION.ENGINE={engine}", *KNOBS)
    for _, masks in build_dataset(cfg, "train", augment=True):
        assert np.asarray(masks).dtype == np.uint8 and np.isin(masks, [0, 1, 2, 3]).all()
        assert all(unpack(mask, 2).any((0, 1, 2)).all() for mask in np.asarray(masks))  # ZOOM keeps both classes


def test_from_training_to_predictions(folder):
    quick = [*OVERLAP, "loss=bce_dice", "HYPER_PARAMETERS.EPOCHS=12", "HYPER_PARAMETERS.LEARNING_RATE=0.02"]
    history = train(config(folder, *quick))
    assert max(history["val_dice"]) > 0.5 and {"val_dice_class1", "val_dice_class2"} <= set(history)
    nib.save(nib.Nifti1Image(np.zeros((SIDE, SIDE, 3), np.int16), np.eye(4)), folder / "scan.nii.gz")
    names = sorted(path.stem for path in (folder / "data/val/images").iterdir())
    sources = [folder / f"data/val/images/{name}.png" for name in names] + [folder / "scan.nii.gz"]

    thresholds = ["PREDICT.POSTPROCESS.THRESHOLDS=[0.5,0.4]", "EVALUATION.POSTPROCESS=True"]
    scores = evaluate(config(folder, *thresholds))
    saved = json.loads((folder / "checkpoint/model_unet.evaluation/evaluation.json").read_text())
    assert "confusion" not in saved["splits"]["val"]
    assert saved["splits"]["val"]["best_constant_answer"]["dice"]["classes"] == [1, 2]
    assert "None: classes may overlap" in (folder / "checkpoint/model_unet.evaluation/report.html").read_text()

    formats = ["PREDICT.RLE=True", "PREDICT.COCO=True", "PREDICT.PROBABILITIES=True"]
    output = predict(config(folder, f"PREDICT.INPUT=[{','.join(map(str, sources))}]", *thresholds[:1], *formats))
    runs = {(row["ImageId"], row["ClassId"]): row["EncodedPixels"] for row in read_rows(output / "rle.csv")}
    areas = {row["file"].rsplit("/", 1)[-1]: row for row in read_rows(output / "predictions.csv")}
    truth, found = np.zeros((2, len(names), SIDE, SIDE, 2), np.uint8)
    for number, name in enumerate(names):
        present = np.load(output / f"probabilities/{name}.npy") > (0.5, 0.4)
        mask = cv2.imread(str(output / f"masks/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert (mask == pack(present)).all()
        assert int(areas[f"{name}.png"]["area_class2"]) == present[..., 1].sum()
        assert (rle.decode(runs[name, "2"], SIDE, SIDE) == present[..., 1]).all()
        truth[number] = unpack(cv2.imread(str(folder / f"data/val/mask/{name}.png"), cv2.IMREAD_UNCHANGED), 2)
        found[number] = present
    dice = 2 * (truth & found).sum((0, 1, 2)) / (truth + found).sum((0, 1, 2))
    assert [scores[f"dice_class{index}"] for index in (1, 2)] == pytest.approx(dice.tolist(), abs=1e-5)
    either = 2 * (truth.any(-1) & found.any(-1)).sum() / (truth.any(-1).sum() + found.any(-1).sum())
    assert scores["dice_foreground"] == pytest.approx(either)
    assert {entry["category_id"] for entry in json.loads((output / "coco_results.json").read_text())} == {1, 2}
    both = np.asarray(nib.load(output / "masks/scan.nii.gz").dataobj)
    assert both.shape == (SIDE, SIDE, 3, 2)

    binary = [
        *OVERLAP,
        "PREDICT.MASK_VALUES=binary",
        "PREDICT.PICTURES=False",
        "OUTPUT.CLASS_NAMES=[none,liver,tumour/a]",
    ]
    output = predict(config(folder, f"PREDICT.INPUT=[{sources[0]},{sources[-1]}]", *thresholds[:1], *binary))
    for index, name in enumerate(("liver", "tumour_a")):
        assert (np.asarray(nib.load(output / f"masks/{name}/scan.nii.gz").dataobj) == both[..., index]).all()
        mask = cv2.imread(str(output / f"masks/{name}/{names[0]}.png"), cv2.IMREAD_UNCHANGED)
        assert (mask == found[0, ..., index]).all()
    assert {path.name for path in (output / "masks").iterdir()} == {"liver", "tumour_a"}


def test_postprocessing_treats_each_class_by_itself():
    maps = np.array([[[1, 1, 0, 1], [0, 1, 1, 1]], [[1, 1, 0, 0], [0, 0, 0, 1]]], np.uint8).transpose(0, 2, 1)
    run = build_postprocessing(load_config([*OVERLAP, "PREDICT.POSTPROCESS.LARGEST=True"]))
    assert run is not None
    kept = maps.copy()
    kept[0, 3, 0] = 0  # class 1 apart from its largest component, although class 2 is there
    assert (unpack(run(pack(maps)[..., None])[..., 0], 2) == kept).all()


def test_an_export_with_preprocessing_gives_the_values_of_masks():
    model = inference_model(build_model(load_config([*TINY, *OVERLAP])))
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    settings = load_config(["EXPORT.PREPROCESS=True"]).EXPORT
    job = make_job(with_stored_values(model, None), images, settings, multi_label=True)
    probabilities = model(images / np.float32(255)).numpy()
    assert (job.function(images)["classes"].numpy() == pack(probabilities > 0.5)).all()


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["OUTPUT.CLASSES=9"], "up to 8 classes"),
        (["OUTPUT.CLASSES=3", "DATASET.IGNORE_LABEL=7"], "0 to 7. Choose a value above"),
        (["OUTPUT.CLASSES=2", "DATASET.LABEL_VALUES=[0,1,2]"], "leave DATASET.LABEL_VALUES out"),
        (["OUTPUT.CLASSES=2", "LOSS_OPTIONS.bce.class_weights=[1,2]"], "needs 3 entries"),
        (["MODEL.TYPE=classifier"], "MODEL.CLASSIFIER_ACTIVATION=sigmoid"),
        (["PREDICT.MASK_VALUES=binary", "PREDICT.MASK_PALETTE=True"], "Leave one of them out"),
    ],
)
def test_what_cannot_be_is_said_first(overrides, words):
    with pytest.raises(UserError, match=words):
        load_config(["OUTPUT.MULTI_LABEL=True", *overrides])
