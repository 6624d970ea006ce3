"""Public datasets in their published form, oddities included, become pairs; bad input ends with one line, no parts."""

import csv
import os
import shutil

import cv2
import numpy as np
import pytest
from helpers import assert_one_clear_error, run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from public_format_helpers import RNG, colour, make_coco, make_table, save
from pycocotools import mask as coco_mask

from data_generators.reading.masks import read_mask
from data_preparation import coco, index_masks, lgg, pets, rle_csv
from data_preparation.common import coco_segmentations
from data_preparation.common.dataset_writer import RECORD
from data_preparation.common.groups import group_of
from data_preparation.common.png import encode_png
from data_preparation.common.splits import SPLITS, assign_splits
from utils.base import rle
from utils.base.errors import UserError


def files(folder):
    """Relative names of all files, hidden ones too, but for the record."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if name != RECORD)


def run(script, capsys, *arguments):
    """Run a script in this process; returns what it printed."""
    script.main(["--workers", "1", *map(str, arguments)])
    return capsys.readouterr().out


def refuse(script, capsys, output, *arguments):
    """Run a script on bad input; returns its one message, and sees that nothing was written in part."""
    with pytest.raises(SystemExit) as end:
        run(script, capsys, *arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2
    lines = [line for line in error.splitlines() if line.strip() and "pairs:" not in line]  # the bar
    assert len(lines) == 1 and lines[0].startswith("Error: "), error
    written = files(output) if output.exists() else []
    assert not [name for name in written if "/." in name or name.startswith(".")]
    assert written or not output.exists()  # no empty folders, no record of nothing
    pairs = [name.split("/") for name in written]
    images = {(split, name.rsplit(".", 1)[0].replace("image_", "")) for split, kind, name in pairs if kind == "images"}
    masks = {(split, name.rsplit(".", 1)[0].replace("mask_", "")) for split, kind, name in pairs if kind == "mask"}
    assert images == masks
    return lines[0]


# LGG


def make_lgg(folder, patients=4, slices=3):
    for patient in range(patients):
        name = f"TCGA_CS_49{patient}_1999"
        for index in range(1, slices + 1):
            save(folder / name / f"{name}_{index}.tif", colour())
            mask = np.zeros((6, 8), np.uint8)
            mask[1 : 1 + index, 2:5] = 255
            save(folder / name / f"{name}_{index}_mask.tif", mask)
    (folder / "data.csv").write_text("Patient\n")
    (folder / "TCGA_CS_490_1999" / "._TCGA_CS_490_1999_1.tif").write_bytes(b"\0\5\26\7")
    return folder


def test_lgg(tmp_path, capsys):
    source, output = make_lgg(tmp_path / "kaggle_3m"), tmp_path / "data"
    report = run(lgg, capsys, source, output, "--val", 0.25)
    assert "train: 9 pairs written, 0 unchanged" in report and "val: 3 pairs written" in report
    assert f"skipped {source}/TCGA_CS_490_1999/._TCGA_CS_490_1999_1.tif: hidden file" in report
    assert "data.csv: not an image" in report and "2 skipped" in report
    patients = {split: {name.split("_")[3] for name in files(output / split)} for split in ("train", "val")}
    assert not patients["train"] & patients["val"] and len(patients["train"]) == 3
    (patient,) = patients["val"]
    image = output / f"val/images/image_TCGA_CS_{patient}_1999_2.png"
    original = source / f"TCGA_CS_{patient}_1999" / f"TCGA_CS_{patient}_1999_2.tif"
    np.testing.assert_array_equal(cv2.imread(str(image)), cv2.imread(str(original)))
    mask = read_mask(output / f"val/mask/mask_TCGA_CS_{patient}_1999_2.png")
    assert mask[1:3, 2:5].all() and mask.sum() == 6


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


# Pets


def make_pets(folder):
    names = [f"Abyssinian_{index}" for index in range(1, 5)] + ["pug_1", "pug_2"]
    for name in names:
        save(folder / f"images/{name}.jpg", colour())
        trimap = RNG.integers(1, 4, (6, 8), np.uint8)
        save(folder / f"annotations/trimaps/{name}.png", cv2.merge([trimap] * 3) if name == "pug_1" else trimap)
        (folder / f"annotations/trimaps/._{name}.png").write_bytes(b"\0")
    save(folder / "images/unlisted_1.jpg", colour())
    (folder / "images/Abyssinian_101.mat").write_bytes(b"MATLAB")
    lines = [f"{name} 1 1 1\r\n" for name in names]
    (folder / "annotations/trainval.txt").write_text("\ufeff" + "".join(lines[:4]), newline="")
    (folder / "annotations/test.txt").write_text("# name class species breed\r\n" + "".join(lines[4:]), newline="")
    return folder


def test_pets(tmp_path, capsys):
    source, output = make_pets(tmp_path / "pets"), tmp_path / "data"
    report = run(pets, capsys, source, output, "--val", 0.25)
    assert "train: 3 pairs" in report and "val: 1 pairs" in report and "test: 2 pairs" in report
    assert "unlisted_1.jpg: in neither list" in report and report.count("hidden file") == 6
    assert sorted(files(output / "test")) == [
        "images/pug_1.jpg",
        "images/pug_2.jpg",
        "mask/pug_1.png",
        "mask/pug_2.png",
    ]
    for name in ("pug_1", "pug_2"):
        assert (output / f"test/images/{name}.jpg").read_bytes() == (source / f"images/{name}.jpg").read_bytes()
        trimap = cv2.imread(str(source / f"annotations/trimaps/{name}.png"), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(read_mask(output / f"test/mask/{name}.png"), trimap - 1)


def test_a_picture_that_is_not_what_its_name_says(tmp_path, capsys):
    """Some .jpg files of the pets are PNG or GIF."""
    source, output = make_pets(tmp_path / "pets"), tmp_path / "data"
    (source / "images/pug_1.jpg").write_bytes(cv2.imencode(".png", colour())[1].tobytes())
    run(pets, capsys, source, output)
    assert (output / "test/images/pug_1.png").exists() and not (output / "test/images/pug_1.jpg").exists()


def test_bad_pets(tmp_path, capsys):
    source, output = make_pets(tmp_path / "pets"), tmp_path / "data"
    assert "--test: the test split is published" in refuse(pets, capsys, output, source, output, "--test", 0.1)
    trainval = source / "annotations/trainval.txt"
    text = trainval.read_text()
    trainval.write_text(text + "Abyssinian_2 1 1 1\n")
    assert "Abyssinian_2 is listed twice" in refuse(pets, capsys, output, source, output)
    trainval.write_text(text + "pug_1 1 1 1\n")
    assert "pug_1 is in trainval.txt and in test.txt" in refuse(pets, capsys, output, source, output)
    trainval.write_text(text + "beagle_1 1 1 1\n")
    assert "beagle_1 is listed, but there is no" in refuse(pets, capsys, output, source, output)
    trainval.write_text(text)
    assert not output.exists()
    save(source / "annotations/trimaps/pug_2.png", np.full((6, 8), 4, np.uint8))
    assert "pug_2.png: contains the values [4]" in refuse(pets, capsys, output, source, output)
    whole = save(source / "images/pug_1.jpg", colour(60, 80)).read_bytes()
    (source / "images/pug_1.jpg").write_bytes(whole[: len(whole) // 2])
    assert "pug_1.jpg: the file is truncated" in refuse(pets, capsys, output, source, output)


def test_pets_without_tensorflow_datasets(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    error = refuse(pets, capsys, tmp_path / "data", "tfds", tmp_path / "data")
    assert "pip install tensorflow-datasets" in error


def test_pets_through_tensorflow_datasets(tmp_path, capsys, monkeypatch):
    class Fake:
        as_numpy = staticmethod(lambda dataset: dataset)

        @staticmethod
        def load(name, split):
            assert name.startswith("oxford_iiit_pet")
            trimap = np.arange(48, dtype=np.uint8).reshape(6, 8, 1) % 3 + 1
            names = {"train": ["a_1", "a_2"], "test": ["b_1"]}[split]
            return [
                {
                    "file_name": f"{name}.jpg".encode(),
                    "image": np.full((6, 8, 3), [9, 0, 0], np.uint8),
                    "segmentation_mask": trimap,
                }
                for name in names
            ]

    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", Fake)
    run(pets, capsys, "tfds", tmp_path / "data", "--val", 0.5)
    image = cv2.imread(str(tmp_path / "data/test/images/b_1.png"))
    assert image[0, 0].tolist() == [0, 0, 9]  # OpenCV reads blue, green, red
    assert read_mask(tmp_path / "data/test/mask/b_1.png")[0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


# Masks that are pictures


def make_camvid(folder):
    for split in ("train", "val", "test"):
        for index in range(2):
            save(folder / f"{split}/0001TP_{split}{index}.png", colour())
            save(folder / f"{split}annot/0001TP_{split}{index}.png", np.full((6, 8), index + 10, np.uint8))
    return folder


def test_published_splits_are_kept(tmp_path, capsys):
    source, output = make_camvid(tmp_path / "CamVid"), tmp_path / "data"
    report = run(index_masks, capsys, source / "{split}", source / "{split}annot", output)
    for split in ("train", "val", "test"):
        assert f"{split}: 2 pairs written" in report
        assert (read_mask(output / f"{split}/mask/0001TP_{split}1.png") == 11).all()


def test_cityscapes(tmp_path, capsys):
    for city in ("ulm", "bonn"):
        save(tmp_path / f"leftImg8bit/train/{city}/{city}_0_leftImg8bit.png", colour())
        for kind in ("labelTrainIds", "color"):
            save(tmp_path / f"gtFine/train/{city}/{city}_0_gtFine_{kind}.png", np.full((6, 8), 255, np.uint8))
    suffixes = ["--image-suffix", "_leftImg8bit", "--mask-suffix", "_gtFine_labelTrainIds"]
    sources = [tmp_path / "leftImg8bit/{split}", tmp_path / "gtFine/{split}"]
    report = run(index_masks, capsys, *sources, tmp_path / "data", *suffixes)
    assert "train: 2 pairs" in report
    assert "ulm_0_gtFine_color.png: does not end in _gtFine_labelTrainIds" in report
    assert (read_mask(tmp_path / "data/train/mask/ulm_0.png") == 255).all()


def test_grey_values_become_classes(tmp_path, capsys):
    save(tmp_path / "i/a.png", colour())
    save(tmp_path / "m/a.png", np.repeat([[0, 128, 255, 128]], 6, 0).repeat(2, 1).astype(np.uint8))
    arguments = [tmp_path / "i", tmp_path / "m", tmp_path / "data", "--val", 0]
    run(index_masks, capsys, *arguments, "--values", 0, 255, 128)
    mask = tmp_path / "data/train/mask/a.png"
    assert read_mask(mask)[0].tolist() == [0, 0, 2, 2, 1, 1, 2, 2]
    run(index_masks, capsys, *arguments, "--values", 0, 255, "--ignore", 9)
    assert read_mask(mask)[0].tolist() == [0, 0, 9, 9, 1, 1, 9, 9]
    error = refuse(index_masks, capsys, tmp_path / "data", *arguments, "--values", 0, 255)
    assert "m/a.png: contains the value 128" in error


TABLES = {
    "label_colors.txt": "64 128 64\t\tAnimal\r\n192 0 128\tArchway2\r\n0 0 0 Void\r\n",
    "class_dict.csv": "\ufeffname,r,g,b\nAnimal,64,128,64\nArchway2,192,0,128\nVoid,0,0,0\n",
}


@pytest.mark.parametrize("table", TABLES)
def test_colours_become_classes(tmp_path, capsys, table):
    (tmp_path / table).write_text(TABLES[table], newline="")
    colours = np.array([[64, 128, 64], [192, 0, 128], [0, 0, 0]], np.uint8)
    classes = RNG.integers(0, 3, (6, 8))
    save(tmp_path / "i/scene_1.png", colour())
    save(tmp_path / "m/scene_1_L.png", colours[classes][:, :, ::-1])
    arguments = [tmp_path / "i", tmp_path / "m", tmp_path / "data", "--val", 0, "--mask-suffix", "_L"]
    arguments += ["--colours", tmp_path / table]
    run(index_masks, capsys, *arguments)
    np.testing.assert_array_equal(read_mask(tmp_path / "data/train/mask/scene_1.png"), classes)
    odd = colours[classes][:, :, ::-1]
    odd[2, 3] = (3, 2, 1)
    save(tmp_path / "m/scene_1_L.png", odd)
    error = refuse(index_masks, capsys, tmp_path / "data", *arguments)
    assert "scene_1_L.png: contains the colour 1 2 3" in error
    run(index_masks, capsys, *arguments, "--ignore", 255)
    classes[2, 3] = 255
    np.testing.assert_array_equal(read_mask(tmp_path / "data/train/mask/scene_1.png"), classes)


@pytest.mark.parametrize(
    "text, words",
    [("1 2 3\n1 2 3\n", "is listed twice"), ("1 2 300\n", "0 to 255"), ("1 2\n", "line 1"), ("", "0 colours")],
)
def test_bad_colour_tables(tmp_path, text, words):
    (tmp_path / "table.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        index_masks.read_colours(tmp_path / "table.txt")


@pytest.mark.parametrize("kind", ["val", "valannot"])
def test_damaged_index_masks(tmp_path, capsys, kind):
    source, output = make_camvid(tmp_path / "CamVid"), tmp_path / "data"
    path = source / kind / "0001TP_val1.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    sources = [source / "{split}", source / "{split}annot"]
    assert f"{path}: the file is truncated" in refuse(index_masks, capsys, output, *sources, output)
    save(path, np.zeros((6, 9), np.uint8))
    assert "They must agree" in refuse(index_masks, capsys, output, *sources, output)
    path.write_bytes(whole)
    twin = source / "val/again/0001TP_val1.png"
    for folder in ("val", "valannot"):
        twin = source / folder / "again/0001TP_val1.png"
        twin.parent.mkdir()
        twin.write_bytes((source / folder / "0001TP_val1.png").read_bytes())
    assert "would both be written as 0001TP_val1" in refuse(index_masks, capsys, output, *sources, output)


def test_a_grey_mask_is_copied_and_others_are_written_anew(tmp_path, capsys):
    source, output = make_camvid(tmp_path / "CamVid"), tmp_path / "data"
    palette = source / "valannot/0001TP_val0.png"
    picture = Image.fromarray(np.full((6, 8), 3, np.uint8), "P")
    picture.putpalette([9, 9, 9] * 256)
    picture.save(palette)
    run(index_masks, capsys, source / "{split}", source / "{split}annot", output)
    grey = "0001TP_val1.png"
    assert (output / "val/mask" / grey).read_bytes() == (source / "valannot" / grey).read_bytes()
    assert (cv2.imread(str(output / "val/mask/0001TP_val0.png"), -1) == 3).all()


def test_bad_index_masks(tmp_path, capsys):
    source, output = make_camvid(tmp_path / "CamVid"), tmp_path / "data"
    sources = [source / "{split}", source / "{split}annot"]
    (source / "valannot/0001TP_val0.png").unlink()
    assert "0001TP_val0.png has no mask" in refuse(index_masks, capsys, output, *sources, output)
    assert "nothing exists for any of the splits" in refuse(
        index_masks, capsys, output, "no/{split}", "no/{split}", output
    )
    assert "there is no such file or folder" in refuse(index_masks, capsys, output, "no", source, output)
    assert "--val 0.9 and --test 0.2" in refuse(
        index_masks, capsys, output, *sources, output, "--val", 0.9, "--test", 0.2
    )
    assert "--workers" in refuse(index_masks, capsys, output, *sources, output, "--workers", 0)
    assert "required: masks, output" in refuse(index_masks, capsys, output, "one")
    assert not output.exists()


# COCO


def coco_arguments(folder, *more):
    return [folder / "{split}.json", folder / "{split}", folder / "data", *more]


def number_mask(folder, number):
    return read_mask(folder / f"data/train/mask/{number:012d}.png")


def test_coco(tmp_path, capsys):
    _, circle = make_coco(tmp_path)
    report = run(coco, capsys, *coco_arguments(tmp_path, "--categories", "cat", 1))
    assert "train: 5 pairs written" in report and "skipped" not in report
    first = number_mask(tmp_path, 1)
    assert set(np.unique(first)) == {0, 1, 2}
    assert first[5, 5] == 2 and first[1, 1] == 1 and first[14, 19] == 1 and first[16, 28] == 1 and first[16, 10] == 0
    assert not number_mask(tmp_path, 2).any()
    third = number_mask(tmp_path, 3)
    assert third[5, 12] == 1 and third[0, 12] == 2  # the crowd below the cat, although it is smaller
    np.testing.assert_array_equal(number_mask(tmp_path, 4), circle)
    assert (number_mask(tmp_path, 5)[:, 0] == 2).all() and number_mask(tmp_path, 5).sum() == 40


def test_coco_options(tmp_path, capsys):
    make_coco(tmp_path)
    report = run(coco, capsys, *coco_arguments(tmp_path, "--empty", "skip", "--crowd", "skip"))
    assert "annotation 12: crowd region" in report and "annotation 16: no segmentation" in report
    assert "000000000002.jpg: no instances of the chosen categories" in report
    assert number_mask(tmp_path, 1)[5, 5] == 1  # all categories: by number, person is 1, cat 2
    assert number_mask(tmp_path, 3)[0, 12] == 0
    run(coco, capsys, *coco_arguments(tmp_path, "--crowd", "ignore", "--ignore", 200))
    assert number_mask(tmp_path, 3)[0, 12] == 200


@pytest.mark.parametrize("kind", ["polygons", "text", "list"])
def test_coco_draws_what_pycocotools_draws(kind):
    @given(
        st.lists(
            st.lists(st.floats(-8, 400), min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0),
            min_size=1,
            max_size=3,
        )
    )
    @settings(deadline=None, max_examples=150)
    def compare(polygons):
        polygons = [[round(number, 2) for number in polygon] for polygon in polygons]
        height, width = 300, 350
        runs = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        expected = coco_mask.decode(runs)
        mask = np.zeros((height, width), np.uint8)
        if kind == "polygons":
            top, left, crop = coco_segmentations.draw_polygons(polygons, height, width, "x")
            mask[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
        else:
            counts = runs["counts"].decode()
            counts = coco_segmentations.expand_counts(counts, "x") if kind == "list" else counts
            mask = coco_segmentations.decode_runs({"size": [height, width], "counts": counts}, height, width, "x")
        np.testing.assert_array_equal(mask, expected)

    compare()


RUNS = {"size": [20, 30], "counts": [0, 20, 580]}
BAD_SEGMENTATIONS = {
    "has the size [30, 20]": {**RUNS, "size": [30, 20]},
    "has 700 pixels": {**RUNS, "counts": [100, 600]},
    "integers from 0": {**RUNS, "counts": [-10, 20, 590]},
    "is truncated": {**RUNS, "counts": "X"},
    "is damaged": {**RUNS, "counts": "~~~"},
    "neither polygons nor": {**RUNS, "counts": None},
    "a list of numbers": [[1, 2, 3, 4, 5, 6, 7]],
    "must be a list of numbers": [["a", 2, 3, 4, 5, 6]],
    "far outside": [[1, 2, 3, 4, 5, 1e9]],
}


@pytest.mark.parametrize("words", BAD_SEGMENTATIONS)
def test_bad_segmentations(tmp_path, capsys, words):
    annotation = {"id": 77, "image_id": 4, "category_id": 7, "segmentation": BAD_SEGMENTATIONS[words]}
    make_coco(tmp_path, annotations=[annotation])
    error = refuse(coco, capsys, tmp_path / "data", *coco_arguments(tmp_path))
    assert "annotation 77" in error and words in error


def test_polygons_of_two_points_hold_nothing(tmp_path, capsys):
    segmentation = [[1, 2, 9, 9], [2, 2, 9, 2, 9, 9]]  # pycocotools would take the first for a box
    make_coco(tmp_path, annotations=[{"id": 7, "image_id": 4, "category_id": 7, "segmentation": segmentation}])
    run(coco, capsys, *coco_arguments(tmp_path))
    expected = coco_mask.decode(coco_mask.frPyObjects(segmentation[1:], 20, 30))[:, :, 0]
    np.testing.assert_array_equal(number_mask(tmp_path, 4) > 0, expected)


def test_bad_coco(tmp_path, capsys):
    output = tmp_path / "data"
    data, _ = make_coco(tmp_path)

    def error(*more, **changes):
        make_coco(tmp_path, **changes)
        return refuse(coco, capsys, output, *coco_arguments(tmp_path, *more))

    assert "has no category dog. " in error("--categories", "dog") and "90 tooth brush" in error("--categories", "dog")
    assert "--categories: 2 categories, some twice" in error("--categories", "cat", 7)
    assert "annotation 10 is listed twice" in error(annotations=data["annotations"] + data["annotations"][:1])
    assert "image 3 is listed twice" in error(images=data["images"] + data["images"][:1])
    unknown = {**data["annotations"][0], "id": 50}
    assert "category 4, which is not listed" in error(annotations=[{**unknown, "category_id": 4}])
    assert "image 99, which is not listed" in error(annotations=[{**unknown, "image_id": 99}])
    assert "has no list of categories" in error(categories=None)
    assert "00006.jpg, which does not exist" in error(
        images=[*data["images"], {**data["images"][0], "id": 6, "file_name": "000000000006.jpg"}]
    )
    same = {**data["images"][0], "id": 6}
    assert "would both be written as 000000000003" in error(images=[*data["images"], same])
    make_coco(tmp_path)
    text = (tmp_path / "train.json").read_text()
    (tmp_path / "train.json").write_text(text[: len(text) // 2])
    assert "train.json: is not a complete JSON" in refuse(coco, capsys, output, *coco_arguments(tmp_path))
    assert not output.exists()
    other = [{**image, "height": 30, "width": 20} for image in data["images"]]
    assert "is 20x30 pixels" in error(images=other)


# Run-length tables


def table_mask(folder, name):
    return read_mask(folder / f"data/train/mask/{name}.png")


def test_run_length_table(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a.png,1 3", "b,-1", "a.png,8 2", "a.png,1 3", "", "c,"], images="abcd")
    report = run(rle_csv, capsys, *arguments)
    assert "train: 3 pairs written" in report
    assert "train.csv, line 5: repeats a row above" in report and "d.png: not in train.csv" in report
    mask = np.zeros(48, np.uint8)
    mask[[0, 1, 2, 7, 8]] = 1
    np.testing.assert_array_equal(table_mask(tmp_path, "a"), mask.reshape(8, 6).T)
    assert not table_mask(tmp_path, "b").any() and not table_mask(tmp_path, "c").any()
    report = run(rle_csv, capsys, *arguments, "--row-major", "--unlisted", "empty")
    assert "train: 4 pairs written, 0 unchanged" in report
    np.testing.assert_array_equal(table_mask(tmp_path, "a"), mask.reshape(6, 8))
    assert not table_mask(tmp_path, "d").any()


def test_run_length_table_with_classes(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a,1 4,2", "b,-1,", "a,3 4,1"], "ImageId,EncodedPixels,ClassId", "ab")
    run(rle_csv, capsys, *arguments, "--rle-column", "EncodedPixels", "--class-column", "ClassId")
    assert table_mask(tmp_path, "a")[:, 0].tolist() == [2, 2, 1, 1, 1, 1]  # the later row on top


def test_a_real_round_trip(tmp_path, capsys):
    masks = {name: RNG.integers(0, 2, (6, 8), np.uint8) for name in "abc"}
    arguments = make_table(tmp_path, [])
    with open(tmp_path / "train.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "rle"], *([name, rle.encode(mask)] for name, mask in masks.items())])
    run(rle_csv, capsys, *arguments)
    for name, mask in masks.items():
        np.testing.assert_array_equal(table_mask(tmp_path, name), mask)


@pytest.mark.parametrize(
    "row, words",
    [
        ("b,40 10", ["train.csv, line 3 (b)", "outside the image of 48 pixels"]),
        ("b,1 2 3", ["line 3 (b)", "3 numbers"]),
        ("b,1 5 4 2", ["line 3 (b)", "overlaps"]),
        ("b,one two", ["line 3 (b)", "no whole number"]),
        ("zebra,1 2", ["there is no image zebra"]),
        ("b", ["line 3", "truncated"]),
        (",1 2", ["line 3", "names no image"]),
    ],
)
def test_bad_rows(tmp_path, capsys, row, words):
    error = refuse(rle_csv, capsys, tmp_path / "data", *make_table(tmp_path, ["a,1 3", row]))
    for word in words:
        assert word in error


def test_bad_tables(tmp_path, capsys):
    output, arguments = tmp_path / "data", make_table(tmp_path, ["a,1 3"])
    assert "has no column mask" in refuse(rle_csv, capsys, output, *arguments, "--rle-column", "mask")
    save(tmp_path / "images/a.jpg", colour())
    assert "have the same name" in refuse(rle_csv, capsys, output, *arguments)
    (tmp_path / "images/a.jpg").unlink()
    (tmp_path / "train.csv").write_bytes(b"id,rle\n\xff\xfe,1 2\n")
    assert "not a CSV file in UTF-8" in refuse(rle_csv, capsys, output, *arguments)
    for first in ("a.png,1 3", "a.png,", "a.png,-1"):
        (tmp_path / "train.csv").write_text(f"{first}\nb.png,2 2\n")
        error = refuse(rle_csv, capsys, output, *arguments)
        assert "must name the columns, such as image_id,rle" in error and error.endswith(first)
    (tmp_path / "train.csv").write_text("id,rle\n")
    assert "contains no rows" in refuse(rle_csv, capsys, output, *arguments)
    assert not output.exists()
    arguments = make_table(tmp_path / "again", ["a,1 3", "b,1 3"])
    image = next((tmp_path / "again/images").glob("b.*"))
    image.write_bytes(image.read_bytes()[:-9])
    assert f"{image}: the file is truncated" in refuse(rle_csv, capsys, tmp_path / "again/data", *arguments)


# What all scripts share


def times(folder):
    return {name: os.stat(folder / name).st_mtime_ns for name in files(folder)}


def test_a_second_run_does_only_what_has_changed(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a,1 3", "b,2 2", "c,3 1"])
    run(rle_csv, capsys, *arguments)
    before = times(tmp_path / "data")
    assert "train: 0 pairs written, 3 unchanged" in run(rle_csv, capsys, *arguments)
    assert times(tmp_path / "data") == before
    (tmp_path / "data/train/mask/b.png").unlink()
    save(tmp_path / "images/c.png", colour(6, 8))
    assert "train: 2 pairs written, 1 unchanged" in run(rle_csv, capsys, *arguments)
    assert table_mask(tmp_path, "b").sum() == 2
    make_table(tmp_path, ["a,1 4", "b,2 2", "c,3 1"])
    assert "train: 3 pairs written" in run(rle_csv, capsys, *arguments)


def test_what_moves_to_another_split_leaves_the_first(tmp_path, capsys):
    names = [f"x{index}" for index in range(10)]
    arguments = make_table(tmp_path, [f"{name},1 1" for name in names], images=names)[:-2]
    foreign = save(tmp_path / "data/train/images/mine.png", colour())
    seen = set()
    for seed in range(3):
        run(rle_csv, capsys, *arguments, "--val", 0.3, "--test", 0.2, "--seed", seed)
        found = files(tmp_path / "data")
        assert len(found) == 21
        seen.add(tuple(found))
    assert len(seen) == 3 and foreign.exists()


def test_one_folder_holds_one_dataset(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a,1 3"])
    run(rle_csv, capsys, *arguments)
    before = times(tmp_path / "data")
    (tmp_path / "second.csv").write_text("id,rle\nb,1 1\n")
    with pytest.raises(SystemExit):
        run(rle_csv, capsys, tmp_path / "second.csv", *arguments[1:])
    assert "already contains a dataset prepared from" in capsys.readouterr().err
    assert times(tmp_path / "data") == before


def test_finished_pairs_outlive_an_error(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a,1 3", "b,99 1", "c,1 1"])
    refuse(rle_csv, capsys, tmp_path / "data", *arguments)
    assert files(tmp_path / "data") == ["train/images/a.png", "train/mask/a.png"]
    make_table(tmp_path, ["a,1 3", "b,9 1", "c,1 1"])
    assert "3 pairs written" in run(rle_csv, capsys, *arguments)


def test_a_failed_write_leaves_no_part(tmp_path, capsys, monkeypatch):
    arguments, replace = make_table(tmp_path, ["a,1 3"]), os.replace

    def full(source, target):
        if str(target).endswith("mask/a.png"):
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SystemExit):
        run(rle_csv, capsys, *arguments)
    assert "No space left on device" in capsys.readouterr().err
    assert not [name for name in files(tmp_path / "data") if ".part" in name]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_written_as_they_are(dtype):
    for shape in ((1, 1), (5, 7), (40, 3), (6, 9, 3), (6, 9, 4)):
        mask = RNG.integers(0, np.iinfo(dtype).max + 1, shape, dtype)
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(encode_png(mask), np.uint8), -1), mask)


def test_groups():
    assert group_of("image_3_12", "volume") == "3" and group_of("cat", "volume") == "cat"
    assert group_of("a_1", None) == group_of("a_1", "none") == "a_1"
    assert group_of("0006R0_f00930", r"(.+)_f?\d+") == "0006R0" and group_of("p7x", r"p\d") == "p7"
    with pytest.raises(UserError, match="does not match cat"):
        group_of("cat", r"\d+")
    with pytest.raises(UserError, match="not a regular expression"):
        group_of("cat", "(")


def test_splits_are_drawn_by_share():
    splits = assign_splits([f"g{index % 20}" for index in range(60)], 0.2, 0.1, 1)
    counts = [list(splits.values()).count(split) for split in SPLITS]
    assert counts == [14, 4, 2] and splits == assign_splits(sorted(splits), 0.2, 0.1, 1)
    assert splits != assign_splits(sorted(splits), 0.2, 0.1, 2)
    assert set(assign_splits(["a", "b"], 0.01, 0, 1).values()) == {"train", "val"}
    with pytest.raises(UserError, match="too few"):
        assign_splits(["a", "b"], 0.2, 0.2, 1)


def test_as_a_command_in_several_processes(tmp_path):
    names = [f"x{index:03d}" for index in range(70)]
    make_table(tmp_path, [f"{name},1 1" for name in names], images=names)
    script = [
        "data_preparation/rle_csv.py",
        tmp_path / "train.csv",
        tmp_path / "images",
        tmp_path / "data",
        "--workers",
        2,
    ]
    result = run_command(*script)
    assert result.returncode == 0, result.stderr
    assert "train: 56 pairs written" in result.stdout and "val: 14 pairs" in result.stdout
    assert len(files(tmp_path / "data")) == 140
    with open(tmp_path / "train.csv", "a") as file:
        file.write("x000,99 9\n")
    assert_one_clear_error(run_command(*script), "train.csv, line 72 (x000)")


@pytest.mark.parametrize("script", ["lgg", "pets", "coco", "rle_csv", "index_masks"])
def test_help(script):
    result = run_command("-X", "importtime", f"data_preparation/{script}.py", "--help")
    assert result.returncode == 0 and "output" in result.stdout and "--workers" in result.stdout
    assert "tensorflow" not in result.stderr and "keras" not in result.stderr
