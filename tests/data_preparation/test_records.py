"""Records of a preparation that are damaged or come from elsewhere: one line or made anew, and no file is touched."""

import json
import random
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_generators.files.volume_slices import read_manifest
from data_preparation.common.dataset_record import RECORD
from data_preparation.common.dataset_writer import Conversion, NewPair, write_dataset
from data_preparation.preprocess_data import preprocess_data
from utils.base.errors import UserError
from utils.config import load_config

ODD = [None, True, -1, 2.5, "", "x", [], {}, ["a"], [[]], [None, None], {"a": 1}, "../../victim", ["../../victim", "x"]]


def mutate(content, rng):
    """Change one value somewhere in lists and dicts: another type, a shorter list, or left out."""
    part = content
    while True:
        keys = list(part) if isinstance(part, dict) else range(len(part))
        key = rng.choice(list(keys))
        inner = part[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.7:
            part = inner
            continue
        if rng.random() < 0.3:
            del part[key]
        elif isinstance(inner, list) and rng.random() < 0.5:
            part[key] = inner[:-1]
        else:
            part[key] = rng.choice(ODD)
        return content


def background(_, height, width):
    return np.zeros((height, width), np.uint8)


def convert(folder):
    pairs = [NewPair(split, folder / f"{split}.png", split, split) for split in ("train", "val")]
    options = Namespace(output=folder / "data", source=folder, workers=1, quiet=True)
    return write_dataset(Conversion(pairs, background, []), options, ["source"])


def test_a_mutated_record_of_pairs_is_one_line_or_harmless(tmp_path):
    (tmp_path / "victim").write_text("stays")
    for split in ("train", "val"):
        cv2.imwrite(str(tmp_path / f"{split}.png"), np.full((8, 8, 3), 7, np.uint8))
    convert(tmp_path)
    record, rng, refused = tmp_path / "data" / RECORD, random.Random(7), 0
    good = record.read_text()
    for _ in range(200):
        record.write_text(json.dumps(mutate(json.loads(good), rng)))
        try:
            convert(tmp_path)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error)
    assert refused > 100
    for text in ("[" * 100_000, "", "nonsense", good[:50]):
        record.write_text(text)
        with pytest.raises(UserError, match="is damaged"):
            convert(tmp_path)
    assert (tmp_path / "victim").read_text() == "stays"


@pytest.mark.parametrize("name", ["../../victim", "train/mask/../../../victim", "/etc/passwd", "other/mask/a.png"])
def test_a_record_names_no_files_elsewhere(tmp_path, name):
    """The files of a record are removed where they are no longer wanted."""
    (tmp_path / "victim").write_text("stays")
    for split in ("train", "val"):
        cv2.imwrite(str(tmp_path / f"{split}.png"), np.full((8, 8, 3), 7, np.uint8))
    convert(tmp_path)
    record = tmp_path / "data" / RECORD
    content = json.loads(record.read_text())
    content["files"]["train/images/gone.png"] = [name, None]
    record.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is damaged"):
        convert(tmp_path)
    assert (tmp_path / "victim").read_text() == "stays"


def test_a_mutated_manifest_is_made_anew(tmp_path, phantom):
    options = [f"WORK_DIR={tmp_path}", "VERBOSE=0", "INPUT.HEIGHT=16", "INPUT.WIDTH=16", "loss=dice"]
    options += [f"DATA_PREPARATION.SCANS_{split}_DATA_PATH='{scans(phantom, split)}'" for split in ("TRAIN", "VAL")]
    cfg = load_config([*options, "DATA_PREPARATION.WORKERS=1"])
    preprocess_data(cfg)
    (tmp_path / "victim").write_text("stays")
    path = sorted((tmp_path / "data/val/manifest").iterdir())[0]
    good, rng = path.read_text(), random.Random(11)
    before = sorted(path.name for path in (tmp_path / "data/val/images").iterdir())
    for _ in range(30):
        path.write_text(json.dumps(mutate(json.loads(good), rng)))
        preprocess_data(cfg)
    content = json.loads(good)
    content["images"]["../../../victim"] = 5
    path.write_text(json.dumps(content))
    assert "images" not in read_manifest(path) and not read_manifest(path)["complete"]
    preprocess_data(cfg)
    assert (tmp_path / "victim").read_text() == "stays"
    assert sorted(path.name for path in (tmp_path / "data/val/images").iterdir()) == before


def scans(phantom, split):
    number = 2 if split == "TRAIN" else 1
    return Path(phantom) / "data" / f"Training Batch {number}"
