"""Training goes on with new data and old data: the commands of docs/how-to/start-weights.md."""

import re
import shlex
import subprocess
import sys

import cv2
import numpy as np
import pytest
from helpers import PROJECT, TINY

from data_generators import build_dataset
from models import build_model
from utils.checkpoints.saved_config import save_config
from utils.checkpoints.start_weights import find_start, start_with
from utils.checkpoints.weights import save_weights
from utils.config import load_config

PAGE = (PROJECT / "docs/how-to/start-weights.md").read_text()
ALL, PART = re.findall(r"```sh\n(.*?)```", PAGE.split("## Continue with new data")[1].split("\n## ")[0], re.DOTALL)
MAKE_LISTS, TRAIN = ALL.replace("\\\n", "").split("python train.py ")


@pytest.fixture
def folder(tmp_path):
    """Ten old and three new pictures; those of the new data have the names of old ones, and another grey."""
    for place, count, grey in (("old", 10, 50), ("new", 3, 200)):
        for kind in ("images", "mask"):
            (tmp_path / f"data/{place}/train/{kind}").mkdir(parents=True)
        for number in range(count):
            image = np.full((48, 48), grey + number, np.uint8)
            for kind, picture in (("image", image), ("mask", image // 200)):
                name = f"{kind}s" if kind == "image" else kind
                cv2.imwrite(str(tmp_path / f"data/{place}/train/{name}/{kind}_{number}_0.png"), picture)
    return tmp_path


@pytest.mark.parametrize(("commands", "old"), [(MAKE_LISTS, 10), (MAKE_LISTS + PART, 2)])
def test_training_starts_from_the_weights_with_old_and_new_data(commands, old, folder):
    commands = commands.replace("python ", f"{sys.executable} {PROJECT}/")
    subprocess.run(["bash", "-euc", commands], cwd=folder, check=True, capture_output=True)
    (folder / "checkpoint").mkdir()
    cfg = load_config(TINY)
    network = build_model(cfg)
    for variable in network.weights:
        variable.assign(np.random.default_rng(len(variable.path)).random(variable.shape))
    save_weights(network, folder / "checkpoint/liver.weights.h5")
    save_config(cfg, folder / "checkpoint/liver.weights.h5")
    cfg = load_config([f"WORK_DIR={folder}", *TINY, "DATA_GENERATOR_TYPE=TF_GENERATOR", *shlex.split(TRAIN)])
    greys = []
    for image, mask in build_dataset(cfg, "train"):
        np.testing.assert_array_equal(mask, image[..., :1] > 0.7)  # each has the mask of its own folder
        greys += np.round(image[:, 0, 0, 0] * 255).astype(int).tolist()
    assert sum(grey < 100 for grey in greys) == old and sorted(greys)[old:] == [200, 201, 202]
    started = build_model(cfg)
    taken = start_with(started, cfg, find_start(cfg))
    assert not taken.adapted and not taken.left
    for ours, theirs in zip(started.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
