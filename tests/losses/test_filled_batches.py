"""Images that only fill a batch change no loss, gradient or score."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from losses import LOSSES, build_loss, build_metrics
from losses.metrics.exact_sums import update_metric
from losses.supervision import PresenceAccuracy, RocAuc
from utils.config import load_config
from utils.devices.full_batches import fill

RNG = np.random.default_rng(0)


def make_batch(side, classes=3):
    masks = RNG.integers(0, classes, (2, side, side, 1)).astype("uint8")
    masks[0, :3] = 255  # ignored
    return masks, RNG.dirichlet(np.ones(classes), (2, side, side)).astype("float32")


@pytest.mark.parametrize("average", ["image", "batch"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, average):
    if "average" not in LOSSES[name].options and average == "batch":
        return
    cfg = load_config(["OUTPUT.CLASSES=3", "DATASET.IGNORE_LABEL=255"])
    cfg.LOSS = {name: 1.0}
    if "average" in LOSSES[name].options:
        cfg.LOSS_OPTIONS[name].average = average
    loss = build_loss(cfg)
    masks, predicted = make_batch(LOSSES[name].smallest_side + 12)
    border = RNG.random(masks.shape, dtype=np.float32)
    (masks_filled, border_filled), counted = fill([masks, border], 3)
    found = []
    for truth, weights, count, size in ((masks, border, None, 2), (masks_filled, border_filled, counted, 3)):
        p = tf.Variable(fill([predicted], size)[0][0])
        with tf.GradientTape() as tape:
            value = loss(truth, p, weights, count)
        found.append((float(value), tape.gradient(value, p).numpy()))
    (value, gradient), (value_filled, gradient_filled) = found
    assert value_filled == pytest.approx(value, rel=1e-6) and value != 0
    np.testing.assert_allclose(gradient_filled[:2], gradient, rtol=1e-5, atol=1e-9)
    assert (gradient_filled[2] == 0).all() and gradient.any()


@pytest.mark.parametrize("full", [False, True])
def test_metrics_of_masks(full):
    cfg = load_config(["OUTPUT.CLASSES=3", "DATASET.IGNORE_LABEL=255"])
    batch = make_batch(12)
    filled, counted = fill(list(batch), 5)
    for plain, other in zip(build_metrics(cfg, full), build_metrics(cfg, full), strict=True):
        update_metric(plain, *batch)
        update_metric(other, *filled, counted)
        for one, two in zip(plain.variables, other.variables, strict=True):
            np.testing.assert_array_equal(one, two)


def test_metrics_of_images():
    masks, _ = make_batch(12)
    labels, scores = RNG.integers(0, 2, (4, 2)).astype("float32"), RNG.random((4, 2), dtype=np.float32)
    for make, batch in (
        (lambda: PresenceAccuracy(3), [masks, scores[:2]]),
        (lambda: RocAuc(2), [labels, scores]),
        (keras.metrics.CategoricalAccuracy, [labels, scores]),
        (keras.metrics.BinaryAccuracy, [labels, scores]),
    ):
        plain, other = make(), make()
        update_metric(plain, *batch)
        filled, counted = fill(batch, 7)
        update_metric(other, *filled, counted)
        np.testing.assert_array_equal(plain.result(), other.result())
