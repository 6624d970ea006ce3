"""Masks that are images: class indices, gray values, colours."""

import cv2
import numpy as np
import pytest
from PIL import Image
from public_format_helpers import RNG, colour, make_camvid, refuse, run, save

from data_generators.reading.masks import read_mask
from data_preparation import index_masks
from utils.base.errors import UserError


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
        index_masks.read_table(tmp_path / "table.txt")


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
