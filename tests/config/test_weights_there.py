"""Weights that are missing: the error names those that are there."""

import os

import pytest

from utils.base.errors import UserError
from utils.checkpoints import restore_config
from utils.config import load_config


def test_missing_weights_name_those_in_the_folder_the_newest_first(tmp_path):
    for age, name in enumerate(["newer", "older"]):
        path = tmp_path / f"{name}.weights.h5"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    with pytest.raises(UserError, match=r"No weights at .* There: newer, older\.$"):
        restore_config(load_config([f"CALLBACKS.MODEL_CHECKPOINT.PATH={tmp_path}", "MODEL.WEIGHTS_FILE_NAME=newr"]))
