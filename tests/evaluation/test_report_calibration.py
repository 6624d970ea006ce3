"""Calibration before and after a temperature, in report, evaluation.json and terminal."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_generators.files.pairing import Pair
from losses.calibration import Calibration
from utils.checkpoints.temperature import Temperature
from utils.config import load_config
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.gallery import Gallery
from utils.evaluation.output import reliability_entry
from utils.evaluation.report_calibration import calibration_context, calibration_lines, draw_reliability
from utils.evaluation.split_data import SplitData
from utils.inference.mask_meaning import MaskMeaning

NAMES = ["background", "cell"]
RNG = np.random.default_rng(0)


def evaluated(calibrated):
    """An evaluator that saw probabilities and those before a temperature, which are 2 pixels larger in the masks."""
    cfg = load_config(["OUTPUT.CLASSES=2", "EVALUATION.BOOTSTRAP=0"])
    truth = RNG.integers(0, 2, (3, 10, 10, 1), np.uint8)
    first = RNG.random((3, 8, 8, 1))
    before = np.concatenate([first, 1 - first], axis=-1)
    after = Temperature((2.0,)).scale(before)
    data = SplitData("val", 3, 0, [Pair(Path(f"{n}.png"), None) for n in range(3)])
    gallery = Gallery(0, MaskMeaning.from_config(cfg, NAMES))
    one = Evaluator(cfg, data, lambda masks, _: np.zeros((len(masks), 2, 2)), gallery, calibrated=calibrated)
    one.add(RNG.random((3, 10, 10, 3), np.float32), truth, after, before)
    return cfg, SimpleNamespace(split="val", evaluator=one), truth[:, 1:9, 1:9, 0], before, after


def test_the_scores_before_are_those_of_the_network():
    _, result, truth, before, after = evaluated(True)
    for found, probability in ((result.evaluator.calibration, after), (result.evaluator.uncalibrated, before)):
        alone = Calibration(2)
        alone.add(truth, probability)
        assert found.results() == pytest.approx(alone.results())
    entry = reliability_entry(result)
    assert entry["before_temperature"]["scores"]["nll"] == pytest.approx(
        -np.log(np.take_along_axis(before, truth[..., None].astype(int), -1)).mean()
    )
    bins = entry["before_temperature"]["reliability"]["all"]
    assert sum(one["pixels"] for one in bins) == truth.size and bins != entry["reliability"]["all"]


def test_report_and_terminal_show_both():
    cfg, result, *_ = evaluated(True)
    (found,) = calibration_context(cfg, [result])["calibrations"]
    after, before = result.evaluator.calibration, result.evaluator.uncalibrated
    rows = {name: (value, earlier) for name, value, earlier in found["rows"]}
    assert rows["ece"] == (after.results()["ece"], before.results()["ece"]) and "nll_foreground" in rows
    (line,) = calibration_lines(result)
    assert f"ece {rows['ece'][0]:.4f} (before {rows['ece'][1]:.4f})" in line
    axes = draw_reliability(after, NAMES, before, columns=2).axes
    # The diagonal, then the curve of each: share of right pixels over the mean confidence.
    _, one, other = axes[0].get_lines()
    for curve, calibration in ((one, after), (other, before)):
        pixels, confidence, right = calibration.bins["all"][calibration.bins["all"][:, 0] > 0].T
        np.testing.assert_allclose(curve.get_xydata(), np.stack([confidence, right] / pixels, axis=-1))
    assert axes[0].get_title().endswith(f"ECE {rows['ece'][0]:.4f}, before {rows['ece'][1]:.4f}")


def test_without_a_temperature_there_is_one_curve():
    cfg, result, *_ = evaluated(False)
    assert result.evaluator.uncalibrated is None and "before_temperature" not in reliability_entry(result)
    (found,) = calibration_context(cfg, [result])["calibrations"]
    assert {earlier for _, _, earlier in found["rows"]} == {None} and calibration_lines(result) == []
    assert len(draw_reliability(result.evaluator.calibration, NAMES).axes[0].get_lines()) == 2
