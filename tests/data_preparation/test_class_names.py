"""Preparations that know the names of classes hand them over: training, scores and pictures then show them."""

import json

import numpy as np
import pytest
from public_format_helpers import colour, make_coco, make_lgg, make_pets, save
from scan_helpers import make_decathlon

from data_generators.files.pairing import find_pairs
from data_generators.files.preparation_check import with_preparation
from data_preparation import coco, index_masks, lgg, pets, volumes
from data_preparation.make_phantom import make_phantom
from data_preparation.preprocess_data import preprocess_data
from utils.config import load_config
from utils.config.class_names import has_background, mask_class_names

QUIET = ["--workers", "1", "--quiet"]


def prepare_coco(folder):
    make_coco(folder)
    coco.main([*QUIET, "{split}.json", "{split}", "data"])


def prepare_colours(folder):
    (folder / "classes.csv").write_text("name,r,g,b\nsky,64,128,64\nroad,192,0,128\n")
    save(folder / "images/a.png", colour())
    save(folder / "masks/a.png", np.full((6, 8, 3), (64, 128, 64), np.uint8))
    index_masks.main([*QUIET, "images", "masks", "data", "--val", "0", "--colours", "classes.csv"])


def prepare_lgg(folder):
    make_lgg(folder / "kaggle_3m")
    lgg.main([*QUIET, "kaggle_3m", "data", "--val", "0.25"])


def prepare_pets(folder):
    make_pets(folder / "oxford")
    pets.main([*QUIET, "oxford", "data"])


def prepare_decathlon(folder):
    make_decathlon(folder / "task")
    listed = json.loads((folder / "task/dataset.json").read_text())
    names = {"0": "background", "1": "liver", "2": "tumour"}
    (folder / "task/dataset.json").write_text(json.dumps({**listed, "labels": names}))
    volumes.main([*QUIET, "task", "data", "--val", "0.25"])


def prepare_lits(folder):
    make_phantom(folder / "data", volumes_train=1, volumes_val=1, size=32, slices=8)
    preprocess_data(load_config([f"WORK_DIR={folder}", "INPUT.HEIGHT=32", "INPUT.WIDTH=32", "VERBOSE=0"]))


@pytest.mark.parametrize(
    ("prepare", "names", "background"),
    [
        (prepare_coco, ["background", "person", "cat", "tooth brush"], True),
        (prepare_colours, ["sky", "road"], False),
        (prepare_lgg, ["background", "tumour"], True),
        (prepare_pets, ["pet", "background", "outline"], False),
        (prepare_decathlon, ["background", "liver", "tumour"], True),
        (prepare_lits, ["background", "liver"], True),
    ],
)
def test_names_of_classes_go_with_the_data(prepare, names, background, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    cfg = load_config([f"WORK_DIR={tmp_path}", f"OUTPUT.CLASSES={len(names)}"])
    filled = with_preparation(cfg, [pair.image for pair in find_pairs(cfg, "train")])
    assert mask_class_names(filled) == names and has_background(filled) == background
