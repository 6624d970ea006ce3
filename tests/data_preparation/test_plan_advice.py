"""Where images and masks do not fit, the plan names --channels or --class-masks if these make them fit."""

import cv2
import numpy as np
import pytest
import tifffile
from plan_helpers import grey, planned, refused, striped

CASES = [f"a{number}" for number in range(5)]
FORMS = ["{part}/{case}.png", "{case}_{part}.png", "{case}/{part}.png", "{part}_{case}.png"]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


@pytest.mark.parametrize("form", FORMS)
def test_channels_and_class_masks_are_named(form, write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    for case in CASES:
        for part in ("flair", "t1"):
            save(tmp_path / "scans" / form.format(part=part, case=case), grey())
        for part in ("liver", "tumour"):
            save(tmp_path / "planes" / form.format(part=part, case=case), striped([0, 1]))
    channels, classes = "--channels flair t1", "--class-masks liver tumour"
    assert refused(capsys, images="scans").rstrip().endswith(channels)
    assert refused(capsys, masks="planes").rstrip().endswith(classes)
    assert refused(capsys, images="scans", masks="planes").rstrip().endswith(f"{channels} {classes}")
    assert refused(capsys, *channels.split(), images="scans", masks="planes").rstrip().endswith(f": {classes}")
    cfg = planned(*channels.split(), *classes.split(), images="scans", masks="planes")
    assert cfg.INPUT.CHANNELS == 2 and cfg.OUTPUT.CLASSES == 2


def test_planes_of_a_file_are_named(write, tmp_path, capsys):
    write({case: (grey(), np.dstack([striped([0, 1]), striped([1, 0]), striped([0, 0])])) for case in CASES})
    assert "--class-masks stack NAME1 NAME2 NAME3." in refused(capsys)
    for case in CASES:
        (tmp_path / f"pages/{case}.tif").parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"pages/{case}.tif", np.stack([striped([0, 1]), striped([1, 0])]))
        (tmp_path / "arrays").mkdir(exist_ok=True)
        np.save(tmp_path / f"arrays/{case}.npy", np.stack([striped([0, 1]), striped([1, 0])]))
    for masks in ("pages", "arrays"):
        assert refused(capsys, masks=masks).rstrip().endswith("--class-masks stack NAME1 NAME2")


def test_other_faults_get_no_such_advice(write, tmp_path, capsys):
    write({case: (grey(), striped([0, 1])) for case in CASES})
    (tmp_path / "masks/a3.png").unlink()
    save(tmp_path / "split/train/a1.png", grey())
    save(tmp_path / "split/val/a2.png", grey())
    for images in ("images", "split", "nowhere"):
        message = refused(capsys, images=images)
        assert "--channels" not in message and "--class-masks" not in message
