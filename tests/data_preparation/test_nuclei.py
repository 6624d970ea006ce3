"""Nuclei in their published form become pairs; nuclei that touch can be kept apart; bad input ends with one line."""

import numpy as np
import pytest
from public_format_helpers import RNG, files, refuse, run, save

from data_generators.reading.masks import read_mask
from data_preparation import nuclei


def nucleus(columns, size=(6, 8)):
    mask = np.zeros(size, np.uint8)
    mask[1:5, columns] = 255
    return mask


def make_nuclei(folder):
    """Two images of two sizes, RGBA as published; nuclei in columns 1 to 3 and 4 to 6 touch."""
    for name, size in (("0a", (6, 8)), ("0b", (7, 9))):
        save(folder / name / f"images/{name}.png", RNG.integers(0, 256, (*size, 4), np.uint8))
        save(folder / name / "masks/1.png", nucleus(slice(1, 4), size))
        save(folder / name / "masks/2.png", nucleus(slice(4, 7), size))
    return folder


@pytest.mark.parametrize(("border", "row"), [(0, "01111110"), (1, "01100110"), (2, "01000010")])
def test_nuclei(tmp_path, capsys, border, row):
    source, output = make_nuclei(tmp_path / "stage1_train"), tmp_path / "data"
    (source / "classes.csv").write_text("name\n")
    report = run(nuclei, capsys, source, output, "--val", 0.5, "--border", border)
    assert "train: 1 pair written" in report and "val: 1 pair written" in report and "classes.csv: not an im" in report
    assert sorted(files(output / "train") + files(output / "val"))[:2] == ["images/0a.png", "images/0b.png"]
    (path,) = output.glob("*/mask/0a.png")
    assert "".join(map(str, read_mask(path)[2])) == row and not read_mask(path)[0].any()


def test_bad_nuclei(tmp_path, capsys):
    source, output = make_nuclei(tmp_path / "stage1_train"), tmp_path / "data"
    mask = source / "0b/masks/2.png"
    save(mask, nucleus(slice(4, 7)))
    assert f"{mask}: is 6x8 pixels, its image 7x9" in refuse(nuclei, capsys, output, source, output)
    save(mask, nucleus(slice(4, 7), (7, 9)) // 2)
    assert f"{mask}: contains the values [0, 127]" in refuse(nuclei, capsys, output, source, output)
    assert "--border -1" in refuse(nuclei, capsys, output, source, output, "--border", "-1")
    (source / "0a/images/0a.png").unlink()
    assert "0a has masks, but no image" in refuse(nuclei, capsys, output, source, output)
    for path in (source / "0b/masks").iterdir():
        path.unlink()
    assert "0b.png has no masks in" in refuse(nuclei, capsys, output, source, output)
