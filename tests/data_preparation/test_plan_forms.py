"""What a plan decides about data in other forms than a picture and its mask, and that loaders read what it wrote."""

import cv2
import numpy as np
import pytest
import tifffile
from plan_helpers import first_sample, grey, planned, refused, striped
from scan_helpers import labels, nifti, scan

from data_generators.files.image_file import parts_of
from data_generators.files.pairing import find_pairs
from data_generators.files.preparation import write_preparation
from data_preparation import volumes
from data_preparation.plan import main
from data_preparation.planning.classes import choose_channels
from data_preparation.planning.input_size import MEMORY
from data_preparation.planning.intensities import TABLE, choose_intensities
from data_preparation.planning.networks import FROM_SCRATCH, PRETRAINED
from data_preparation.planning.pair_properties import measure_pairs
from data_preparation.planning.stored_form import StoredForm
from data_preparation.verify_data import find_training_files
from utils.base.errors import UserError
from utils.config import load_config

CASES = [f"a{number}" for number in range(5)]


def save(path, pixels):
    """Write a picture, the bands of a TIFF file, or the arrays of an .npz file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig" if pixels.ndim == 3 else None)
    else:
        cv2.imwrite(str(path), pixels)


def one_line(tmp_path):
    """The experiment without line breaks and signs of comments."""
    return " ".join((tmp_path / "configs/experiment/mine.yaml").read_text().replace("#", "").split())


@pytest.mark.parametrize("place", ["{channel}/{case}.png", "{case}_{channel}.png", "{case}/{channel}.png"])
def test_files_are_channels(place, write, tmp_path):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    for value, channel in enumerate(("t1", "t2", "flair")):
        for case in CASES:
            save(tmp_path / "scans" / place.format(channel=channel, case=case), np.full((64, 64), 50 * value, np.uint8))
    cfg = planned("--channels", "t1", "t2", "flair", images="scans")
    assert cfg.DATASET.CHANNELS == ["t1", "t2", "flair"] and cfg.INPUT.CHANNELS == 3
    assert cfg.SHOW_CENTER_CHANNEL_IMAGE and cfg.AUGMENTATION == load_config(["augmentation=medical"]).AUGMENTATION
    image, mask = first_sample(cfg)
    assert image[0, 0].tolist() == [0, 50, 100] and mask.max() == 1
    pairs = find_pairs(cfg, "train") + find_pairs(cfg, "val")
    assert sorted(pair.image.stem for pair in pairs) == CASES == sorted(pair.mask.stem for pair in pairs)


def test_files_that_are_no_channels_are_refused(write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    assert "['t1', 't1'] must be different names" in refused(capsys, "--channels", "t1", "t1")
    assert "has no file of the channel t1" in refused(capsys, "--channels", "t1", "t2")
    for case in CASES:
        save(tmp_path / f"scans/t1/{case}.png", grey())
        save(tmp_path / f"scans/t2/{case}.png", np.dstack([grey(), 255 - grey(), grey()]))
    assert "three different bands" in refused(capsys, "--channels", "t1", "t2", images="scans")


def test_lists_that_would_be_read_otherwise_are_refused(write, tmp_path, capsys):
    """All files of a split lie in one folder, whose name is that of the case in the whole folder alone."""
    write({"x_1": (grey(), striped([0, 1])), "y_1": (grey(), striped([0, 1]))})
    for case in ("x", "y"):
        for channel in ("t1", "t2"):
            save(tmp_path / f"scans/{case}/1/{channel}.png", grey())
    message = refused(capsys, "--channels", "*/1/t1.png", "*/1/t2.png", "--group", "none", images="scans", masks="m")
    assert "MASKS=m" in message
    save(tmp_path / "m/x.png", striped([0, 1]))
    save(tmp_path / "m/y.png", striped([0, 1]))
    message = refused(capsys, "--channels", "*/1/t1.png", "*/1/t2.png", "--group", "none", images="scans", masks="m")
    assert "in a list of files" in message and "t1/case.png" in message


LIVER, TUMOUR = striped([0, 0, 1, 1]), striped([0, 1, 1, 0])


@pytest.mark.parametrize("form", ["files", "stack"])
def test_planes_are_overlapping_classes(form, write, tmp_path):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    for case in CASES:
        save(tmp_path / f"files/liver/{case}.png", LIVER * 255)
        save(tmp_path / f"files/tumour/{case}.png", TUMOUR)
        save(tmp_path / f"stack/{case}.npz", {"tumour": TUMOUR, "liver": LIVER})
    names = ["liver", "tumour"]
    cfg = planned("--class-masks", *(["stack"] if form == "stack" else []), *names, masks=form)
    assert ("stack" if form == "stack" else names) == cfg.DATASET.CLASS_MASKS
    assert cfg.OUTPUT.MULTI_LABEL and cfg.OUTPUT.CLASSES == 2 and ["background", *names] == cfg.OUTPUT.CLASS_NAMES
    assert cfg.DATASET.LABEL_VALUES is None and cfg.LOSS_OPTIONS.cce.class_weights is None
    assert first_sample(cfg)[1][0, :4].tolist() == [0, 2, 3, 1]
    assert "0: 25.00% in 5 masks; 1: 50.00% in 5 masks" in one_line(tmp_path)


def test_a_plane_may_have_unlabelled_pixels_and_be_the_only_one(write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    for case in CASES:
        save(tmp_path / f"files/liver/{case}.png", striped([0, 1, 255, 255]))
        save(tmp_path / f"files/tumour/{case}.png", striped([0, 1, 1, 255]))
    assert "--ignore" in refused(capsys, "--class-masks", "liver", "tumour", masks="files")
    cfg = planned("--class-masks", "liver", "tumour", "--ignore", 255, "--names", "none,a,b", masks="files")
    assert cfg.DATASET.IGNORE_LABEL == 255 and cfg.OUTPUT.CLASS_NAMES == ["none", "a", "b"]
    assert first_sample(cfg)[1][0, :4].tolist() == [0, 3, 2 + 256, 255 + 256 + 512]  # unlabelled: none, a, both
    cfg = planned("--class-masks", "tumour", "--ignore", 255, masks="files")
    assert cfg.OUTPUT.CLASSES == 1 and not cfg.OUTPUT.MULTI_LABEL and cfg.DATASET.CLASS_MASKS == ["tumour"]
    assert first_sample(cfg)[1][0, :4].tolist() == [0, 1, 1, 255]


def test_planes_that_cannot_be_classes_are_refused(write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    assert "class 9 has no bit" in refused(capsys, "--class-masks", *"abcdefghi")
    assert "different names" in refused(capsys, "--class-masks", "stack", "a", "a")
    assert "Leave --values out" in refused(capsys, "--class-masks", "stack", "a", "--values", "0", "1")
    write_preparation(tmp_path, {"OUTPUT.MULTI_LABEL": True})
    assert "leave --class-masks out" in refused(capsys, "--class-masks", "stack", "a")


UNSIGNED, MR = grey().astype(np.uint16) * 9 + 1, grey().astype(np.float32) / 7
BLACK = MR * striped([0, 1])
CT = grey().astype(np.int16) * 8 - 1000
LARGE = np.tile(UNSIGNED, (10, 10))
ONE = ["--channels", "t1", "--volumes", "*/{}.nii.gz"]


@pytest.mark.parametrize(
    "image, weights, kind, value_range, foreground, scope",
    [
        (grey(), False, "normalize", None, False, "image"),
        (grey(), True, "normalize", None, False, "image"),
        (UNSIGNED, False, "zscore", None, False, "image"),
        (UNSIGNED, True, "percentile", None, False, "image"),
        (MR, False, "zscore", (0, 254 / 7), False, "image"),
        (BLACK, False, "zscore", (0, 254 / 7), True, "image"),
        (CT, False, "dataset", (-1000, 1032), False, "image"),
        (CT, True, "percentile", (-1000, 1032), False, "dataset"),
        (LARGE, False, "dataset", None, False, "image"),
        (LARGE, True, "percentile", None, False, "dataset"),
    ],
)
def test_intensities_without_a_scale(image, weights, kind, value_range, foreground, scope, write, tmp_path):
    size = image.shape
    write({case: (grey(*size), striped([0, 1], *size)) for case in CASES})
    for case in CASES:
        save(tmp_path / f"scans/{case}.tif", image)
    (tmp_path / "m.h5").touch()
    cfg = planned(*(["--weights", "m.h5"] if weights else []), "--memory", 16, images="scans")
    group = cfg.PREPROCESS_DATA
    assert (kind, foreground, scope) == (group.IMAGE_PREPROCESSING_TYPE, group.FOREGROUND, group.SCOPE)
    assert (value_range and pytest.approx(value_range, rel=1e-5)) == group.VALUE_RANGE
    assert first_sample(cfg)[0].dtype == (np.uint8 if image.dtype == np.uint8 else np.uint16)


@pytest.mark.parametrize(
    "prepared, weights, kind, scope, words",
    [
        (["--depth", "16"], False, "zscore", "volume", "as MR: each volume by itself"),
        (["--depth", "16"], True, "percentile", "volume", "pretrained weights expect [0, 1]"),
        (["--depth", "16", "--window", "-1024", "3071.9375"], False, "dataset", "image", "as nnU-Net does"),
        (["--depth", "16", "--window", "-1024", "3071.9375"], True, "percentile", "dataset", "of one unit, as CT, and"),
        ([], False, "normalize", "image", "prepared with --depth 16, zscore"),
        (["--depth", "16", *ONE, "--window", "0", "3000"], False, "zscore", "volume", "16 bit of MR sequences"),
        ([*ONE, "--window", "0", "3000"], False, "normalize", "image", "prepared with --depth 16, zscore"),
    ],
)
def test_intensities_of_prepared_scans(prepared, weights, kind, scope, words, tmp_path, capsys, write):
    write({})
    for case in CASES:
        nifti(tmp_path / f"scans/{case}/t1.nii.gz", scan().astype(np.float32))
        nifti(tmp_path / f"scans/{case}/seg.nii.gz", labels())
    patterns = ["--volumes", "*/t1.nii.gz", "--segmentations", "*/seg.nii.gz", "--workers", "1", "--quiet"]
    volumes.main(["scans", "prepared", *patterns, *prepared])
    (tmp_path / "m.h5").touch()
    options = ["--weights", "m.h5"] if weights else []
    cfg = planned("--memory", 16, *options, images="prepared/{split}/images", masks="prepared/{split}/mask")
    group = cfg.PREPROCESS_DATA
    assert (kind, scope) == (group.IMAGE_PREPROCESSING_TYPE, group.SCOPE)
    assert words in one_line(tmp_path)
    assert first_sample(find_training_files(cfg)[0])[0].dtype == (np.uint16 if "--depth" in prepared else np.uint8)
    assert ("look like MR, prepared with 8 bit" in capsys.readouterr().out) == ("--depth" not in prepared)


@pytest.mark.parametrize(
    "image, size, names, kind, scope",
    [
        (MR, 64, ["t1", "flair"], "zscore", "image"),
        (CT, 64, ["T1w", "T2w"], "zscore", "image"),
        (LARGE, 640, ["t1", "flair"], "zscore", "dataset"),
        (LARGE, 640, ["red", "green"], "dataset", "image"),
        (grey(), 64, ["t1", "flair"], "normalize", "image"),
    ],
)
def test_channels_named_like_sequences_are_mr(image, size, names, kind, scope, write, tmp_path):
    write({case: (grey(size, size), striped([0, 1], size, size)) for case in CASES})
    for case in CASES:
        for name in names:
            save(tmp_path / f"scans/{name}/{case}.tif", image)
    group = planned("--memory", 16, "--channels", *names, images="scans").PREPROCESS_DATA
    assert (kind, scope) == (group.IMAGE_PREPROCESSING_TYPE, group.SCOPE)


def test_every_row_of_intensities_can_be_chosen(write, tmp_path):
    """By the cases above; and nothing can be learned from a single value."""
    assert {row.kind for row in TABLE} == {"normalize", "zscore", "percentile", "dataset"} and not TABLE[-1].facts
    write({case: (grey(), striped([0, 1])) for case in CASES})
    for case in CASES:
        save(tmp_path / f"images/{case}.tif", np.full((64, 64), 3.5, np.float32))
        (tmp_path / f"images/{case}.png").unlink()
    pairs = find_pairs(load_config(["DATASET.TRAIN.IMAGES_PATH=images", "DATASET.TRAIN.MASK_PATH=masks"]), "train")
    with pytest.raises(UserError, match=r"the value 3\.5"):
        choose_intensities(
            measure_pairs(pairs, StoredForm(), quiet=True), has_weights=False, has_crops=False, prepared={}
        )


@pytest.mark.parametrize("bands, channels", [(2, 2), (4, 4), (6, 6)])
def test_bands_that_are_no_colours_stay_channels(bands, channels, write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    raster = np.dstack([grey() // (band + 1) for band in range(bands)])
    for case in CASES:
        save(tmp_path / f"rasters/{case}.tif", raster)
    cfg = planned(images="rasters")
    assert channels == cfg.INPUT.CHANNELS and cfg.SHOW_CENTER_CHANNEL_IMAGE
    assert sorted(first_sample(cfg)[0][5, 5].tolist()) == sorted(raster[5, 5].tolist())
    save(tmp_path / f"rasters/{CASES[0]}.tif", np.dstack([grey()] * 7))
    assert f"The images have {bands} or 7 channels" in refused(capsys, "--force", images="rasters")


def test_alpha_is_no_channel_and_bands_of_a_preparation_are_sequences(write):
    colour = np.dstack([grey(), 255 - grey(), grey(), np.full((64, 64), 255, np.uint8)])
    write({case: (colour, striped([0, 1])) for case in CASES})
    assert planned().INPUT.CHANNELS == 3
    pairs = find_pairs(load_config(["DATASET.TRAIN.IMAGES_PATH=images", "DATASET.TRAIN.MASK_PATH=masks"]), "train")
    measured = measure_pairs(pairs, StoredForm(), quiet=True)
    assert choose_channels(measured, False, None, ["t1", "t2", "pd", "flair"]) == (
        4,
        "sequences, as prepared: t1, t2, pd, flair",
    )


@pytest.mark.parametrize("border", [False, True])
def test_objects_beside_the_masks_are_scored_and_separated(border, write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1, 2] if border else [0, 1])) for case in CASES})
    for case in CASES[:-1]:
        save(tmp_path / f"objects/{case}.png", striped([0, 1]).astype(np.uint16) * 300)
    if border:
        write_preparation(tmp_path, {"OUTPUT.CLASS_NAMES": ["background", "nucleus", "border"]})
    assert f"{CASES[-1]}.png: no label image" in refused(capsys)
    save(tmp_path / f"objects/{CASES[-1]}.png", striped([0, 1]))
    cfg = planned()
    assert {cfg.DATASET.TRAIN.OBJECTS_PATH, cfg.DATASET.VAL.OBJECTS_PATH} == {str(tmp_path / "objects")}
    assert set(load_config().EVALUATION.METRICS or []) | {"objects", "confusion"} <= set(cfg.EVALUATION.METRICS)
    assert cfg.PREDICT.INSTANCES.METHOD == "distance" and (2 if border else None) == cfg.PREDICT.INSTANCES.BORDER


@pytest.mark.parametrize(
    "numbers, border, loss", [([0, 1], 0, "cce_dice"), ([1, 2], 0, "boundary"), ([1, 2], 1, "cce_dice")]
)
def test_objects_that_touch_are_weighed(numbers, border, loss, write, tmp_path):
    write({case: (grey(), striped([0, 1, 2])) for case in CASES})
    for case in CASES:
        save(tmp_path / f"objects/{case}.png", striped(numbers).astype(np.uint16))
    if border:
        write_preparation(tmp_path, {"OUTPUT.CLASS_NAMES": ["background", "nucleus", "border"]})
    assert load_config([f"loss={loss}"]).LOSS == planned().LOSS
    assert ("100% of the objects touch another" in one_line(tmp_path)) == (loss == "boundary")


def test_overlapping_classes_have_no_objects(write, tmp_path):
    write({case: (grey(), striped([0, 1, 3])) for case in CASES})
    write_preparation(tmp_path, {"OUTPUT.MULTI_LABEL": True})
    (tmp_path / "objects").mkdir()
    assert planned().PREDICT.INSTANCES.METHOD is None


def test_pretrained_weights_bring_their_network(write, tmp_path, capsys, monkeypatch):
    write({case: (np.dstack([grey(), 255 - grey(), grey()]), striped([0, 1])) for case in CASES})
    (tmp_path / "own.h5").touch()
    for weights, expected in (("imagenet", "imagenet"), ("own.h5", str(tmp_path / "own.h5"))):
        cfg = planned("--weights", weights)
        model = cfg.MODEL
        assert ("unet", "mobilenetv2", expected) == (model.TYPE, model.BACKBONE.TYPE, model.BACKBONE.WEIGHTS)
        assert list(model.DECODER.FILTERS) == [128, 64, 32, 16, 8] and cfg.HYPER_PARAMETERS.LEARNING_RATE == 5e-4
        assert "add --weights" not in capsys.readouterr().out
    planned()
    assert "ImageNet weights: add --weights imagenet --force" in capsys.readouterr().out
    assert "leave --model unet out" in refused(capsys, "--force", "--weights", "imagenet", "--model", "unet")
    assert "--weights gone.h5: there is no such file" in refused(capsys, "--force", "--weights", "gone.h5")
    assert {*FROM_SCRATCH, PRETRAINED} == set(MEMORY) and PRETRAINED not in FROM_SCRATCH

    typed = []
    monkeypatch.setattr("data_preparation.planning.timing.time_steps", lambda overrides: typed.append(overrides) or 1.0)
    main(["images", "masks", "mine", "--quiet", "--force", "--weights", "imagenet"])
    timed = load_config(typed[0])  # the network of the plan, without a download
    assert timed.MODEL.BACKBONE.TYPE == "mobilenetv2" and timed.MODEL.BACKBONE.WEIGHTS is None
    assert timed.MODEL.DECODER.FILTERS == [128, 64, 32, 16, 8]


def test_timing_reads_the_files_of_an_image(write, tmp_path, monkeypatch):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    for case in CASES:
        save(tmp_path / f"scans/t1/{case}.tif", CT)
        save(tmp_path / f"scans/t2/{case}.tif", CT)
    seen = []

    def time_steps(overrides):
        cfg = load_config(overrides)
        seen.extend(len(parts_of(pair.image)) for pair in find_pairs(cfg, "train"))
        return 1.0

    monkeypatch.setattr("data_preparation.planning.timing.time_steps", time_steps)
    main(["scans", "masks", "mine", "--quiet", "--channels", "t1", "t2"])
    assert seen == [2] * 4
