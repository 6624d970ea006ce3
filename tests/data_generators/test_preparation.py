"""prepared.json: what a preparation leaves with the data, and how training, evaluation and prediction use it."""

import json
import random

import cv2
import nibabel as nib
import numpy as np
import pytest
from helpers import make_weights
from omegaconf import OmegaConf

from data_generators.files.preparation import FILE, MAX_BYTES, read_preparation, write_preparation
from data_generators.files.preparation_check import preparation_problems, with_preparation
from data_generators.files.split_files import find_files
from data_preparation import tfrecord, volumes
from data_preparation.scans.slices import SliceSettings
from data_preparation.verify_data import find_training_files, verify_data
from predict import predict
from utils.base.errors import UserError
from utils.checkpoints import restore_config, save_config, weights_path
from utils.config import load_config
from utils.inference.sources import SourceSettings, VolumeSource

SIZE = ["INPUT.HEIGHT=12", "INPUT.WIDTH=10", "VERBOSE=0", "loss=bce_dice"]
GROUP = "DATA_PREPARATION"


def make_scans(folder, count=3, images=0):
    """MR-like scans of 0 to 2500 with two labels; with images, of four axes."""
    rng = np.random.default_rng(3)
    for index in range(count):
        (folder / f"case{index}").mkdir(parents=True)
        shape = (10, 12, 4, images) if images else (10, 12, 4)
        voxels = rng.integers(0, 2500, shape).astype(np.int16)
        labels = rng.integers(0, 2, (10, 12, 4)).astype(np.uint8)
        for name, array in (("t2", voxels), ("seg", labels)):
            nib.save(nib.Nifti1Image(array, np.diag([1.0, 1, 3, 1])), folder / f"case{index}" / f"{name}.nii.gz")
    return folder


def prepare(source, output, *options):
    arguments = [source, output, "--volumes", "*/t2.nii.gz", "--segmentations", "*/seg.nii.gz", "--quiet"]
    volumes.main(list(map(str, [*arguments, "--val", 0.34, "--workers", 1, *options])))


def filled(folder, *overrides):
    return find_training_files(load_config([f"WORK_DIR={folder}", *SIZE, *overrides]))[0]


def settings(**changes):
    base = SliceSettings(None, None, "resize", -100.0, 300.0, "window", "as_stored", 0)
    record = base.record("volumes", None)
    return record | {f"{GROUP}.{key}" if key != "OUTPUT.CLASS_NAMES" else key: value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("options", "images"),
    [
        (["--window", 500, 2200], 0),
        ([], 0),
        (["--size", 12, 10, "--crop", "--window", -7, 900], 0),
        (["--size", 6, 8], 0),
        (["--modality", 2], 3),
    ],
)
def test_slices_of_a_scan_are_those_that_were_prepared(tmp_path, options, images):
    """Bit by bit: the settings travel from the preparation into the config, and from there to the new scan."""
    make_scans(tmp_path / "scans", images=images)
    prepare(tmp_path / "scans", tmp_path / "data", *options)
    cfg = filled(tmp_path)
    weights = weights_path(cfg)
    weights.parent.mkdir()
    weights.touch()
    save_config(cfg, weights)
    restored = restore_config(load_config([f"WORK_DIR={tmp_path}", *SIZE]))
    assert restored.DATA_PREPARATION.PREPARED_BY == "volumes"
    case = next((tmp_path / "data/val/manifest").glob("*.json")).stem.removeprefix("volume-")
    source = VolumeSource(tmp_path / "scans" / case / "t2.nii.gz")
    source.open(SourceSettings.from_config(restored))
    for index in range(4):
        stored = cv2.imread(str(tmp_path / f"data/val/images/image_{case}_{index}.png"))[..., ::-1]
        np.testing.assert_array_equal(source.read(index)[0], stored)


def test_a_chosen_value_that_contradicts_the_data_is_refused(tmp_path):
    make_scans(tmp_path / "scans")
    prepare(tmp_path / "scans", tmp_path / "data", "--window", 500, 2200)
    cfg = filled(tmp_path, f"{GROUP}.SCAN_MIN_VALUE=500", f"{GROUP}.SCAN_MAX_VALUE=2200")  # the same: fine
    assert cfg.DATA_PREPARATION.SCAN_MIN_VALUE == 500 and cfg.DATA_PREPARATION.RESIZED_HEIGHT is None
    with pytest.raises(UserError, match=r"SCAN_MIN_VALUE=-200 contradicts the data.*Type .*SCAN_MIN_VALUE=500"):
        filled(tmp_path, f"{GROUP}.SCAN_MIN_VALUE=-200")  # typed, even if it is the default
    with pytest.raises(UserError, match=r"RESIZE_METHOD=crop_or_pad contradicts.*RESIZE_METHOD=resize"):
        filled(tmp_path, "+experiment=lits_unet3plus")
    with pytest.raises(UserError, match=r"RESIZED_HEIGHT=64 contradicts.*RESIZED_HEIGHT=null"):
        filled(tmp_path, f"{GROUP}.RESIZED_HEIGHT=64")


def test_what_is_typed_for_prediction_may_not_contradict_the_training(tmp_path):
    cfg = load_config([f"WORK_DIR={tmp_path}"])
    weights = weights_path(cfg)
    weights.parent.mkdir()
    weights.touch()
    typed = [f"WORK_DIR={tmp_path}", f"{GROUP}.SCAN_MIN_VALUE=-50"]
    save_config(cfg, weights)
    assert restore_config(load_config(typed)).DATA_PREPARATION.SCAN_MIN_VALUE == -50  # of an earlier version: as ever
    cfg.DATA_PREPARATION.PREPARED_BY = "volumes"
    save_config(cfg, weights)
    with pytest.raises(UserError, match=r"SCAN_MIN_VALUE=-50 contradicts the weights.*SCAN_MIN_VALUE=-200. Leave it"):
        restore_config(load_config(typed))
    assert restore_config(load_config([f"WORK_DIR={tmp_path}", f"{GROUP}.SCAN_MIN_VALUE=-200"]))


def test_other_splits_must_be_prepared_as_the_training_data(tmp_path):
    make_scans(tmp_path / "scans")
    prepare(tmp_path / "scans", tmp_path / "data", "--window", 500, 2200)
    cfg = filled(tmp_path)
    verify_data(cfg)
    make_weights(tmp_path, [*SIZE, "MODEL.TYPE=tiny_unet3plus"])
    prepare(tmp_path / "scans", tmp_path / "other", "--window", 0, 2200)
    other = cfg.copy()
    other.DATASET.VAL.IMAGES_PATH, other.DATASET.VAL.MASK_PATH = "other/val/images", "other/val/mask"
    with pytest.raises(UserError, match=r"other/val/prepared.json: these images were prepared with .*SCAN_MIN_VALUE=0"):
        verify_data(other)
    images = find_files(cfg, "train").images + find_files(other, "val").images
    assert preparation_problems(load_config(SIZE), images) == []  # not known how the training data was prepared
    with pytest.raises(UserError, match="were prepared in two ways"):
        with_preparation(cfg, images)


def test_prediction_refuses_slices_prepared_otherwise(tmp_path):
    make_scans(tmp_path / "scans")
    prepare(tmp_path / "scans", tmp_path / "data", "--window", 500, 2200, "--size", 32, 32)
    options = [*SIZE, "INPUT.HEIGHT=32", "INPUT.WIDTH=32", "MODEL.TYPE=tiny_unet3plus", f"{GROUP}.PREPARED_BY=volumes"]
    make_weights(tmp_path, options)
    with pytest.raises(UserError, match="these images were prepared with"):
        predict(load_config([f"WORK_DIR={tmp_path}", *options]))


def test_data_without_a_record_stays_as_it_is(tmp_path):
    make_scans(tmp_path / "scans")
    prepare(tmp_path / "scans", tmp_path / "data", "--window", 500, 2200)
    for split in ("train", "val"):
        (tmp_path / "data" / split / FILE).unlink()
    cfg = filled(tmp_path, f"{GROUP}.SCAN_MIN_VALUE=500", f"{GROUP}.SCAN_MAX_VALUE=2200")
    assert cfg.DATA_PREPARATION.SCAN_MIN_VALUE == 500 and cfg.DATA_PREPARATION.PREPARED_BY is None
    prepare(tmp_path / "scans", tmp_path / "data", "--window", 500, 2200)  # writes nothing but the record
    assert filled(tmp_path).DATA_PREPARATION.PREPARED_BY == "volumes"


def test_shards_keep_the_settings(tmp_path):
    make_scans(tmp_path / "scans")
    prepare(tmp_path / "scans", tmp_path / "data", "--window", 500, 2200)
    for split in ("train", "val"):
        parts = [str(tmp_path / "data" / split / kind) for kind in ("images", "mask")]
        tfrecord.write_shards(*parts, tmp_path / "shards", split, 1, workers=1)
    cfg = filled(
        tmp_path,
        "DATA_GENERATOR_TYPE=TFRECORD",
        "DATASET.TRAIN.IMAGES_PATH=shards/train-*.tfrec",
        "DATASET.VAL.IMAGES_PATH=shards/val-*.tfrec",
    )
    assert (cfg.DATA_PREPARATION.SCAN_MIN_VALUE, cfg.DATA_PREPARATION.SCAN_MAX_VALUE) == (500, 2200)
    prepare(tmp_path / "scans", tmp_path / "other", "--window", 0, 2200)
    with pytest.raises(UserError, match="has shards of images that were prepared otherwise"):
        tfrecord.write_shards(
            tmp_path / "other/train/images", tmp_path / "other/train/mask", tmp_path / "shards", "more", 1, workers=1
        )


def test_an_unfinished_preparation_is_not_trained_on(tmp_path):
    scans = make_scans(tmp_path / "scans")
    prepare(scans, tmp_path / "data", "--window", 500, 2200)
    good = (scans / "case2/t2.nii.gz").read_bytes()
    (scans / "case2/t2.nii.gz").write_bytes(good[:200])
    with pytest.raises(SystemExit):
        prepare(scans, tmp_path / "data", "--window", 0, 2200)
    with pytest.raises(UserError, match="it was not finished"):
        filled(tmp_path)
    with pytest.raises(SystemExit):
        prepare(scans, tmp_path / "new", "--window", 0, 2200, "--volumes", "case2*/t2.nii.gz")
    (scans / "case2/t2.nii.gz").write_bytes(good)
    prepare(scans, tmp_path / "data", "--window", 0, 2200)
    assert filled(tmp_path).DATA_PREPARATION.SCAN_MIN_VALUE == 0


def test_a_first_run_that_fails_leaves_nothing(tmp_path):
    scans = make_scans(tmp_path / "scans")
    for index in range(3):
        (scans / f"case{index}/t2.nii.gz").write_bytes(b"no scan")
    with pytest.raises(SystemExit):
        prepare(scans, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_volumes_of_two_windows_do_not_mix(tmp_path):
    scans = make_scans(tmp_path / "scans", count=4)
    prepare(scans, tmp_path / "data", "--window", 500, 2200, "--seed", 1)
    leaving = next((tmp_path / "data/train/manifest").glob("*.json")).stem.removeprefix("volume-")
    for file in (scans / leaving).iterdir():
        file.unlink()
    before = sorted(path.read_bytes() for path in (tmp_path / "data").rglob("*.png"))
    with pytest.raises(SystemExit):
        prepare(scans, tmp_path / "data", "--window", 0, 2200)
    assert sorted(path.read_bytes() for path in (tmp_path / "data").rglob("*.png")) == before


def test_class_names_of_the_data(tmp_path):
    folder = tmp_path / "data/train"
    (folder / "images").mkdir(parents=True)
    (folder / "mask").mkdir()
    for kind in ("images", "mask"):
        cv2.imwrite(str(folder / kind / "a.png"), np.zeros((12, 10), np.uint8))
    write_preparation(folder, settings(**{"OUTPUT.CLASS_NAMES": ["background", "liver", "tumour"]}))
    assert list(filled(tmp_path, "OUTPUT.CLASSES=3").OUTPUT.CLASS_NAMES) == ["background", "liver", "tumour"]
    with pytest.raises(UserError, match=r"OUTPUT.CLASSES=2 contradicts the data.*Type OUTPUT.CLASSES=3"):
        filled(tmp_path)
    with pytest.raises(UserError, match=r"OUTPUT.CLASS_NAMES=\[a,b,c\] contradicts the data"):
        filled(tmp_path, "OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[a,b,c]")
    assert filled(tmp_path, "DATASET.LABEL_VALUES=[0,2]").OUTPUT.CLASS_NAMES is None
    # Scans in the layout of LiTS are often those of another organ.
    record = settings(**{"OUTPUT.CLASS_NAMES": ["background", "liver", "tumour"], "PREPARED_BY": "preprocess_data"})
    write_preparation(folder, record)
    own = ["OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[background,kidney,cyst]"]
    assert filled(tmp_path, *own).OUTPUT.CLASS_NAMES == ["background", "kidney", "cyst"]
    with pytest.raises(UserError, match=r"contradicts the data"):
        filled(tmp_path, "OUTPUT.CLASS_NAMES=[background,kidney]")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SCAN_MIN_VALUE": "${oc.env:HOME}"}, "SCAN_MIN_VALUE"),
        ({"SCAN_MIN_VALUE": True}, "wrong type"),
        ({"SCAN_MIN_VALUE": 400.0}, "its window is 400.0 to 300.0"),
        ({"SCAN_MAX_VALUE": None}, "its window is -100.0 to None"),
        ({"SCAN_MAX_VALUE": float("inf")}, "finite"),
        ({"RESIZED_HEIGHT": 10**9}, "too large"),
        ({"RESIZED_HEIGHT": 64}, "height without a width"),
        ({"MODALITY": -1}, "too small"),
        ({"PREPARED_BY": "a\nb"}, "PREPARED_BY is 'a\\nb'"),
        ({"OUTPUT.CLASS_NAMES": ["background", "${oc.env:SECRET}"]}, "CLASS_NAMES is '${oc.env:SECRET}'"),
        ({"OUTPUT.CLASS_NAMES": [["a"], {}]}, "CLASS_NAMES"),
        ({"OUTPUT.CLASS_NAMES": ["background", "a", "a"]}, "each name once"),
        ({"OUTPUT.CLASS_NAMES": ["background"]}, "background and the classes"),
        ({"WORKERS": 3}, "'DATA_PREPARATION.WORKERS' is no setting of a preparation"),
        ({"SCANS_TRAIN_DATA_PATH": "/etc"}, "is no setting of a preparation"),
    ],
)
def test_a_file_from_elsewhere_sets_nothing_else(tmp_path, changes, words):
    write_preparation(tmp_path, settings(**changes))
    with pytest.raises(UserError) as error:
        read_preparation(tmp_path)
    assert words in str(error.value) and "\n" not in str(error.value) and str(tmp_path / FILE) in str(error.value)


def test_damage_is_one_line(tmp_path):
    """Structured damage: types changed, lists shortened, keys left out, bytes cut, nested and endless values."""
    write_preparation(tmp_path, settings(**{"OUTPUT.CLASS_NAMES": ["background", "liver"]}))
    path = tmp_path / FILE
    good, rng = path.read_text(), random.Random(5)
    assert read_preparation(tmp_path)
    odd = [None, True, -1, 1e308, "x" * 10_000, [], {}, [1], [None], {"a": 1}, "", "\0", float("nan"), [[]] * 3]
    texts = [good[:cut] for cut in range(0, len(good) - 2, 7)] + ["[" * 100_000, "{}", "[]", "1", "null", "\ufeff{}"]
    for _ in range(300):
        content = json.loads(good)
        part = rng.choice([content, content["settings"], content["slices"]])
        key = rng.choice(list(part))
        change = rng.random()
        if change < 0.2:
            del part[key]
        elif change < 0.4 and isinstance(part[key], list):
            part[key] = part[key][: rng.randrange(len(part[key]))]
        else:
            part[key] = rng.choice(odd)
        texts.append(json.dumps(content))
    refused = 0
    for text in texts:
        path.write_text(text)
        try:
            found = read_preparation(tmp_path)
            assert found is not None
            OmegaConf.create(found.settings)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 600 + len(str(tmp_path))
    assert refused > 0.7 * len(texts)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="not JSON"):
        read_preparation(tmp_path)
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(UserError, match="larger than"):
        read_preparation(tmp_path)
    path.write_text(json.dumps({"origin": {}, "files": {}}))
    assert read_preparation(tmp_path) is None  # the record of the pairs of a converter
