"""DRIVE in its published form becomes pairs with the field of view; bad input ends with one line, no parts."""

import cv2
import numpy as np
from PIL import Image
from public_format_helpers import colour, files, refuse, run, save

from data_generators.reading.masks import read_mask
from data_preparation import drive


def save_gif(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_drive(folder, images=4):
    for number in range(21, 21 + images):
        save(folder / f"images/{number}_training.tif", colour())
        vessels = np.zeros((6, 8), np.uint8)
        vessels[:, number - 20] = 255
        field = np.full((6, 8), 255, np.uint8)
        field[0] = 0
        save_gif(folder / f"1st_manual/{number}_manual1.gif", vessels)
        save_gif(folder / f"mask/{number}_training_mask.gif", field)
    return folder


def test_drive(tmp_path, capsys):
    source, output = make_drive(tmp_path / "training"), tmp_path / "data"
    save(source / "images/overview.png", colour())
    report = run(drive, capsys, source, output, "--val", 0.25)
    assert "train: 3 pairs written" in report and "val: 1 pair written" in report
    assert "overview.png: not named <n>_training.tif" in report
    (name,) = files(output / "val/mask")
    number = int(name.removesuffix("_training.png"))
    mask = read_mask(output / "val/mask" / name)
    assert (mask[0] == 255).all() and (mask[1:, number - 20] == 1).all() and (mask[1:] == 1).sum() == 5
    image = cv2.imread(str(output / f"val/images/{number}_training.png"))
    np.testing.assert_array_equal(image, cv2.imread(str(source / f"images/{number}_training.tif")))


def test_bad_drive(tmp_path, capsys):
    source, output = make_drive(tmp_path / "training"), tmp_path / "data"
    field = source / "mask/22_training_mask.gif"
    save_gif(field, np.full((6, 9), 255, np.uint8))
    assert "22_training_mask.gif: is 6x9 pixels" in refuse(drive, capsys, output, source, output)
    save_gif(field, np.full((6, 8), 7, np.uint8))
    assert f"{field}: contains the values [7]; a mask has 0 and 255" in refuse(drive, capsys, output, source, output)
    field.unlink()
    assert f"has no field of view {field}" in refuse(drive, capsys, output, source, output)
    assert "there is no such file or folder" in refuse(drive, capsys, output, tmp_path / "nowhere", output)
