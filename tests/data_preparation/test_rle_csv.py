"""Run-length tables become masks; bad rows end with one line that names them."""

import csv

import numpy as np
import pytest
from public_format_helpers import (
    RNG,
    colour,
    make_table,
    refuse,
    run,
    save,
)

from data_generators.reading.masks import read_mask
from data_preparation import rle_csv
from utils.base import rle


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


def test_a_table_without_any_run(tmp_path, capsys):
    error = refuse(rle_csv, capsys, tmp_path / "data", *make_table(tmp_path, ["a,", "b,-1"]))
    assert "train.csv: no row has runs, so that every mask would be empty" in error


def test_bad_tables(tmp_path, capsys):
    output, arguments = tmp_path / "data", make_table(tmp_path, ["a,1 3"])
    assert "has no column mask" in refuse(rle_csv, capsys, output, *arguments, "--rle-column", "mask")
    save(tmp_path / "images/a.jpg", colour())
    assert "have the same name" in refuse(rle_csv, capsys, output, *arguments)
    (tmp_path / "images/a.jpg").unlink()
    (tmp_path / "train.csv").write_bytes(b"id,rle\n\xff\xfe,1 2\n")
    assert "not text in UTF-8 or UTF-16" in refuse(rle_csv, capsys, output, *arguments)
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


def test_a_column_of_classes_is_not_ignored(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a,2,1 3", "b,1,"], "ImageId,ClassId,EncodedPixels", "ab")
    assert "has a column ClassId" in refuse(rle_csv, capsys, tmp_path / "data", *arguments)
    run(rle_csv, capsys, *arguments, "--class-column", "none")
    assert table_mask(tmp_path, "a").max() == 1
    run(rle_csv, capsys, *arguments, "--class-column", "ClassId")
    assert table_mask(tmp_path, "a").max() == 2


@pytest.mark.parametrize("separator, encoding", [(";", "utf-8"), ("\t", "utf-8"), (",", "utf-16")])
def test_tables_of_other_programs(separator, encoding, tmp_path, capsys):
    arguments = make_table(tmp_path, [])
    rows = ["image_id,rle", "a,1 3", "b,", "c,7 1"]
    arguments[0].write_bytes("\n".join(rows).replace(",", separator).encode(encoding))
    run(rle_csv, capsys, *arguments)
    assert table_mask(tmp_path, "a").sum() == 3 and table_mask(tmp_path, "c").sum() == 1


def test_rows_wider_than_the_headings_are_refused(tmp_path, capsys):
    error = refuse(rle_csv, capsys, tmp_path / "data", *make_table(tmp_path, ["a,1 3,2 2"]))
    assert "line 2: has 3 cells, but there are 2 headings" in error
