"""What all conversions share: later runs, splits, groups, atomic files, processes."""

import json
import os
import re

import cv2
import numpy as np
import pytest
from helpers import assert_one_clear_error, run_command
from public_format_helpers import (
    RNG,
    colour,
    files,
    make_table,
    refuse,
    run,
    save,
)

from data_generators.files.preparation import CLASS_NAMES, read_preparation
from data_generators.reading.masks import read_mask
from data_preparation import rle_csv
from data_preparation.common.dataset_writer import NewPair, read_record, unfinished
from data_preparation.common.groups import group_of
from data_preparation.common.png import encode_png
from data_preparation.common.splits import SPLITS, assign_splits
from utils.base.errors import UserError
from utils.base.locks import locked


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
    assert read_mask(tmp_path / "data/train/mask/b.png").sum() == 2
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


def test_two_preparations_do_not_write_the_same_folder(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a,1 3"])
    (tmp_path / "data").mkdir()
    with locked(tmp_path / "data/.prepare.lock", "it"), pytest.raises(SystemExit):
        run(rle_csv, capsys, *arguments)
    assert "Error: Another process writes the dataset" in capsys.readouterr().err


def test_finished_pairs_outlive_an_error(tmp_path, capsys):
    arguments = make_table(tmp_path, ["a,1 3", "b,99 1", "c,1 1"])
    refuse(rle_csv, capsys, tmp_path / "data", *arguments)
    assert files(tmp_path / "data") == ["train/images/a.png", "train/mask/a.png"]
    make_table(tmp_path, ["a,1 3", "b,9 1", "c,1 1"])
    assert "3 pairs written" in run(rle_csv, capsys, *arguments)


@pytest.mark.parametrize("written", [False, True])
def test_names_of_classes_are_unfinished_until_the_last_pair(tmp_path, written):
    folder, pair = tmp_path / "train", NewPair("train", tmp_path / "a.png", "a", "a")
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path, [pair], {CLASS_NAMES: ["sky", "road"]}):
        with pytest.raises(UserError, match="not finished"):
            read_preparation(folder)
        if written:
            (folder / "images").mkdir()
            (folder / "images/a.png").touch()
        raise KeyboardInterrupt
    assert (folder / "prepared.json").exists() == written


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
    with pytest.raises(UserError, match="none for training"):
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
    assert not re.search(r"\|\s+(tensorflow|keras|scipy)(\.|$)", result.stderr, re.MULTILINE)


@pytest.mark.parametrize("entry", ["../kept.png", "/kept.png", "train/../../kept.png"])
def test_a_record_from_elsewhere_removes_nothing_outside_of_its_folder(entry, tmp_path):
    output, kept = tmp_path / "out", tmp_path / "kept.png"
    output.mkdir()
    kept.write_text("mine")
    for listed in ({entry: ["train/mask/a.png", None]}, {"train/images/a.png": [entry, None]}, {"a": 1}, [entry]):
        (output / "prepared.json").write_text(json.dumps({"origin": {}, "files": listed}))
        with pytest.raises(UserError, match=r"leads out|damaged"):
            read_record(output, {})
    assert kept.read_text() == "mine"
