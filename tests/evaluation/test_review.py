"""Which masks to look at: risk and coverage, failures caught, what is learnt of labelled images and used to predict."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import TINY, make_weights
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from evaluate import evaluate
from predict import predict
from utils.base.errors import UserError
from utils.config import load_config
from utils.evaluation.report_review import draw_review, review_context, review_lines
from utils.evaluation.review import ReviewedCase, parts_of
from utils.evaluation.selective import (
    area_under_risk,
    fit_curve,
    is_useless,
    judge_cases,
    order_intervals,
    rank_correlation,
    risk_coverage,
)
from utils.evaluation.split_data import SplitData
from utils.evaluation.split_result import SplitResult
from utils.inference.uncertainty.cases import CaseNumbers
from utils.inference.writers.review import Case, ReviewWriter

RNG = np.random.default_rng(1)


def test_the_area_under_the_risk_coverage_curve():
    """By hand: losses of the surest 1, 2, 3 and 4 cases are 0.1, 0.2, 0.4 and 0.5 on average."""
    dice = np.array([0.9, 0.7, 0.2, 0.2])
    expected = np.array([0.8, 0.7, 0.6, 0.5])
    np.testing.assert_allclose(risk_coverage(expected, dice), [0.1, 0.2, 0.4, 0.5])
    assert area_under_risk(expected, dice) == pytest.approx(0.3)


def test_the_area_is_that_of_sorted_cases():
    dice, expected = RNG.random(50), RNG.permutation(50) / 50
    losses = 1 - dice[np.argsort(-expected)]
    naive = np.mean([losses[: count + 1].mean() for count in range(50)])
    assert area_under_risk(expected, dice) == pytest.approx(naive)


def test_equal_cases_have_the_mean_of_all_orders():
    dice, expected = np.array([1.0, 0.0, 0.5]), np.array([0.5, 0.5, 0.1])
    orders = [area_under_risk(np.array([0.6, 0.5, 0.1]), dice), area_under_risk(np.array([0.5, 0.6, 0.1]), dice)]
    assert area_under_risk(expected, dice) == pytest.approx(np.mean(orders))


def test_the_best_and_the_worst_order():
    dice = RNG.random(40)
    best, worst, none = (judge_cases(numbers, dice, 0.5) for numbers in (dice, -dice, np.full(40, 0.5)))
    assert best["aurc_excess"] == pytest.approx(0) and best["spearman"] == pytest.approx(1)
    assert worst["spearman"] == pytest.approx(-1) and worst["aurc"] > none["aurc"] > best["aurc"]
    assert none["aurc"] == pytest.approx(none["aurc_random"]) and none["spearman"] is None
    failures = int((dice < 0.5).sum())
    assert best["first_cases"] == 4 and best["first_failures"] == min(4, failures) and worst["first_failures"] == 0
    everything = pytest.approx(1 - dice.mean())
    assert best["risk_coverage"][-1] == {"coverage": 1.0, "risk": everything, "ideal": everything}
    for found in (best, worst, none):  # at each share the ideal order has the least risk
        ideal = [point["ideal"] for point in found["risk_coverage"]]
        np.testing.assert_allclose(ideal, risk_coverage(dice, dice))
        assert all(point["risk"] >= point["ideal"] - 1e-12 for point in found["risk_coverage"])
    assert [is_useless(found) for found in (best, worst, none)] == [False, True, False]


@pytest.mark.parametrize(
    ("spearman", "interval", "useless"),
    [
        (0.5, [0.2, 0.8], False),
        (0.5, [-0.01, 0.8], True),
        (-0.5, [-0.8, -0.2], True),
        (0.0, None, True),
        (0.5, None, False),
        (None, None, False),
    ],
)
def test_an_order_that_may_be_none_is_called_so(spearman, interval, useless):
    found = judge_cases(np.array([0.5, 0.6]), np.array([0.4, 0.9]), 0.5)
    found |= {"spearman": spearman, "spearman_interval": interval}
    lines = " ".join(review_lines(SplitResult("val", 2, review={"kinds": {"image": found}})))
    assert is_useless(found) == ("do not rely" in lines) == useless


def test_the_report_draws_the_ideal_order_and_none_and_warns():
    found = judge_cases(np.array([0.5, 0.6]), np.array([0.4, 0.9]), 0.5)
    found |= {"spearman": 0.1, "spearman_interval": [-0.3, 0.5]}
    cases = [(ReviewedCase(str(n), str(n), 0.5 + n / 10, 0.4 + n / 2), None, None) for n in range(2)]
    result = SplitResult("val", 2, review={"kinds": {"image": found}}, reviewed={"image": cases})
    ((*_, warning, chart),) = review_context([result])["reviews"]
    assert "do not rely" in warning and set(chart) == {"broad", "slim"}
    labels = [line.get_label() for line in draw_review(result, "image").axes[1].get_lines()]
    assert labels == ["no order", "expected Dice", "ideal order"]


def test_intervals_draw_whole_volumes():
    """Two volumes of two slices: a resample is one of them twice, or both."""
    expected, dice = np.array([0.9, 0.8, 0.4, 0.3]), np.array([1.0, 0.9, 0.2, 0.1])
    volumes = ["a", "a", "b", "b"]
    found = order_intervals(expected, dice, volumes, 200, 0)
    parts = [area_under_risk(expected[rows], dice[rows]) for rows in ([0, 0, 1, 1], [0, 1, 2, 3], [2, 2, 3, 3])]
    assert found["aurc_interval"] == pytest.approx([parts[0], parts[2]])
    assert found["spearman_interval"] == pytest.approx([1, 1])
    nothing = {"spearman_interval": None, "aurc_interval": None}
    assert (
        order_intervals(expected, dice, ["a"] * 4, 200, 0) == order_intervals(expected, dice, volumes, 0, 0) == nothing
    )
    assert order_intervals(np.ones(4), dice, volumes, 200, 0)["spearman_interval"] is None


def test_one_case_and_the_rank_correlation():
    dice, expected = RNG.random(30), RNG.random(30).round(1)
    assert rank_correlation(expected, dice) == pytest.approx(stats.spearmanr(expected, dice).statistic)
    found = judge_cases(np.array([0.5]), np.array([0.4]), 0.5)
    assert found["spearman"] is None and found["first_cases"] == found["failures"] == found["first_failures"] == 1
    assert rank_correlation(np.array([1, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)


def test_the_curve_is_the_isotonic_regression():
    expected = np.round(RNG.random(60), 2)
    dice = np.clip(expected + RNG.normal(0, 0.2, 60), 0, 1)
    curve = fit_curve(expected, dice)
    reference = IsotonicRegression().fit(expected, dice)
    for place in np.linspace(expected.min(), expected.max(), 37):
        assert curve.predict(place) == pytest.approx(reference.predict([place])[0], abs=2e-4)
    assert fit_curve(expected[:9], dice[:9]) is None


@pytest.fixture(scope="module")
def place(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    (folder / "data").symlink_to(phantom / "data")
    make_weights(folder, TINY)
    return folder


COMMON = ["PREDICT.UNCERTAINTY=mutual_information", "PREDICT.TTA=flips", "PREDICT.REVIEW_DICE=0.2"]


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_predict_gets_the_numbers_that_evaluation_learnt_from(place, capsys):
    small = [f"WORK_DIR={place}", TINY[0], *COMMON, "EVALUATION.BOOTSTRAP=0"]
    evaluate(load_config(small))
    printed = capsys.readouterr().out
    assert "expected Dice of 10 images" in printed and "volumes: 1 of them are too few, 10 are needed" in printed
    saved = json.loads((place / "checkpoint/model_tiny_unet3plus.review.json").read_text())
    assert list(saved["curves"]) == ["image"] and saved["setting"]["members"] == 4

    folder = place / "checkpoint/model_tiny_unet3plus.evaluation"
    found = json.loads((folder / "evaluation.json").read_text())["splits"]["val"]["review"]
    assert set(found["kinds"]) == {"image", "volume"} and found["learnt_from"] == "val"
    assert "flagged" in found["kinds"]["image"] and "flagged" not in found["kinds"]["volume"]
    assert 'id="review"' in (folder / "report.html").read_text()
    table = [row for row in rows_of(folder / "uncertainty.csv") if row["kind"] == "image"]
    expected, dice = (np.array([float(row[name]) for row in table]) for name in ("expected_dice", "dice"))
    assert found["kinds"]["image"]["aurc"] == pytest.approx(area_under_risk(expected, dice), abs=2e-3)

    output = predict(load_config([*small, f"PREDICT.OUTPUT_PATH={place / 'out'}"]))
    rows = {row["file"]: row for row in rows_of(output / "review.csv")}
    for row in table:
        for name in ("expected_dice", "predicted_dice", "flag"):
            assert rows[row["case"]][name] == row[name]
    assert sum(row["flag"] == "review" for row in rows.values()) == found["kinds"]["image"]["flagged"]

    evaluate(load_config([f"WORK_DIR={place}", TINY[0], "VERBOSE=0", "EVALUATION.BOOTSTRAP=0"]))
    assert not (folder / "uncertainty.csv").exists()  # of the evaluation before


def test_cases_of_which_nothing_was_learnt_are_not_called_fine():
    numbers = CaseNumbers(0.5, None, 0.8)
    cases = [Case(0, "a.nii", numbers, None, None), Case(1, "b.png", numbers, 0.1, True)]
    writer = SimpleNamespace(folder=Path("out"), cases=cases, settings=SimpleNamespace(learnt=object()))
    writer.unjudged = lambda: ReviewWriter.unjudged(writer)
    (line,) = ReviewWriter.findings(writer)
    assert "2 masks" in line and "1 flagged, 1 not judged" in line and "look at" not in line


def test_no_network_judges_what_it_was_trained_on(monkeypatch):
    folds = [SimpleNamespace(number=number) for number in range(2)]
    cfg = SimpleNamespace(DATASET=SimpleNamespace(FOLD="all"))
    validation = parts_of(cfg, folds, SplitData("val", 3, pairs=["a", "b", "c"], folds=[0, 1, 1]))
    assert [(part.members, part.pairs) for part in validation] == [([folds[0]], ["a"]), ([folds[1]], ["b", "c"])]
    (test,) = parts_of(cfg, folds, SplitData("test", 4, pairs=["a", "b", "a", "b"], folds=[0, 0, 1, 1]))
    assert (test.members, test.pairs) == (folds, ["a", "b"])


def test_too_few_members_are_refused_before_a_network_is_built(place):
    with pytest.raises(UserError, match="one network gives one"):
        evaluate(load_config([f"WORK_DIR={place}", TINY[0], "PREDICT.UNCERTAINTY=variance"]))
