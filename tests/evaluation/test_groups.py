"""Groups of cases by hand, gaps against scipy, and tables that cannot be read."""

import json

import cv2
import numpy as np
import pytest
from scipy.stats import bootstrap

from evaluate import evaluate
from utils.base.errors import UserError
from utils.config import load_config
from utils.evaluation.case_scores import ScoredCase, find_regions
from utils.evaluation.console import group_table
from utils.evaluation.groups import lone_groups, read_groups, score_groups

REGIONS = find_regions(2)


def case(name, common, false=0, missed=0):
    return ScoredCase(name, np.array([[10, false], [missed, common]]))


def test_scores_and_gaps_by_hand():
    cases = [case("a", 3), case("b", 1, 1, 1), case("c", 0, 0, 2), case("d", 1)]
    found = score_groups({"site": {"a": "x", "b": "x", "c": "y"}}, cases, REGIONS, 50, 0)["site"]
    assert {group: entry["cases"] for group, entry in found["groups"].items()} == {"x": 2, "y": 1}
    gap = found["gaps"]["class1"]["dice_per_case"]
    assert gap == {"value": 0.75, "low": None, "high": None, "highest": "x", "lowest": "y"}  # (1 + 1/2) / 2 - 0
    assert "precision" not in found["gaps"]["class1"]  # y has nothing predicted
    equal = [case("a", 3), case("b", 3), case("c", 3)]
    same = score_groups({"site": {"a": "x", "b": "x", "c": "y"}}, equal, REGIONS, 50, 0)["site"]["gaps"]["class1"]
    assert same["dice_per_case"] == {"value": 0.0, "low": None, "high": None, "highest": "y", "lowest": "x"}
    alone = score_groups({"site": dict.fromkeys("abcd", "x")}, cases, REGIONS, 50, 0)["site"]
    assert alone["gaps"] == {"class1": {}} and alone["groups"]["x"]["cases"] == 4


def test_the_interval_of_a_gap_is_that_of_scipy():
    random = np.random.default_rng(0)
    cases = [case(f"{n}", random.integers(1, 9), *random.integers(0, 9, 2)) for n in range(40)]
    grouping = {f"{n}": "first" if n < 25 else "second" for n in range(40)}
    gap = score_groups({"g": grouping}, cases, REGIONS, 2000, 1)["g"]["gaps"]["class1"]["iou_per_case"]
    ious = [one.confusion[1, 1] / (one.confusion.sum() - 10) for one in cases]
    parts = {"first": ious[:25], "second": ious[25:]}
    ends = bootstrap(
        (parts[gap["highest"]], parts[gap["lowest"]]),
        lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis),
        method="percentile",
        n_resamples=2000,
        rng=3,
    ).confidence_interval
    assert gap["value"] == pytest.approx(abs(np.mean(ious[:25]) - np.mean(ious[25:])))
    assert (gap["low"], gap["high"]) == pytest.approx((ends.low, ends.high), abs=0.02)


def test_the_terminal_has_the_interval_of_a_gap_and_groups_without_one():
    random = np.random.default_rng(0)
    cases = [case(f"{n}", random.integers(1, 9), *random.integers(0, 9, 2)) for n in range(9)]
    groupings = {"two": {f"{n}": "xy"[n % 2] for n in range(9)}, "alone": {"0": "x", "1": "y", "2": "y", "3": "z"}}
    found = score_groups(groupings, cases, REGIONS, 100, 0)
    _, rows = group_table("two", found["two"], {"class1": "cell"})
    gap = found["two"]["gaps"]["class1"]["dice_per_case"]
    assert rows[-2:] == [
        ["gap", "", f"{gap['value']:.4f}"],
        ["95% interval", "", f"{gap['low']:.4f}-{gap['high']:.4f}"],
    ]
    assert lone_groups(found["two"]) is None and lone_groups(found["alone"]).startswith("One case only: x, z. Their")
    few = score_groups({"two": {"0": "x", "1": "x", "2": "y", "3": "y"}}, cases[:4], REGIONS, 0, 0)["two"]
    assert few["gaps"]["class1"]["dice"]["low"] is None  # no resamples, and no warning


def read(folder, text, cases=("a.png", "b.png")):
    (folder / "groups.csv").write_text(text)
    return read_groups(load_config([f"WORK_DIR={folder}", "EVALUATION.GROUPS=groups.csv"]), cases)


def test_tables(tmp_path):
    text = "case,site,sex\na,A,f\nb.png,B,\nof another split,C,m\n"
    assert read(tmp_path, text) == {"site": {"a.png": "A", "b.png": "B"}, "sex": {"a.png": "f"}}
    many = [f"{n}" for n in range(21)]
    for text, cases, problem in (
        ("", ("a",), "must name the columns"),
        ("name,site\na,A\n", ("a",), "must name the columns"),
        ("case\na\n", ("a",), "must name the columns"),
        ("case,site\na,A\n", ("a", "b"), "b: has no line in"),
        ("case,site\na,A\na,B\n", ("a",), "line 3: the case is there twice"),
        ("case,site\na\n", ("a",), "line 2: needs 2 cells"),
        ("case,age\n" + "".join(f"{n},{n}\n" for n in many), many, "age has 21 groups"),
    ):
        with pytest.raises(UserError, match=problem):
            read(tmp_path, text, cases)
    with pytest.raises(UserError, match="no such file"):
        read_groups(load_config([f"WORK_DIR={tmp_path}", "EVALUATION.GROUPS=other.csv"]), ("a",))


def test_report_and_json_have_the_groups(tmp_path):
    for name, value in {"truth": 1, "found": 0}.items():
        (tmp_path / name).mkdir()
        for number in range(3):
            mask = np.ones((8, 8), np.uint8)
            mask[:4] = value if number == 2 else 1
            cv2.imwrite(str(tmp_path / name / f"case_{number}.png"), mask)
    (tmp_path / "groups.csv").write_text("case,site\ncase_0,<A>\ncase_1,<A>\ncase_2,B\n")
    settings = ["OUTPUT.CLASSES=2", "VERBOSE=0", "EVALUATION.GALLERY=1", "EVALUATION.BOOTSTRAP=9"]
    paths = ["DATASET.VAL.MASK_PATH=truth", "EVALUATION.PREDICTIONS=found", "EVALUATION.GROUPS=groups.csv"]
    evaluate(load_config([f"WORK_DIR={tmp_path}", *settings, *paths, "EVALUATION.VOLUMES=false"]))
    saved = json.loads((tmp_path / "found.evaluation/evaluation.json").read_text())["splits"]["val"]["groups"]["site"]
    assert saved["gaps"]["class1"]["dice"]["value"] == pytest.approx(1 - 2 / 3)
    assert saved["gaps"]["class1"]["dice"]["low"] is None
    page = (tmp_path / "found.evaluation/report.html").read_text()
    assert "One case only: B. Its scores" in page
    assert "Groups: site" in page and "&lt;A&gt; (n 2)" in page and "<A>" not in page
