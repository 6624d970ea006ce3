"""LGG in its published form becomes pairs, oddities included; bad input ends with one line, no parts."""

import shutil

import cv2
import numpy as np
import pytest
from public_format_helpers import files, make_lgg, refuse, run, save

from data_generators.reading.masks import read_mask
from data_preparation import lgg


def test_lgg(tmp_path, capsys):
    source, output = make_lgg(tmp_path / "kaggle_3m"), tmp_path / "data"
    report = run(lgg, capsys, source, output, "--val", 0.25)
    assert "train: 9 pairs written, 0 unchanged" in report and "val: 3 pairs written" in report
    assert f"skipped {source}/TCGA_CS_490_1999/._TCGA_CS_490_1999_1.tif: hidden, or left behind" in report
    assert "data.csv: not an image" in report and "2 skipped" in report
    patients = {split: {name.split("_")[3] for name in files(output / split)} for split in ("train", "val")}
    assert not patients["train"] & patients["val"] and len(patients["train"]) == 3
    (patient,) = patients["val"]
    image = output / f"val/images/image_TCGA_CS_{patient}_1999_2.png"
    original = source / f"TCGA_CS_{patient}_1999" / f"TCGA_CS_{patient}_1999_2.tif"
    np.testing.assert_array_equal(cv2.imread(str(image)), cv2.imread(str(original)))
    mask = read_mask(output / f"val/mask/mask_TCGA_CS_{patient}_1999_2.png")
    assert mask[1:3, 2:5].all() and mask.sum() == 6


def test_a_split_by_slices_has_patients_on_both_sides(tmp_path, capsys):
    output = tmp_path / "data"
    report = run(lgg, capsys, make_lgg(tmp_path / "kaggle_3m"), output, "--val", 0.5, "--split-by", "slices")
    assert "train: 6 pairs written" in report and "val: 6 pairs written" in report
    patients = {split: {name.split("_")[3] for name in files(output / split)} for split in ("train", "val")}
    assert patients["train"] & patients["val"]


@pytest.mark.parametrize("suffix, missing", [("", "image"), ("_mask", "mask")])
def test_lgg_without_a_partner(tmp_path, capsys, suffix, missing):
    source = make_lgg(tmp_path / "kaggle_3m")
    (source / "TCGA_CS_491_1999" / f"TCGA_CS_491_1999_2{suffix}.tif").unlink()
    error = refuse(lgg, capsys, tmp_path / "data", source, tmp_path / "data")
    assert f"has no {missing} TCGA_CS_491_1999_2{suffix}.tif" in error
    assert not (tmp_path / "data").exists()


def test_lgg_with_other_values_or_sizes(tmp_path, capsys):
    source = make_lgg(tmp_path / "kaggle_3m")
    mask = source / "TCGA_CS_492_1999/TCGA_CS_492_1999_1_mask.tif"
    save(mask, np.full((6, 8), 7, np.uint8))
    assert f"{mask}: contains the values [7]" in refuse(lgg, capsys, tmp_path / "data", source, tmp_path / "data")
    save(mask, np.zeros((6, 9), np.uint8))
    assert "is 6x8 pixels, its mask 6x9" in refuse(lgg, capsys, tmp_path / "data", source, tmp_path / "data")


def test_bad_lgg(tmp_path, capsys):
    source, output = make_lgg(tmp_path / "kaggle_3m"), tmp_path / "data"
    twin = source / "TCGA_CS_493_1999"
    twin.mkdir(exist_ok=True)
    for suffix in ("", "_mask"):
        name = f"TCGA_CS_490_1999_1{suffix}.tif"
        (twin / name).write_bytes((source / "TCGA_CS_490_1999" / name).read_bytes())
    assert "would both be written as image_TCGA_CS_490_1999_1" in refuse(lgg, capsys, output, source, output)
    assert not output.exists()
    shutil.rmtree(twin)
    image = source / "TCGA_CS_491_1999/TCGA_CS_491_1999_2.tif"
    image.write_bytes(image.read_bytes()[:40])
    assert str(image) in refuse(lgg, capsys, output, source, output)
