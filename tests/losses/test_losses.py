"""Every loss term against an independent computation, at its extremes, and on another backend."""

import functools
import json

import numpy as np
import pytest
from helpers import UNOPTIMISED, run_command

from losses import LOSSES, build_loss, build_metrics
from losses.targets import to_one_hot
from utils.base.errors import UserError
from utils.config import load_config
from utils.config.defaults import CONFIGS

tf = pytest.importorskip("tensorflow")

SIDES = 176, 181  # odd sides at the finer levels, and the smallest that MS-SSIM takes
PRESETS = sorted(path.stem for path in (CONFIGS / "loss").glob("*.yaml"))


# The value of a perfect prediction, where it is not 0.
BEST = {"combo": -0.95}
# The loss of a batch that is not the mean of the losses of its images.
OF_THE_BATCH = ("bce_dice", "class_dice")


@functools.cache
def one_term(name, *overrides):
    """The loss of a single term with weight 1, with `make_boundary_weights` where it needs them."""
    cfg = load_config(["loss=dice", *overrides])
    cfg.LOSS = {name: 1}
    loss = build_loss(cfg)
    return (lambda y, p: loss(y, p, make_boundary_weights(p))) if LOSSES[name].needs_boundary_weights else loss


def make_boundary_weights(p):
    """Border weights in [0, 1] that fit a prediction `(batch, height, width, classes)`, the same for all images."""
    rows, columns = np.mgrid[: p.shape[1], : p.shape[2]]
    return np.broadcast_to((rows * columns % 7 / 7)[:, :, None], (*p.shape[:3], 1)).astype("float32")


@functools.cache
def make_batch(classes, images=2, height=SIDES[0], width=SIDES[1], seed=0):
    """Blobs as index masks `(batch, height, width, 1)`, and probabilities that mostly agree with them; to be read."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    masks = np.zeros((images, height, width, 1), "uint8")
    for mask in masks:
        for label in range(1, max(classes, 2)):
            y, x, radius = rng.uniform((0, 0, 0.1), (1, 1, 0.3))
            mask[(row - y * height) ** 2 + (column - x * width) ** 2 < (radius * min(height, width)) ** 2] = label
    logits = rng.normal(size=(images, height, width, classes)) + 2 * one_hot(masks, classes) - (classes == 1)
    exponents = np.exp(logits)
    p = exponents / (1 + exponents if classes == 1 else exponents.sum(-1, keepdims=True))
    for array in (masks, p := p.astype("float32")):
        array.flags.writeable = False
    return masks, p


def one_hot(masks, classes):
    return masks.astype("float64") if classes == 1 else np.eye(classes)[masks[..., 0]]


def of_images(function):
    """The mean over images of a function of truth and prediction `(height, width, classes)`."""
    return lambda y, p: np.mean([function(*image) for image in zip(y, p, strict=True)])


def tensorflow_ssim(y, p):
    return 1 - np.mean(tf.image.ssim(tf.cast(y, "float32"), tf.cast(p, "float32"), 1.0))


def tensorflow_ms_ssim(y, p):
    return 1 - np.mean(tf.image.ssim_multiscale(tf.cast(y, "float32"), tf.cast(p, "float32"), 1.0))


def bce(y, p):
    return np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))


def of_true_class(y, p):
    """Probability of the true class of each pixel, `(batch, height, width)`."""
    return np.where(y == 1, p, 1 - p)[..., 0] if y.shape[-1] == 1 else (y * p).sum(-1)


def dice_score(y, p, smooth=1.0):
    return (2 * (y * p).sum() + smooth) / (y.sum() + p.sum() + smooth)


def class_dice_losses(y, p):
    """One minus the score of each class in the whole batch."""
    return np.array([1 - dice_score(y[..., k], p[..., k]) for k in range(y.shape[-1])])


def iou_score(y, p):
    return ((y * p).sum() + 1) / ((y + p - y * p).sum() + 1)


def tversky_losses(y, p):
    """One minus the index of each foreground class of an image."""
    for k in range(0 if y.shape[-1] == 1 else 1, y.shape[-1]):
        hits, excess, missed = (
            (a * b).sum() for a, b in ((y[..., k], p[..., k]), (1 - y[..., k], p[..., k]), (y[..., k], 1 - p[..., k]))
        )
        yield 1 - (hits + 1) / (hits + 0.3 * excess + 0.7 * missed + 1)


def lovasz_of_image(y, p):
    """By definition: the Jaccard loss of the set of wrong pixels, interpolated along the sorted errors."""
    losses = []
    for k in range(y.shape[-1]):
        truth, error = y[..., k].ravel() == 1, np.abs(y[..., k] - p[..., k]).ravel()
        if y.shape[-1] > 1 and not truth.any():
            continue
        wrong, previous, total = np.zeros(truth.shape, bool), 0.0, 0.0
        missed, excess, there = 0, 0, truth.sum()
        for pixel in np.argsort(-error, kind="stable"):
            wrong[pixel] = True
            missed, excess = missed + truth[pixel], excess + (not truth[pixel])
            jaccard = (missed + excess) / (there + excess)
            total, previous = total + error[pixel] * (jaccard - previous), jaccard
        losses.append(total)
    return np.mean(losses)


# Every term with its default options, once more: in float64 NumPy or by TensorFlow, from truth and prediction
# `(batch, height, width, classes)`.
INDEPENDENT = {
    "focal": lambda y, p: np.mean(4 * (1 - of_true_class(y, p)) ** 2 * -np.log(of_true_class(y, p))),
    "bce": bce,
    "cce": lambda y, p: np.mean(-np.log(of_true_class(y, p))),
    "boundary_weighted_ce": lambda y, p: np.mean((1 + make_boundary_weights(p)[..., 0]) * -np.log(of_true_class(y, p))),
    "ssim": tensorflow_ssim,
    "ms_ssim": tensorflow_ms_ssim,
    "iou": of_images(lambda y, p: 1 - iou_score(y, p)),
    "dice": of_images(lambda y, p: 1 - dice_score(y, p)),
    "class_dice": lambda y, p: np.mean(class_dice_losses(y, p)),
    "tversky": of_images(lambda y, p: np.mean(list(tversky_losses(y, p)))),
    "focal_tversky": of_images(lambda y, p: np.mean([loss**0.75 for loss in tversky_losses(y, p)])),
    "lovasz": of_images(lovasz_of_image),
    "bce_dice": lambda y, p: bce(y, p) + 1 - dice_score(y, p),
    "bce_dice_half": lambda y, p: bce(y, p) / 2 + of_images(lambda t, q: 1 - dice_score(t, q, 1e-5))(y, p),
    "combo": lambda y, p: 0.05 * bce(y, p) - 0.95 * of_images(dice_score)(y, p),
}


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_value_equals_an_independent_computation(name, classes):
    masks, p = make_batch(classes)
    value = one_term(name)(masks, p)
    tolerance = {"ssim": 1e-4, "ms_ssim": 1e-4, "class_dice": 1e-5}.get(name, 1e-6)  # sums of a whole batch
    assert value.dtype == "float32" and value.shape == ()
    assert float(value) == pytest.approx(INDEPENDENT[name](one_hot(masks, classes), p.astype("float64")), abs=tolerance)


@pytest.mark.parametrize("name", LOSSES)
def test_forms_of_the_truth_agree(name):
    masks, p = make_batch(3)
    loss = one_term(name)
    value = float(loss(masks, p))
    for form in (
        masks[..., 0],
        masks.astype("int32"),
        masks.astype("float32"),
        one_hot(masks, 3).astype("uint8"),
        one_hot(masks, 3).astype("float32"),
    ):
        assert float(loss(form, p)) == value


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_perfect_prediction_is_best_and_its_inverse_worse(name, classes):
    masks, p = make_batch(classes)
    loss, truth = one_term(name), one_hot(masks, classes).astype("float32")
    perfect, usual, inverse = (float(loss(masks, prediction)) for prediction in (truth, p, 1 - truth))
    assert perfect == pytest.approx(BEST.get(name, 0), abs=1e-6)
    assert perfect < usual < inverse


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_empty_masks(name, classes):
    masks = np.zeros((2, *SIDES, 1), "uint8")
    nothing = one_hot(masks, classes).astype("float32")
    loss = one_term(name)
    best, worst = BEST.get(name, 0), float(loss(masks, 1 - nothing))
    assert float(loss(masks, nothing)) == pytest.approx(best, abs=1e-6)
    assert np.isfinite(worst) and worst > best + 0.1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", LOSSES)
def test_low_precision_predictions_are_computed_in_float32(name, dtype):
    masks, p = make_batch(2)
    rounded = tf.cast(p, dtype)
    value = one_term(name)(masks, rounded)
    assert value.dtype == "float32"
    assert float(value) == float(one_term(name)(masks, tf.cast(rounded, "float32")))


@pytest.mark.parametrize("fill", [0.0, 1e-30, 0.5, 1.0, "wrong", "right"])
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_finite_at_extreme_probabilities(name, classes, fill):
    masks, p = make_batch(classes)
    truth = one_hot(masks, classes).astype("float32")
    p = tf.constant({"wrong": 1 - truth, "right": truth}[fill] if isinstance(fill, str) else np.full_like(p, fill))
    loss = one_term(name)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss(masks, p)
    assert np.isfinite(value) and np.isfinite(tape.gradient(value, p)).all()


@pytest.mark.parametrize("name", ["focal", "bce", "cce", "boundary_weighted_ce", "bce_dice", "combo"])
@pytest.mark.parametrize("truth", [0, 1])
def test_a_pixel_that_is_wrong_with_full_confidence_still_learns(name, truth):
    p = tf.constant(np.full((1, 4, 4, 1), 1.0 - truth, "float32"))
    loss = one_term(name)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss(np.full((1, 4, 4, 1), truth, "uint8"), p)
    gradient = tape.gradient(value, p).numpy()
    assert (gradient < 0).all() if truth else (gradient > 0).all()


def test_focal_counts_the_background_of_a_single_class():
    loss = one_term("focal")
    value = float(loss(np.array([0, 1]).reshape(1, 1, 2), np.array([0.9, 0.5]).reshape(1, 1, 2, 1)))
    assert value == pytest.approx((4 * 0.9**2 * -np.log(0.1) + 4 * 0.5**2 * -np.log(0.5)) / 2, abs=1e-6)


def test_focal_without_the_background():
    """One class: alpha y (1 - p)^gamma -log(p) as in the TensorFlow port of UNet 3+. Several: class 0 costs nothing."""
    of = one_term("focal", "LOSS_OPTIONS.focal.background=False")
    truth, p = np.array([0, 1]).reshape(1, 1, 2), np.array([0.9, 0.5]).reshape(1, 1, 2, 1)
    value = (0 + 4 * 0.5**2 * -np.log(0.5)) / 2
    assert float(of(truth, p)) == pytest.approx(value, abs=1e-6)
    assert float(of(truth, np.concatenate([1 - p, p], -1))) == pytest.approx(value, abs=1e-6)
    weights = "LOSS_OPTIONS.focal.class_weights=[7,3]"
    assert float(one_term("focal", "LOSS_OPTIONS.focal.background=False", weights)(truth, p)) == pytest.approx(
        3 * value, abs=1e-6
    )


def test_focal_without_focus_is_cross_entropy():
    masks, p = make_batch(3)
    plain = one_term("focal", "LOSS_OPTIONS.focal.alpha=1", "LOSS_OPTIONS.focal.gamma=0")
    assert float(plain(masks, p)) == pytest.approx(float(one_term("cce")(masks, p)), abs=1e-7)


def test_overlap_by_hand():
    truth = np.array([[1, 1, 0, 0], [0, 0, 0, 0]]).reshape(2, 1, 4, 1)
    p = np.array([[1, 0.5, 0.5, 0], [1, 0, 0, 0]], "float32").reshape(2, 1, 4, 1)
    # image 1: common 1.5, true 2, predicted 2; image 2: 0, 0, 1
    assert float(one_term("iou")(truth, p)) == pytest.approx(1 - (2.5 / 3.5 + 1 / 2) / 2, abs=1e-6)
    assert float(one_term("dice")(truth, p)) == pytest.approx(1 - (4 / 5 + 1 / 2) / 2, abs=1e-6)
    batch = one_term("dice", "LOSS_OPTIONS.dice.average=batch")
    assert float(batch(truth, p)) == pytest.approx(1 - 4 / 6, abs=1e-6)
    sharp = one_term("iou", "LOSS_OPTIONS.iou.smooth=0.5")
    assert float(sharp(truth, p)) == pytest.approx(1 - (2 / 3 + 0.5 / 1.5) / 2, abs=1e-6)


@pytest.mark.parametrize("name", ["iou", "dice"])
def test_background_left_out_of_two_classes_is_the_single_class(name):
    masks, p = make_batch(2)
    without = one_term(name, f"LOSS_OPTIONS.{name}.include_background=false")
    assert float(without(masks, p)) == pytest.approx(float(one_term(name)(masks, p[..., 1:])), abs=1e-6)
    assert float(without(masks, p[..., 1:])) == pytest.approx(float(one_term(name)(masks, p[..., 1:])), abs=1e-6)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in OF_THE_BATCH])
def test_batch_value_is_the_mean_over_images(name):
    masks, p = make_batch(2, images=3)
    loss = one_term(name)
    each = [float(loss(masks[i : i + 1], p[i : i + 1])) for i in range(3)]
    assert float(loss(masks, p)) == pytest.approx(np.mean(each), abs=1e-6)


@pytest.mark.parametrize("shape", [(11, 11), (12, 40), (320, 320)])
def test_ssim_gradient_equals_tensorflow(shape):
    masks, p = make_batch(2, height=shape[0], width=shape[1])
    truth, p = tf.constant(one_hot(masks, 2), "float32"), tf.constant(p)
    loss = one_term("ssim")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(p)
        ours, theirs = loss(masks, p), 1 - tf.reduce_mean(tf.image.ssim(truth, p, 1.0))
    assert float(ours) == pytest.approx(float(theirs), abs=1e-4)
    difference = tape.gradient(ours, p) - tape.gradient(theirs, p)
    assert np.abs(difference).max() < 1e-3 * np.abs(tape.gradient(theirs, p)).max()


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_images_smaller_than_the_window_are_refused(name):
    smallest = LOSSES[name].smallest_side
    masks, p = make_batch(2, height=smallest, width=smallest - 1)
    with pytest.raises(UserError, match=rf"INPUT.WIDTH={smallest - 1} .* at least {smallest}"):
        one_term(name)(masks, p)
    with pytest.raises(UserError, match=rf"INPUT.HEIGHT={smallest - 1} .* at least {smallest}"):
        load_config(["loss=dice", f"+LOSS.{name}=1", f"INPUT.HEIGHT={smallest - 1}"])
    load_config(["loss=dice", f"+LOSS.{name}=0", f"INPUT.HEIGHT={smallest - 1}"])


def test_sizes_unknown_until_the_run():
    masks, p = make_batch(2)
    loss = build_loss(load_config(["loss=unet3plus_hybrid_ms_ssim"]))
    unknown = [tf.TensorSpec((None, None, None, 1), "uint8"), tf.TensorSpec((None, None, None, 2), "float32")]
    assert float(tf.function(loss, input_signature=unknown)(masks, p)) == pytest.approx(float(loss(masks, p)), abs=1e-5)


def test_one_hot_of_every_form():
    labels = np.array([[[0, 2], [1, 255]]], "uint8")
    maps = np.array([[[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]]], "float32")
    for form in (labels, labels[..., None], labels[..., None].astype("float32"), maps.astype("uint8"), maps):
        assert to_one_hot(form, 3).dtype == "float32"
        np.testing.assert_array_equal(to_one_hot(form, 3), maps)
    with pytest.raises(UserError, match=r"2 channels does not fit OUTPUT\.CLASSES=3"):
        to_one_hot(np.zeros((1, 4, 4, 2)), 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_weighted_sum_of_its_terms_and_nothing_else(preset):
    masks, p = make_batch(2)
    written = [line.split(":")[0] for line in (CONFIGS / "loss" / f"{preset}.yaml").read_text().splitlines()]
    cfg = load_config([f"loss={preset}"])
    assert list(cfg.LOSS) == [name for name in written if name in LOSSES]
    cfg.LOSS[next(iter(cfg.LOSS))] = 0.25
    total = sum(weight * float(one_term(name)(masks, p)) for name, weight in cfg.LOSS.items())
    assert float(build_loss(cfg)(masks, p, make_boundary_weights(p))) == pytest.approx(total, abs=1e-5)


def test_terms_by_hand():
    """One image of four pixels, two of them foreground; smooth 1."""
    truth = np.array([1, 1, 0, 0], "uint8").reshape(1, 1, 4, 1)
    p = np.array([0.8, 0.4, 0.3, 0.1], "float32").reshape(1, 1, 4, 1)
    bce_value = -(np.log(0.8) + np.log(0.4) + np.log(0.7) + np.log(0.9)) / 4
    dice_value = 1 - 3.4 / 4.6  # common 1.2, true 2, predicted 1.6
    tversky_value = 1 - 2.2 / (2.2 + 0.3 * 0.4 + 0.7 * 0.8)
    # Errors 0.6, 0.3, 0.2, 0.1 turn a miss, an excess, a miss, an excess: Jaccard loss 1/2, 2/3, 1, 1.
    lovasz_value = 0.6 / 2 + 0.3 / 6 + 0.2 / 3
    for name, value in {
        "bce": bce_value,
        "cce": bce_value,
        "dice": dice_value,
        "iou": 1 - 2.2 / 3.4,
        "class_dice": dice_value,
        "tversky": tversky_value,
        "focal_tversky": tversky_value**0.75,
        "lovasz": lovasz_value,
        "bce_dice": bce_value + dice_value,
        "bce_dice_half": bce_value / 2 + 1 - 2.40001 / 3.60001,
        "combo": 0.05 * bce_value - 0.95 * 3.4 / 4.6,
        "focal": -4 * (0.04 * np.log(0.8) + 0.36 * np.log(0.4) + 0.09 * np.log(0.7) + 0.01 * np.log(0.9)) / 4,
    }.items():
        assert float(one_term(name)(truth, p)) == pytest.approx(value, abs=1e-6), name
    border = np.array([0, 10, 2, 0], "float32").reshape(1, 1, 4, 1)
    value = -(np.log(0.8) + 11 * np.log(0.4) + 3 * np.log(0.7) + np.log(0.9)) / 4
    assert float(build_loss(load_config(["loss=boundary"]))(truth, p, border)) == pytest.approx(value, abs=1e-6)


def test_lovasz_is_one_minus_iou_at_hard_masks():
    masks, p = make_batch(1)
    hard = (p > 0.5).astype("float32")
    ious = [(t & h).sum() / (t | h).sum() for t, h in zip(masks == 1, hard == 1, strict=True)]
    assert float(one_term("lovasz")(masks, hard)) == pytest.approx(1 - np.mean(ious), abs=1e-6)


def test_bce_dice_is_of_the_flattened_batch():
    masks, p = make_batch(1, images=3)
    truth = one_hot(masks, 1)
    assert float(one_term("bce_dice")(masks, p)) == pytest.approx(bce(truth, p) + 1 - dice_score(truth, p), abs=1e-6)
    each = np.mean([1 - dice_score(t, q) for t, q in zip(truth, p, strict=True)])
    assert abs(each - (1 - dice_score(truth, p))) > 1e-4  # the mean over images is another number


def test_cross_entropy_equals_keras():
    masks, p = make_batch(3)
    from_indices = tf.keras.losses.SparseCategoricalCrossentropy()(masks, p)
    assert float(one_term("cce")(masks, p)) == pytest.approx(float(from_indices), abs=1e-6)
    masks, p = make_batch(1)
    assert float(one_term("bce")(masks, p)) == pytest.approx(
        float(tf.keras.losses.BinaryCrossentropy()(masks, p)), 1e-6
    )


def test_soft_targets():
    soft, p = make_batch(3, seed=1)[1], make_batch(3)[1]
    assert float(one_term("cce")(soft, p)) == pytest.approx(np.mean(-(soft * np.log(p)).sum(-1)), abs=1e-6)
    assert float(one_term("dice")(soft, p)) == pytest.approx(
        np.mean([1 - dice_score(t, q) for t, q in zip(soft, p, strict=True)]), abs=1e-6
    )


WEIGHTED = [name for name, options in load_config().LOSS_OPTIONS.items() if "class_weights" in options]


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", WEIGHTED)
def test_class_weights(name, classes):
    masks, p = make_batch(classes)
    shown = max(classes, 2)
    plain = float(one_term(name, f"OUTPUT.CLASSES={classes}")(masks, p))

    def with_weights(weights):
        return float(
            one_term(name, f"OUTPUT.CLASSES={classes}", f"LOSS_OPTIONS.{name}.class_weights={weights}")(masks, p)
        )

    if name != "boundary_weighted_ce":
        assert with_weights([1] * shown) == pytest.approx(plain, abs=1e-6)
    weights = [0.5, 3, 2][:shown]
    y, p = one_hot(masks, classes), p.astype("float64")
    of_pixel = np.array(weights)[masks[..., 0]]
    q = of_true_class(y, p)
    w = np.array(weights[-classes:])
    areas = [((t * s * w).sum(), (t * w).sum(), (s * w).sum()) for t, s in zip(y, p, strict=True)]
    tverskys = [np.array(list(tversky_losses(t, s))) for t, s in zip(y, p, strict=True)]
    fg = np.array(weights[1:])
    values = {
        "cce": lambda: np.mean(of_pixel * -np.log(q)),
        "focal": lambda: np.mean(of_pixel * 4 * (1 - q) ** 2 * -np.log(q)),
        "bce": lambda: np.mean(
            of_pixel * -np.log(q) if classes == 1 else ((-y * np.log(p) - (1 - y) * np.log(1 - p)) * w)
        ),
        "boundary_weighted_ce": lambda: np.mean((of_pixel + make_boundary_weights(p)[..., 0]) * -np.log(q)),
        "iou": lambda: np.mean([1 - (common + 1) / (t + s - common + 1) for common, t, s in areas]),
        "dice": lambda: np.mean([1 - (2 * common + 1) / (t + s + 1) for common, t, s in areas]),
        "class_dice": lambda: (class_dice_losses(y, p) * w).sum() / w.sum(),
        "tversky": lambda: np.mean([(loss * fg).sum() / fg.sum() for loss in tverskys]),
        "focal_tversky": lambda: np.mean([(loss**0.75 * fg).sum() / fg.sum() for loss in tverskys]),
    }
    assert with_weights(weights) == pytest.approx(values[name](), rel=2e-6)


IGNORED = 9


def with_void(masks):
    """The masks with a void rectangle and a void border; and the rectangle as a map of bool."""
    void = np.zeros(masks.shape, bool)
    void[:, 60:100, 30:130], void[:, :, -9:] = True, True
    return np.where(void, IGNORED, masks).astype("uint8"), void


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_have_no_influence_and_no_gradient(name, classes):
    masks, p = make_batch(classes)
    masks, void = with_void(masks)
    loss = one_term(name, f"OUTPUT.CLASSES={classes}", f"DATASET.IGNORE_LABEL={IGNORED}")
    value = float(loss(masks, p))
    other = np.where(void, make_batch(classes, seed=1)[1], p)
    assert not np.array_equal(other, p) and float(loss(masks, other)) == value
    p = tf.constant(p)
    with tf.GradientTape() as tape:
        tape.watch(p)
        result = loss(masks, p)
    gradient = tape.gradient(result, p).numpy()
    void = np.broadcast_to(void, gradient.shape)
    assert np.isfinite(gradient).all() and not gradient[void].any() and gradient[~void].any()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", [name for name in LOSSES if "ssim" not in name])
def test_the_value_is_that_of_the_pixels_that_count(name, classes):
    """Void columns at the right: as if the images were narrower."""
    masks, p = make_batch(classes)
    masks = masks.copy()
    masks[:, :, 150:] = IGNORED
    settings = f"OUTPUT.CLASSES={classes}", f"DATASET.IGNORE_LABEL={IGNORED}"
    narrow = one_term(name)(masks[:, :, :150], p[:, :, :150])
    assert float(one_term(name, *settings)(masks, p)) == pytest.approx(float(narrow), abs=1e-6)
    if not LOSSES[name].needs_boundary_weights:
        maps = np.where(masks == IGNORED, IGNORED, one_hot(np.where(masks == IGNORED, 0, masks), classes))
        assert float(one_term(name, *settings)(maps, p)) == pytest.approx(float(narrow), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_where_it_counts_and_nothing_that_counts(name):
    masks, _ = make_batch(3)
    void_masks, _ = with_void(masks)
    loss = one_term(name, "OUTPUT.CLASSES=3", f"DATASET.IGNORE_LABEL={IGNORED}")
    truth = one_hot(masks, 3).astype("float32")
    assert float(loss(void_masks, truth)) == pytest.approx(BEST.get(name, 0), abs=1e-6)
    p = tf.constant(1 - truth)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss(np.full_like(masks, IGNORED), p)
    assert float(value) == pytest.approx(BEST.get(name, 0), abs=1e-6)
    assert not np.any(tape.gradient(value, p))


def test_ssim_with_void_by_hand():
    """Mean over the windows whose centre counts, of maps that are 0 where they do not."""
    masks, p = make_batch(1, images=1, height=24, width=30)
    masks = masks.copy()
    masks[:, 10:14, 8:20] = IGNORED
    valid = (masks != IGNORED).astype("float32")
    truth = tf.constant(np.where(masks == IGNORED, 0, masks), "float32")
    values = tf.image.ssim(truth, p * valid, 1.0, return_index_map=True).numpy()
    centre = valid[:, 5:-5, 5:-5, 0]
    loss = one_term("ssim", "OUTPUT.CLASSES=1", f"DATASET.IGNORE_LABEL={IGNORED}")
    assert float(loss(masks, p)) == pytest.approx(1 - (values * centre).sum() / centre.sum(), abs=1e-4)


def test_an_unpadded_network_takes_the_centre_of_mask_and_boundary_weights():
    masks, p = make_batch(2)
    cfg = load_config(["loss=boundary", f"DATASET.IGNORE_LABEL={IGNORED}"])
    masks, _ = with_void(masks)
    border = make_boundary_weights(p)
    loss = build_loss(cfg)
    cut = np.s_[:, 20:-20, 10:-11]
    whole = loss(masks[cut], p[cut], border[cut])
    assert float(loss(masks, p[cut], border)) == pytest.approx(float(whole), abs=1e-7)
    with pytest.raises(ValueError, match="boundary weights"):
        loss(masks, p)


ON_JAX = """
import json, os, sys
from functools import partial

sys.modules["tensorflow"] = None
os.environ["KERAS_BACKEND"] = "jax"

import numpy as np
from losses import LOSSES, build_loss, build_metrics
from utils.config import load_config

assert "keras" not in sys.modules
import jax

data, values = np.load(sys.argv[1]), {}
for classes in (1, 3):
    masks, p = data[f"masks{classes}"], data[f"p{classes}"]
    cfg = load_config(["loss=dice", f"OUTPUT.CLASSES={classes}"])
    losses = {}
    for name in LOSSES:
        cfg.LOSS = {name: 1}
        losses[name] = build_loss(cfg)
        if LOSSES[name].needs_boundary_weights:
            losses[name] = partial(losses[name], boundary_weights=data["boundary_weights"])
    terms = jax.jit(lambda y_true, y_pred: {name: loss(y_true, y_pred) for name, loss in losses.items()})(masks, p)
    for metric in [*build_metrics(cfg), *build_metrics(cfg, full=True)]:
        metric.update_state(masks, p)
        result = metric.result()
        terms |= result if isinstance(result, dict) else {metric.name: result}
    values |= {f"{name} {classes}": float(value) for name, value in terms.items()}
print(json.dumps(values))
"""


def test_another_backend_without_tensorflow_gives_the_same_values(tmp_path):
    """Losses and metrics on JAX, compiled, where importing TensorFlow fails."""
    pytest.importorskip("jax")
    arrays, here = {}, {}
    for classes in (1, 3):
        arrays[f"masks{classes}"], arrays[f"p{classes}"] = masks, p = make_batch(classes, images=1)
        terms = {name: one_term(name)(masks, p) for name in LOSSES}
        cfg = load_config([f"OUTPUT.CLASSES={classes}"])
        for metric in [*build_metrics(cfg), *build_metrics(cfg, full=True)]:
            metric.update_state(masks, p)
            result = metric.result()
            terms |= result if isinstance(result, dict) else {metric.name: result}
        here |= {f"{name} {classes}": float(value) for name, value in terms.items()}
    np.savez(tmp_path / "data.npz", boundary_weights=make_boundary_weights(p), **arrays)
    (tmp_path / "on_jax.py").write_text(ON_JAX)
    done = run_command(tmp_path / "on_jax.py", tmp_path / "data.npz", PYTHONPATH=".", XLA_FLAGS=UNOPTIMISED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(here, abs=1e-5)
