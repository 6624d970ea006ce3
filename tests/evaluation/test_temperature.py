"""Temperatures: recovered from drawn labels, exact on logits, kept with their weights; damaged and stale files."""

import json

import numpy as np
import pytest

from calibrate import keep_temperature, print_calibration
from utils.base.class_bits import pack
from utils.base.errors import UserError
from utils.checkpoints import weights_path
from utils.checkpoints.temperature import (
    HIGHEST,
    LOWEST,
    Temperature,
    describe_temperatures,
    load_temperature,
    save_temperature,
    temperature_path,
)
from utils.config import load_config
from utils.evaluation.temperature import PixelSample, calibrate_sample, fit_temperature

PIXELS = 15_000


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def draw(probability, random):
    """A class of each pixel, drawn with its probabilities."""
    return (probability.cumsum(-1) < random.random((len(probability), 1))).sum(-1).clip(max=probability.shape[-1] - 1)


def nll_of(truth, logits, temperature):
    """For comparison: the loss by plain loops over a grid."""
    return -np.log(softmax(logits / temperature)[np.arange(len(truth)), truth]).mean()


def test_the_scale_is_exactly_that_of_logits():
    logits = np.random.default_rng(0).normal(0, 4, (50, 3))
    one, each = Temperature((1.7,)), Temperature((0.5, 1.0, 3.0), sigmoids=True)
    np.testing.assert_allclose(one.scale(softmax(logits)), softmax(logits / 1.7), atol=1e-12)
    np.testing.assert_allclose(each.scale(sigmoid(logits)), sigmoid(logits / [0.5, 1, 3]), atol=1e-6)
    extreme = np.array([[0.0, 1.0, 0.0]], np.float32)
    for temperature in (one, each):
        assert np.isfinite(temperature.scale(extreme)).all() and temperature.scale(extreme).dtype == np.float32


@pytest.mark.parametrize("true", [0.6, 2.5])
def test_the_temperature_that_made_the_labels_is_found(true):
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (PIXELS, 3))
    truth = draw(softmax(logits / true), random)
    found = fit_temperature(truth, softmax(logits), sigmoids=False)
    assert found.values == pytest.approx([true], rel=0.05)
    grid = np.arange(found.values[0] - 0.1, found.values[0] + 0.1, 0.005)
    best = grid[np.argmin([nll_of(truth, logits, temperature) for temperature in grid])]
    assert found.values[0] == pytest.approx(best, abs=0.005)
    assert (found.scale(softmax(logits)).argmax(-1) == logits.argmax(-1)).all()


def test_each_class_and_sigmoids():
    random = np.random.default_rng(2)
    logits = random.normal(0, 3, (PIXELS, 2))
    true = np.array([0.7, 2.0])
    maps = random.random(logits.shape) < sigmoid(logits / true)
    found = fit_temperature(pack(maps), sigmoid(logits), sigmoids=True, multi_label=True, per_class=True)
    assert found.values == pytest.approx(true, rel=0.08)
    single = fit_temperature(maps[:, 0].astype(np.uint8), sigmoid(logits[:, :1]), sigmoids=True, per_class=True)
    assert single.values == pytest.approx(true[:1], rel=0.08)
    logits = np.log(softmax(random.normal(0, 3, (PIXELS, 3))))
    truth, steps = draw(softmax(logits / [1.0, 1.5, 3.0]), random), np.array([1.0, 1.5, 3.0])
    assert fit_temperature(truth, softmax(logits), sigmoids=False, per_class=True).values == pytest.approx(
        steps, rel=0.1
    )


def test_perfect_and_worst_stay_in_bounds():
    truth = np.array([0, 1, 1])
    sure = np.where(np.eye(2)[truth] > 0, 0.9, 0.1)
    perfect = fit_temperature(truth, sure, sigmoids=False)
    assert LOWEST <= perfect.values[0] < 0.2 and perfect.scale(sure).max(-1).min() > 0.999
    assert fit_temperature(1 - truth, sure, sigmoids=False).values == pytest.approx([HIGHEST])


def test_a_sample_is_of_the_labelled_pixels_and_no_larger_than_asked():
    cfg = load_config(["DATASET.IGNORE_LABEL=255"])
    truth = np.random.default_rng(3).integers(0, 2, (40, 10, 25), np.uint8)
    truth[:, :2] = 255
    probability = np.zeros((40, 10, 25, 2), np.float32)
    probability[..., 1] = np.arange(40)[:, None, None]  # says from which image a pixel is
    sample, everything = PixelSample(cfg, size=1000), PixelSample(cfg)
    for start in range(0, 40, 4):
        for one in (sample, everything):
            one.add(truth[start : start + 4], probability[start : start + 4])
    assert sample.seen == everything.seen == len(everything.truth) == 40 * 200 and len(sample.truth) == 1000
    assert set(sample.truth) == {0, 1}
    counts = np.bincount(sample.probability[:, 1].astype(int), minlength=40)  # 25 of each image on average
    assert counts.min() > 5 and counts.max() < 55 and abs(counts[:20].sum() - 500) < 100


def test_a_temperature_for_each_class_comes_with_the_dice_of_its_pixels(capsys):
    settings = ["OUTPUT.CLASSES=3", "TEMPERATURE.PER_CLASS=True"]
    random = np.random.default_rng(6)
    logits = np.log(softmax(random.normal(0, 3, (1, 40, 50, 3))))
    truth = draw(softmax(logits / [1.0, 1.5, 3.0]).reshape(-1, 3), random).reshape(1, 40, 50)
    for overrides, moves in ((settings, True), (settings[:1], False)):
        cfg = load_config(overrides)
        sample = PixelSample(cfg)
        sample.add(truth, softmax(logits))
        temperature, found = calibrate_sample(cfg, sample, "val")
        assert ("dice" in found["before"]) == ("dice" in found["after"]) == moves
        print_calibration(temperature, found, images=1 if moves else 2)
        printed = capsys.readouterr().out
        assert ("TEMPERATURE.PER_CLASS=False" in printed) == ("one case is few" in printed) == moves
        for when, probability in (("before", sample.probability), ("after", temperature.scale(sample.probability))):
            masks = [(sample.truth == index, probability.argmax(-1) == index) for index in (1, 2)]
            dice = [2 * (true & mask).sum() / (true.sum() + mask.sum()) for true, mask in masks]
            assert not moves or found[when]["dice"] == pytest.approx(np.mean(dice))
    assert not Temperature((1.0, 2.0), sigmoids=True).may_change_masks


@pytest.fixture
def cfg(tmp_path):
    cfg = load_config([f"WORK_DIR={tmp_path}"])
    weights_path(cfg).parent.mkdir()
    weights_path(cfg).write_bytes(b"weights")
    return cfg


def test_a_temperature_is_kept_with_its_weights(cfg, capsys):
    assert load_temperature(cfg) is None and capsys.readouterr().out == ""
    random = np.random.default_rng(4)
    logits = random.normal(0, 6, (1, 50, 50, 2))
    sample = PixelSample(cfg)
    sample.add(draw(softmax(logits / 3).reshape(-1, 2), random).reshape(1, 50, 50), softmax(logits))
    temperature, found = calibrate_sample(cfg, sample, "val")
    assert save_temperature(cfg, temperature, found) == temperature_path(cfg)
    saved = json.loads(temperature_path(cfg).read_text())
    assert saved["pixels"] == saved["labelled_pixels"] == 2500 and saved["split"] == "val"
    assert saved["after"]["nll"] < saved["before"]["nll"] and saved["after"]["ece"] < 0.3 * saved["before"]["ece"]
    assert load_temperature(cfg) == temperature and describe_temperatures([cfg]) == str(temperature)
    assert capsys.readouterr().out.count("TEMPERATURE.APPLY=False") == 1
    cfg.TEMPERATURE.APPLY = False
    assert load_temperature(cfg) is None and weights_path(cfg).read_bytes() == b"weights"


@pytest.mark.parametrize("values", [(LOWEST,), (1.0, HIGHEST)])
def test_a_temperature_at_a_limit_is_not_written(cfg, values):
    line = keep_temperature(cfg, Temperature(values), {})
    assert "none fits" in line and "temperature.json is not written" in line and not temperature_path(cfg).exists()
    assert keep_temperature(cfg, Temperature((2.0,)), {}) == f"saved {temperature_path(cfg)}"
    good = temperature_path(cfg).read_bytes()
    assert "temperature.json stays as it was" in keep_temperature(cfg, Temperature(values), {})
    assert temperature_path(cfg).read_bytes() == good


def test_a_temperature_of_other_weights_or_of_another_depth_is_not_used(cfg, capsys):
    save_temperature(cfg, Temperature((2.0,)), {})
    cfg.MODEL.PRUNE = 2
    assert load_temperature(cfg) is None and "MODEL.PRUNE=None" in capsys.readouterr().out
    cfg.MODEL.PRUNE = None
    weights_path(cfg).write_bytes(b"others")
    assert load_temperature(cfg) is None
    line = capsys.readouterr().out
    assert "model_unet3plus.temperature.json is not used" in line and "other weights" in line


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"temperature": [1, 2, 3]}', '{"temperature": [NaN]}', "[" * 10**5])
def test_a_damaged_file_is_one_clear_line(cfg, text):
    temperature_path(cfg).write_text(text)
    with pytest.raises(UserError, match=r"temperature\.json is damaged.*TEMPERATURE\.APPLY=False"):
        load_temperature(cfg)


@pytest.mark.parametrize("temperature", [Temperature((2.0,)), Temperature((0.5, 3.0, 1.0), sigmoids=True)])
def test_networks_compute_what_numpy_does(temperature):
    import keras

    from utils.inference.temperature import with_temperature

    image = keras.Input((None, None, 3))
    model = with_temperature(keras.Model(image, keras.layers.Identity()(image)), temperature)
    probability = softmax(np.random.default_rng(5).normal(0, 8, (1, 4, 5, 3))).astype(np.float32)
    probability[0, 0, 0] = [0, 1, 0]
    np.testing.assert_allclose(model(probability), temperature.scale(probability), atol=2e-6)
    assert with_temperature(model, None) is model
