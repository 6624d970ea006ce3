"""Names in any encoding and Unicode form; Keras set up for another project."""

import json
import os

import cv2
import numpy as np
import pytest
from helpers import assert_one_clear_error, run_command

from data_generators.files.pairing import match_pairs
from data_preparation.split import main as split
from utils.base.errors import UserError
from utils.base.files import read_list
from utils.base.keras_settings import choose_backend, default_backend
from utils.config import load_config
from utils.training.resume import describe_data

LATIN = os.fsdecode("bär".encode("latin-1"))


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.eye(8, dtype=np.uint8))[1].tobytes())


def test_names_of_macos_find_their_masks(tmp_path):
    write(tmp_path / "images" / "Blu\u0308te.png")
    write(tmp_path / "mask" / "Bl\u00fcte.png")
    paths = [f"DATASET.TRAIN.IMAGES_PATH={tmp_path}/images", f"DATASET.TRAIN.MASK_PATH={tmp_path}/mask"]
    pairs, problems = match_pairs(load_config([f"WORK_DIR={tmp_path}", *paths]), "train")
    assert not problems and [(pair.image.name, pair.mask.name) for pair in pairs] == [
        ("Blu\u0308te.png", "Bl\u00fcte.png")
    ]


def test_lists_of_names_in_latin_1_are_read_as_they_were_written(tmp_path):
    for number in range(4):
        for kind in ("images", "mask"):
            write(tmp_path / kind / f"{LATIN}{number}.png")
    split(
        [str(tmp_path / "images"), str(tmp_path / "mask"), str(tmp_path / "lists"), "--group", "none", "--folds", "2"]
    )
    found = read_list(tmp_path / "lists" / "fold0_train_images.txt")
    assert found and all(file.is_file() and LATIN in file.name for file in found)
    (tmp_path / "typed.txt").write_bytes(b"images/b\xe4r9.png\n")  # not there: another encoding was meant
    with pytest.raises(UserError, match="UTF-8"):
        read_list(tmp_path / "typed.txt")


def test_names_in_latin_1_are_digested(tmp_path):
    class Sample:
        image = tmp_path / f"{LATIN}.png"

    assert describe_data([Sample()])["samples"] == 1


def test_another_backend_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(UserError, match="KERAS_BACKEND='torch': the commands run on tensorflow or jax"):
        default_backend()
    with pytest.raises(UserError, match="KERAS_BACKEND='torch' contradicts BACKEND=jax"):
        choose_backend("jax")
    assert_one_clear_error(run_command("train.py", f"WORK_DIR={tmp_path}", KERAS_BACKEND="torch"), "KERAS_BACKEND")


def test_the_settings_of_other_projects_do_not_count(tmp_path):
    other = {"image_data_format": "channels_first", "floatx": "float16", "backend": "jax", "epsilon": 1e-7}
    (tmp_path / "keras.json").write_text(json.dumps(other))
    code = (
        "from utils.base.keras_settings import set_keras; set_keras(); import keras; "
        "print(keras.config.image_data_format(), keras.config.floatx(), keras.config.backend())"
    )
    result = run_command("-c", code, KERAS_HOME=str(tmp_path))
    assert result.stdout.split() == ["channels_last", "float32", "tensorflow"]
    assert "image_data_format=channels_first" in result.stderr and "floatx=float16" in result.stderr
    (tmp_path / "keras.json").write_text("[1]")
    assert (
        f"UserError: Keras cannot be imported with {tmp_path}/keras.json"
        in run_command("-c", code, KERAS_HOME=str(tmp_path)).stderr
    )
