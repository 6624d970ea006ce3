"""DATASET.VERIFIED_PATH: only changed files are read again, and what was kept says what reading says."""

import os
import shutil

import cv2
import numpy as np
import pytest

from data_generators import build_dataset
from data_generators.files import found_files
from data_preparation import verify_data as verification
from data_preparation.common import known_checks
from utils.base.errors import UserError
from utils.config import load_config


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of 3 pairs for training and 2 for validation, few enough to be read and many enough to be kept."""
    monkeypatch.setattr(known_checks, "FEWEST", 2)
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for part in ("images", "mask"):
            (tmp_path / f"data/{split}/{part}").mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (16, 24, 3), np.uint8) * np.uint8(index < 2)  # the last is all padding
            cv2.imwrite(f"{tmp_path}/data/{split}/images/{index}.png", image)
            cv2.imwrite(f"{tmp_path}/data/{split}/mask/{index}.png", rng.integers(0, 2, (16, 24), np.uint8))
    return tmp_path


@pytest.fixture
def read(monkeypatch):
    """The images that were read since."""
    names, check = [], verification.check_pair
    monkeypatch.setattr(
        verification, "check_pair", lambda pair, **options: (names.append(pair.image.name), check(pair, **options))[1]
    )
    return names


def config(folder, *overrides):
    return load_config([f"WORK_DIR={folder}", "VERBOSE=0", "INPUT.HEIGHT=16", "INPUT.WIDTH=24", "loss=cce", *overrides])


def verify(*arguments, **options):
    """The result, with its arrays as lists."""
    found = verification.verify_data(config(*arguments), **options)
    return {split: facts | {"label_counts": facts["label_counts"].tolist()} for split, facts in found.items()}


def test_only_changed_files_are_read_again_and_the_result_is_the_same(data, read):
    first = verify(data)
    assert len(read) == 5 and first["train"]["fingerprint"]["images"] == 3
    assert verify(data) == verify(data, "SEED=9") == first and len(read) == 5

    changed = data / "data/train/mask/1.png"
    cv2.imwrite(str(changed), np.ones((16, 24), np.uint8))
    os.utime(changed, (1, 1))  # older than before, as a copy of a backup is
    second = verify(data)
    assert read[5:] == ["1.png"]
    assert second["train"]["label_counts"][1] == [0, 384]
    assert verify(data, "DATASET.VERIFIED_PATH=null") == second and len(read) == 11


def test_other_settings_and_details_read_all(data, read):
    verify(data)
    with pytest.raises(UserError, match=r"INPUT is 17x24"):
        verify(data, "INPUT.HEIGHT=17")
    assert len(read) == 10
    verify(data, details=True)
    assert len(read) == 15


def test_a_pair_with_a_problem_is_read_each_time(data, read):
    cv2.imwrite(f"{data}/data/val/mask/0.png", np.full((16, 24), 7, np.uint8))
    for count in (5, 6):
        with pytest.raises(UserError, match="contains the values 7"):
            verify(data)
        assert len(read) == count


@pytest.mark.parametrize(
    "row",
    [
        "[",
        "[" * 5000,
        "null",
        "[[[-300,1]],null,[],1,null]",
        "[[[0,1e99]],null,[],1,null]",
        "[[],null,[99],1,null]",
        "[[[0,96]],null,[],1,[1,2,3]]",
        "[[[0,96]],null,[],1,[1,2,8,4,[[1,2]]]]",
    ],
)
def test_a_damaged_line_is_read_again(data, read, row):
    first = verify(data)
    for file in (data / "data/verified").iterdir():
        lines = file.read_text().splitlines()
        file.write_text("\n".join([lines[0].split("\t")[0] + "\t" + row, *lines[1:]]) + "\n")
    assert verify(data) == first and len(read) == 7


def test_a_folder_that_cannot_be_written_is_a_note(data, capsys):
    (data / "data/verified").write_text("a file")
    verify(data)
    assert "The next run reads all images again." in capsys.readouterr().err


def test_nothing_is_kept_of_small_sets(data, monkeypatch):
    monkeypatch.undo()
    shutil.rmtree(data / "data/verified", ignore_errors=True)
    verify(data)
    assert not (data / "data/verified").exists()


def test_training_lists_each_folder_once(data, monkeypatch):
    listed, list_folder = [], found_files.list_folder
    monkeypatch.setattr(
        found_files,
        "list_folder",
        lambda folder, *options: (listed.append(folder.name), list_folder(folder, *options))[1],
    )
    cfg, files = verification.find_training_files(config(data))
    verification.verify_data(cfg, files=files)
    build_dataset(cfg, "train", samples=files["train"].samples)
    assert sorted(listed) == ["images", "images", "mask", "mask"], "of training and validation"
