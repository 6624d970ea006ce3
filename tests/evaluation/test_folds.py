"""Folds that are evaluated together: a table of each fold in terminal, report and JSON, a column in the CSV tables."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from data_generators.files.pairing import Pair
from utils.base.errors import UserError
from utils.checkpoints import weights_path
from utils.config import load_config
from utils.evaluation import split
from utils.evaluation.console import print_results
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.gallery import Gallery
from utils.evaluation.output import write_results
from utils.evaluation.split_data import SplitData, check_once, find_places
from utils.evaluation.split_result import SplitResult
from utils.inference.mask_meaning import MaskMeaning

FOLDS = (0, 0, 1)  # of three images of 10 pixels: 5 are true, 5, 4 and 3 of them predicted and no others
FOUND = (5, 4, 3)


@pytest.fixture
def evaluated(tmp_path):
    cfg = load_config([f"WORK_DIR={tmp_path}", "OUTPUT.CLASSES=2", "EVALUATION.BOOTSTRAP=0"])
    one = cfg.copy()
    one.CALLBACKS.MODEL_CHECKPOINT.PATH = "/checkpoint/fold0"
    for path in (weights_path(cfg), weights_path(one)):
        path.parent.mkdir()
        path.write_bytes(b"weights")
    gallery = Gallery(3, MaskMeaning(["background", "cell"]))
    pairs = [Pair(Path(f"{name}.png"), None) for name in "abc"]
    confusions = np.array([[[5, 0], [5 - found, found]] for found in FOUND])
    evaluator = Evaluator(cfg, SplitData("val", 3, 0, pairs, folds=FOLDS), lambda *_: confusions, gallery)
    empty = np.zeros((3, 2, 5, 1), np.uint8)
    evaluator.add(np.zeros((3, 2, 5, 3), np.float32), empty, np.zeros((3, 2, 5, 2), np.float32))
    result = SplitResult("val", 3, seconds=1.0)
    result.add_metrics(0.5, [])
    result.add_cases(evaluator)
    return cfg, result, write_results(cfg, [one, one], [result], gallery)


def test_every_output_has_the_folds(evaluated, capsys):
    cfg, result, folder = evaluated
    dices = [2 * 9 / (9 + 10), 2 * 3 / (3 + 5)]
    with open(folder / "per_image.csv", newline="") as file:
        assert [(row["image"], row["fold"]) for row in csv.DictReader(file)] == [
            ("a.png", "0"),
            ("b.png", "0"),
            ("c.png", "1"),
        ]
    folds = json.loads((folder / "evaluation.json").read_text())["splits"]["val"]["folds"]
    assert [(fold["fold"], fold["images"]) for fold in folds] == [(0, 2), (1, 1)]
    assert [fold["regions"]["class1"]["dice"]["value"] for fold in folds] == pytest.approx(dices)
    mean = f"{np.mean(dices):.4f} ± {np.std(dices, ddof=1):.4f}"
    page = (folder / "report.html").read_text()
    (table,) = re.findall(r'<section id="folds">.*?</section>', page, re.DOTALL)
    assert mean in table and all(f">{dice:.4f}<" in table for dice in dices)
    print_results(cfg, [result], folder)
    printed = capsys.readouterr().out
    assert re.search(rf"fold 1 +{dices[1]:.4f}", printed) and re.search(rf"mean ± SD +{mean}", printed)
    assert re.search(r"constant answer +0.6667 +0\.\d{4}", printed.split("mean ± SD")[1]) and "constant: " in table
    assert max(map(len, printed.split("means over the classes")[1].split("saved")[0].splitlines())) <= 80


def test_each_fold_has_a_header(monkeypatch, capsys):
    monkeypatch.setattr(split, "load_weights", lambda model, cfg: None)
    monkeypatch.setattr(split, "build_dataset", lambda cfg, *_, **__: [cfg.DATASET.FOLD])
    folds = [load_config() for _ in range(2)]
    for number, cfg in enumerate(folds):
        cfg.DATASET.FOLD = number
    assert list(split.fold_batches(folds, "val", None, 1)) == [0, 1]
    assert capsys.readouterr().out == "fold 1 of 2: DATASET.FOLD=0\nfold 2 of 2: DATASET.FOLD=1\n"
    assert list(split.fold_batches(folds[:1], "val", None, 1)) == [0] and capsys.readouterr().out == ""


def test_an_image_that_several_folds_would_score_is_refused():
    check_once([Pair(Path(f"{name}.png"), None) for name in "abc"])
    with pytest.raises(UserError, match=r"^b\.png is for validation in 2 folds.* DATASET\.FOLD=0"):
        check_once([Pair(Path(f"{name}.png"), None) for name in "abb"])


def test_volumes_that_folds_share_are_scored_once_for_each():
    folds = [load_config() for _ in range(2)]
    shared = [Pair(Path(f"image_a_{number}.png"), None) for number in range(2)]
    places, spacings = find_places(folds, [shared, shared], "test")
    assert [tuple(place) for place in places] == [
        ("a, fold 0", 0),
        ("a, fold 0", 1),
        ("a, fold 1", 0),
        ("a, fold 1", 1),
    ]
    assert spacings == {"a, fold 0": None, "a, fold 1": None}
    own = [Pair(Path(f"image_b_{number}.png"), None) for number in range(2)]
    places, _ = find_places(folds, [shared, own], "val")
    assert [place.volume for place in places] == ["a", "a", "b", "b"]
    assert find_places(folds, [[Pair(Path("x.png"), None)]] * 2, "test") == (None, {})
    with pytest.raises(UserError, match="slice 0 is there twice"):
        find_places(folds, [shared, shared], "val")
