"""Every loss term against an independent computation, at its extremes, and on another backend."""

import functools
import json

import numpy as np
import pytest
from conftest import run_command

from losses import LOSSES, SMALLEST_SIDE, build_loss, build_metrics
from losses.targets import to_one_hot
from utils.config import CONFIGS, load_config
from utils.errors import UserError

tf = pytest.importorskip("tensorflow")

SIDES = 176, 181  # odd sides at the finer levels, and the smallest that MS-SSIM takes
PRESETS = sorted(path.stem for path in (CONFIGS / "loss").glob("*.yaml"))


@functools.cache
def one_term(name, *overrides):
    """The loss of a single term with weight 1."""
    cfg = load_config(["loss=dice", *overrides])
    cfg.LOSS = {name: 1}
    return build_loss(cfg)


def make_batch(classes, images=2, height=SIDES[0], width=SIDES[1], seed=0):
    """Blobs as index masks `(batch, height, width, 1)`, and probabilities that mostly agree with them."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    masks = np.zeros((images, height, width, 1), "uint8")
    for mask in masks:
        for label in range(1, max(classes, 2)):
            y, x, radius = rng.uniform((0, 0, 0.1), (1, 1, 0.3))
            mask[(row - y * height) ** 2 + (column - x * width) ** 2 < (radius * min(height, width)) ** 2] = label
    logits = rng.normal(size=(images, height, width, classes)) + 2 * one_hot(masks, classes) - (classes == 1)
    if classes == 1:
        return masks, (1 / (1 + np.exp(-logits))).astype("float32")
    exponents = np.exp(logits)
    return masks, (exponents / exponents.sum(-1, keepdims=True)).astype("float32")


def one_hot(masks, classes):
    return masks.astype("float64") if classes == 1 else np.eye(classes)[masks[..., 0]]


def expected(name, y, p):
    """The default term, written image by image in float64 NumPy, or TensorFlow's own function for SSIM."""
    y, p = y.astype("float64"), p.astype("float64")
    if name == "ssim":
        return 1 - np.mean(tf.image.ssim(tf.cast(y, "float32"), tf.cast(p, "float32"), 1.0))
    if name == "ms_ssim":
        return 1 - np.mean(tf.image.ssim_multiscale(tf.cast(y, "float32"), tf.cast(p, "float32"), 1.0))
    if name == "bce":
        return np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))
    if name in ("focal", "cce"):
        true_class = np.where(y == 1, p, 1 - p)[..., 0] if y.shape[-1] == 1 else p[y == 1]
        return np.mean((4 * (1 - true_class) ** 2 if name == "focal" else 1) * -np.log(true_class))
    values = []
    for truth, prediction in zip(y, p, strict=True):
        common, total = (truth * prediction).sum(), truth.sum() + prediction.sum()
        iou, dice = (common + 1) / (total - common + 1), (2 * common + 1) / (total + 1)
        values.append(1 - {"iou": iou, "dice": dice}[name])
    return np.mean(values)


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_value_equals_an_independent_computation(name, classes):
    masks, p = make_batch(classes)
    value = one_term(name)(masks, p)
    tolerance = 1e-4 if "ssim" in name else 1e-6
    assert value.dtype == "float32" and value.shape == ()
    assert float(value) == pytest.approx(expected(name, one_hot(masks, classes), p), abs=tolerance)


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
    assert perfect == pytest.approx(0, abs=1e-6)
    assert perfect < usual < inverse


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_empty_masks(name, classes):
    masks = np.zeros((2, *SIDES, 1), "uint8")
    nothing = one_hot(masks, classes).astype("float32")
    loss = one_term(name)
    assert float(loss(masks, nothing)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(float(loss(masks, 1 - nothing))) and float(loss(masks, 1 - nothing)) > 0.1


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


@pytest.mark.parametrize("name", ["focal", "bce", "cce"])
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


@pytest.mark.parametrize("name", LOSSES)
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


@pytest.mark.parametrize("name", SMALLEST_SIDE)
def test_images_smaller_than_the_window_are_refused(name):
    smallest = SMALLEST_SIDE[name]
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
    assert float(build_loss(cfg)(masks, p)) == pytest.approx(total, abs=1e-5)


ON_JAX = """
import json, os, sys

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
    terms = jax.jit(lambda y_true, y_pred: {name: loss(y_true, y_pred) for name, loss in losses.items()})(masks, p)
    for metric in build_metrics(cfg):
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
        for metric in build_metrics(load_config([f"OUTPUT.CLASSES={classes}"])):
            metric.update_state(masks, p)
            result = metric.result()
            terms |= result if isinstance(result, dict) else {metric.name: result}
        here |= {f"{name} {classes}": float(value) for name, value in terms.items()}
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "on_jax.py").write_text(ON_JAX)
    done = run_command(tmp_path / "on_jax.py", tmp_path / "data.npz", PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(here, abs=1e-5)
