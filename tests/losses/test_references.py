"""Losses, metrics, run-length texts and schedules against the code they come from: `tests/references/README.md`."""

from pathlib import Path

import numpy as np
import pytest

from losses import build_loss, build_metrics
from utils.base import rle
from utils.config import load_config
from utils.training.schedules import learning_rate

with np.load(Path(__file__).parents[1] / "references/pieces.npz") as file:
    EXPECTED = dict(file)


def batch(classes):
    """Truth, one map per class, and probabilities, both `(3, 176, 180, classes)`; the first truth is all background."""
    rng = np.random.default_rng(3 + classes)
    labels = rng.integers(0, max(classes, 2), (3, 176, 180)) * (np.arange(3) > 0)[:, None, None]
    labels[:, 40:, :50] = 0
    logits = rng.standard_normal((3, 176, 180, classes)).astype("float32")
    if classes == 1:
        return labels[..., None].astype("float32"), (1 / (1 + np.exp(-logits))).astype("float32")
    exponents = np.exp(logits)
    return np.eye(classes, dtype="float32")[labels], exponents / exponents.sum(-1, keepdims=True)


def config(classes, *overrides):
    return load_config([f"OUTPUT.CLASSES={classes}", *overrides])


@pytest.mark.parametrize(
    "original, classes, term",
    [
        ("port_iou_loss", 1, "iou"),
        ("port_iou_loss", 3, "iou"),
        ("port_ssim_loss", 1, "ssim"),
        ("port_ssim_loss", 3, "ssim"),
        ("port_focal_loss", 3, "focal"),
        ("kit_bce_dice_loss", 1, "bce_dice"),
        ("kit_bce_dice_loss", 3, "bce_dice"),
        ("lgg_bce_dice", 1, "bce_dice_half"),
        ("authors_bce", 1, "bce"),
        ("mapping_combo_loss", 1, "combo"),
    ],
)
def test_losses(original, classes, term):
    cfg = config(classes, "loss=dice")
    cfg.LOSS = {term: 1}
    found = float(build_loss(cfg)(*batch(classes)))
    assert found == pytest.approx(float(EXPECTED[f"{original}/{classes}"]), rel=1e-5)


def test_focal_loss_of_one_class_without_its_background():
    cfg = config(1, "loss=dice", "LOSS_OPTIONS.focal.background=False")
    cfg.LOSS = {"focal": 1}
    assert float(build_loss(cfg)(*batch(1))) == pytest.approx(float(EXPECTED["port_focal_loss/1"]), rel=1e-5)


@pytest.mark.parametrize(
    "original, classes, metric",
    [
        ("kit_dice_coef", 1, "soft_dice_flat"),
        ("kit_dice_coef", 3, "soft_dice_flat"),
        ("kit_dice_avg", 1, "soft_dice_images"),
        ("kit_dice_avg", 3, "soft_dice_images"),
        ("kit_channel_avg_dice", 3, "soft_dice_images_channels"),
        ("mapping_dice_coef", 1, "soft_dice_images"),
        ("lgg_iou", 1, "iou"),
        ("lgg_dice_coef", 1, "dice"),
        ("mapping_tpr", 1, "sensitivity"),
    ],
)
def test_metrics(original, classes, metric):
    found = {}
    for each in build_metrics(config(classes), full=True):
        each.update_state(*batch(classes))
        result = each.result()
        found |= result if isinstance(result, dict) else {each.name: result}
    assert float(found[metric]) == pytest.approx(float(EXPECTED[f"{original}/{classes}"]), rel=1e-5)


def test_run_length_texts():
    text, mask = str(EXPECTED["rle_text"]), EXPECTED["rle_mask"]
    assert rle.encode(mask) == text
    np.testing.assert_array_equal(rle.decode(text, *mask.shape), mask)


@pytest.mark.parametrize(
    "original, experiment, epochs, overrides",
    [
        ("schedule_kit", "tpu_unet", range(20), []),
        ("schedule_lgg", "lgg_unet", range(50), ["HYPER_PARAMETERS.EPOCHS=50"]),
        ("schedule_mapping", "mapping_efficientnetb4", range(0, 160, 5), ["LR_SCHEDULE.BY=epoch"]),
    ],
)
def test_schedules(original, experiment, epochs, overrides):
    cfg = load_config([f"+experiment={experiment}", *overrides])
    np.testing.assert_allclose([learning_rate(cfg, epoch) for epoch in epochs], EXPECTED[original], rtol=1e-5)
