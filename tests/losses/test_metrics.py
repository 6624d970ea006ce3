"""The metrics against NumPy, over any split into batches, at large counts, and over replicas."""

import json

import numpy as np
import pytest
from warm_helpers import run_warm

from losses import AVERAGING, EVALUATION_METRICS, METRICS, averaging, build_metrics
from utils.config import load_config

tf = pytest.importorskip("tensorflow")

from losses.metrics.counts import count_confusion  # noqa: E402
from losses.metrics.each_image import DiceCoefficient, ImageScores  # noqa: E402
from losses.metrics.whole_set import ConfusionScores, OverlapScores  # noqa: E402

CLASSES = [1, 2, 4]


def make_set(classes, images=10, side=24, seed=0):
    """Index masks `(images, side, side, 1)` and probabilities; the first image is empty in both."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, max(classes, 2), (images, side, side, 1)).astype("uint8")
    p = rng.random((images, side, side, classes)).astype("float32")
    masks[0], p[0] = 0, 0
    p[0, ..., 0] = classes > 1
    return masks, p / (1 if classes == 1 else p.sum(-1, keepdims=True))


def labels(masks, p):
    """True and predicted label maps `(images, height, width)`."""
    return masks[..., 0], (p[..., 0] > 0.5) if p.shape[-1] == 1 else p.argmax(-1)


def dice_of(truth, prediction):
    total = truth.sum() + prediction.sum()
    return 2 * (truth & prediction).sum() / total if total else 1.0


def mean_dice(masks, p):
    truths, predictions = labels(masks, p)
    foreground = range(1, max(p.shape[-1], 2))
    return np.mean([[dice_of(t == k, q == k) for k in foreground] for t, q in zip(truths, predictions, strict=True)])


def collect(metric, masks, p, batch):
    for start in range(0, len(masks), batch):
        metric.update_state(masks[start : start + batch], p[start : start + batch])
    result = metric.result()
    return {k: float(v) for k, v in result.items()} if isinstance(result, dict) else {metric.name: float(result)}


def counts(metric):
    """The exact integers that an OverlapScores holds."""
    return metric.high.numpy().astype("int64") * metric.UNIT + metric.low.numpy().astype("int64")


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("batch", [1, 3, 7, 10])
def test_any_split_into_batches_gives_the_value_of_the_set(classes, batch):
    masks, p = make_set(classes)
    truths, predictions = labels(masks, p)
    assert collect(DiceCoefficient(), masks, p, batch)["dice_coef"] == pytest.approx(mean_dice(masks, p), abs=1e-6)
    scores = collect(OverlapScores(classes), masks, p, batch)
    dices, ious = [], []
    for k in range(0 if classes > 1 else 1, max(classes, 2)):
        truth, prediction = truths == k, predictions == k
        dices.append(dice_of(truth, prediction))
        ious.append((truth & prediction).sum() / (truth | prediction).sum())
        assert scores[f"dice_class{k}"] == pytest.approx(dices[-1], abs=1e-6)
        assert scores[f"iou_class{k}"] == pytest.approx(ious[-1], abs=1e-6)
    first = 1 if classes > 1 else 0
    assert scores["dice"] == pytest.approx(np.mean(dices[first:]), abs=1e-6)
    assert scores["iou"] == pytest.approx(np.mean(ious[first:]), abs=1e-6)
    if classes > 1:
        assert scores["iou_all_classes"] == pytest.approx(np.mean(ious), abs=1e-6)
    assert len(scores) == 2 + 2 * classes + (classes > 1)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_forms_of_truth_and_prediction_agree(classes, dtype):
    masks, p = make_set(classes)
    p = tf.cast(p, dtype)
    maps = masks if classes == 1 else np.eye(classes)[masks[..., 0]]
    for make in (DiceCoefficient, lambda: OverlapScores(classes)):
        value = collect(make(), masks, p, 10)
        for form in (masks[..., 0], masks.astype("int32"), maps.astype("uint8"), maps.astype("float32")):
            assert collect(make(), form, p, 10) == value


def test_dice_by_hand():
    truth = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).reshape(3, 1, 4, 1)
    p = np.array([[0.9, 0.5, 0.6, 0.1], [0, 0, 0, 0], [1, 0, 0, 0]], "float32").reshape(3, 1, 4, 1)
    # exactly 0.5 is background; empty and empty counts 1; a false find in an empty image counts 0
    both = np.concatenate([1 - p, p], -1)
    for prediction in (p, both):
        assert collect(DiceCoefficient(), truth, prediction, 3)["dice_coef"] == pytest.approx((0.5 + 1 + 0) / 3)
    # the set has 1 common, 2 true and 3 predicted pixels
    scores = collect(OverlapScores(1), truth, p, 3)
    assert scores == pytest.approx({"dice": 0.4, "iou": 0.25, "dice_class1": 0.4, "iou_class1": 0.25})


def test_overlapping_truth_counts_for_every_class():
    truth = np.ones((1, 2, 2, 3), "uint8")
    p = np.zeros((1, 2, 2, 3), "float32")
    p[..., 2] = 1
    scores = collect(OverlapScores(3), truth, p, 1)
    assert (scores["dice_class1"], scores["dice_class2"]) == (0, 1)


def test_perfect_and_worst():
    masks, _ = make_set(3)
    right = np.eye(3, dtype="float32")[masks[..., 0]]
    for metric in (DiceCoefficient(), OverlapScores(3)):
        assert set(collect(metric, masks, right, 4).values()) == {1.0}
    wrong = collect(OverlapScores(3), masks, np.roll(right, 1, -1), 4)
    assert set(wrong.values()) == {0.0}


def test_a_class_that_never_occurs_is_nan_and_not_in_the_mean():
    masks = np.zeros((1, 4, 4, 1), "uint8")
    masks[0, 0, 0] = 1
    right = np.eye(3, dtype="float32")[masks[..., 0]]
    scores = collect(OverlapScores(3), masks, right, 1)
    assert np.isnan(scores["dice_class2"]) and np.isnan(scores["iou_class2"])
    assert scores["dice"] == scores["iou"] == scores["dice_class1"] == 1
    empty = collect(OverlapScores(3), 0 * masks, np.eye(3, dtype="float32")[0 * masks[..., 0]], 1)
    assert np.isnan(empty["dice"]) and empty["dice_class0"] == 1


def test_billions_of_pixels_are_counted_one_by_one():
    metric = OverlapScores(1)
    start = 2**31 - 3
    metric.low.assign(np.full((3, 1), start % metric.UNIT, "float32"))
    metric.high.assign(np.full((3, 1), start // metric.UNIT, "float32"))
    one = np.ones((1, 1, 1, 1), "float32")
    for _ in range(7):
        metric.update_state(one, one)
    metric.update_state(np.zeros_like(one), one)
    np.testing.assert_array_equal(counts(metric)[:, 0], [start + 7, start + 7, start + 8])


def test_large_batches_are_counted_exactly():
    metric = OverlapScores(1)
    image = np.ones((8, 2048, 2047, 1), "uint8")
    for _ in range(2):
        metric.update_state(image, image.astype("float16"))
    assert (counts(metric) == 2 * image.size).all()


def test_reset():
    masks, p = make_set(2)
    for metric in (DiceCoefficient(), OverlapScores(2)):
        first = collect(metric, masks, p, 4)
        metric.reset_state()
        assert collect(metric, masks, p, 4) == first


def test_inside_a_graph_with_unknown_sizes():
    masks, p = make_set(3)
    unknown = [tf.TensorSpec((None, None, None, 1), "uint8"), tf.TensorSpec((None, None, None, 3), "float32")]
    for make in (DiceCoefficient, lambda: OverlapScores(3)):
        eager, graph = make(), make()
        step = tf.function(lambda y, q, metric=graph: metric.update_state(y, q), input_signature=unknown)
        for start in (0, 7):
            step(masks[start : start + 7], p[start : start + 7])
        assert collect(graph, masks[:0], p[:0], 1) == pytest.approx(collect(eager, masks, p, 10), abs=1e-6)


def test_weights_per_image():
    masks, p = make_set(2)
    metric = DiceCoefficient()
    metric.update_state(masks, p, sample_weight=np.array([0, 0, 0] + [1] * 7, "float32"))
    assert float(metric.result()) == pytest.approx(mean_dice(masks[3:], p[3:]), abs=1e-6)
    with pytest.raises(ValueError, match="weighted_metrics"):
        OverlapScores(2).update_state(masks, p, sample_weight=np.ones(10))


def test_build_metrics_gives_new_ones_for_the_classes():
    metrics = build_metrics(load_config(["OUTPUT.CLASSES=3"]))
    assert [metric.name for metric in metrics] == list(METRICS)
    assert metrics[1].classes == 3
    assert build_metrics(load_config())[0] is not metrics[0]
    assert OverlapScores.from_config(metrics[1].get_config()).classes == 3


VOID = 200


def small_case():
    """Three images of four pixels with the classes 0, 1 and 2 (V: void), made so that the metrics differ.

    truth      A 0 1 1 2   B 0 0 V 2   C 0 0 0 0
    predicted  A 0 1 0 0   B 2 2 1 2   C 0 0 0 0
    """
    truth = np.array([[0, 1, 1, 2], [0, 0, VOID, 2], [0, 0, 0, 0]], "uint8")
    p = [
        [(0.8, 0.1, 0.1), (0.2, 0.6, 0.2), (0.4, 0.3, 0.3), (0.5, 0.1, 0.4)],
        [(0.2, 0.1, 0.7), (0.3, 0.2, 0.5), (0.0, 1.0, 0.0), (0.1, 0.1, 0.8)],
        [(0.9, 0.1, 0.0)] * 4,
    ]
    return truth.reshape(3, 1, 4, 1), np.array(p, "float32").reshape(3, 1, 4, 3)


# Confusion matrix 5 0 2 | 1 1 0 | 1 0 1 of 11 pixels: true 7 2 2, predicted 7 1 3.
BY_HAND = {
    "dice_class0": 10 / 14,
    "dice_class1": 2 / 3,
    "dice_class2": 2 / 5,
    "dice": (2 / 3 + 2 / 5) / 2,
    "dice_all_classes": (10 / 14 + 2 / 3 + 2 / 5) / 3,
    "iou_class0": 5 / 9,
    "iou_class1": 1 / 2,
    "iou_class2": 1 / 4,
    "iou": 3 / 8,
    "iou_all_classes": (5 / 9 + 1 / 2 + 1 / 4) / 3,
    "sensitivity_class0": 5 / 7,
    "sensitivity_class1": 1 / 2,
    "sensitivity_class2": 1 / 2,
    "sensitivity": 1 / 2,
    "sensitivity_all_classes": (5 / 7 + 1 / 2 + 1 / 2) / 3,
    "precision_class0": 5 / 7,
    "precision_class1": 1,
    "precision_class2": 1 / 3,
    "precision": 2 / 3,
    "specificity_class0": 2 / 4,
    "specificity_class1": 9 / 9,
    "specificity_class2": 7 / 9,
    "specificity": 8 / 9,
    "pixel_accuracy": 7 / 11,
    # Images, class 1: A 2/3; class 2: A 0, B 1/2; the other three are empty.
    "dice_coef": (1 / 3 + 3 / 4 + 1) / 3,
    "dice_images_class1": 2 / 3,
    "dice_images_class2": 1 / 4,
    "dice_images": (2 / 3 + 1 / 4) / 2,
    "iou_images_class1": 1 / 2,
    "iou_images_class2": (0 + 1 / 3) / 2,
    "iou_images": (1 / 2 + 1 / 6) / 2,
    # Sums of y p 4.9 0.9 1.2, of y 7 2 2, of p 6.1 1.9 3.0.
    "soft_dice_flat": 15 / 23,
    "soft_dice_channels": (10.8 / 14.1 + 2.8 / 4.9 + 3.4 / 6) / 3,
    # Of A, B, C: sums of y p 2.1 1.3 3.6, of y and of p 4 3 4; the channels of each likewise.
    "soft_dice_images": (5.2 / 9 + 3.6 / 7 + 8.2 / 9) / 3,
    "soft_dice_images_channels": (
        (2.6 / 3.9 + 2.8 / 4.1 + 1.8 / 3) + (2 / 3.6 + 1 / 1.4 + 2.6 / 4) + (8.2 / 8.6 + 1 / 1.4 + 1)
    )
    / 9,
    # Wrong: A one channel at each of the last two pixels; B two at the first, one at the second.
    "binary_accuracy": 28 / 33,
}


def full_set(classes, *overrides):
    return build_metrics(load_config([f"OUTPUT.CLASSES={classes}", *overrides]), full=True)


def collect_all(metrics, masks, p, batch):
    return {name: value for metric in metrics for name, value in collect(metric, masks, p, batch).items()}


def test_all_metrics_by_hand_on_a_case_where_they_differ():
    masks, p = small_case()
    values = collect_all(full_set(3, f"DATASET.IGNORE_LABEL={VOID}"), masks, p, 2)
    assert values == pytest.approx(BY_HAND, abs=1e-6)
    means = [BY_HAND[name] for name in AVERAGING]
    assert len({round(value, 3) for value in means}) == len(means) == 17
    short = collect_all(build_metrics(load_config(["OUTPUT.CLASSES=3", f"DATASET.IGNORE_LABEL={VOID}"])), masks, p, 2)
    assert short == pytest.approx({name: BY_HAND[name] for name in short}, abs=1e-6)


@pytest.mark.parametrize(
    "rule, dice, iou",
    [
        ("one", ((2 / 3 + 1 + 1) / 3 + (0 + 1 / 2 + 1) / 3) / 2, ((1 / 2 + 1 + 1) / 3 + (0 + 1 / 3 + 1) / 3) / 2),
        ("zero", (2 / 3 / 3 + 1 / 2 / 3) / 2, (1 / 2 / 3 + 1 / 3 / 3) / 2),
        ("skip", BY_HAND["dice_images"], BY_HAND["iou_images"]),
    ],
)
def test_the_rule_for_empty_images(rule, dice, iou):
    masks, p = small_case()
    settings = f"DATASET.IGNORE_LABEL={VOID}", f"EVALUATION.EMPTY_IMAGES={rule}", "EVALUATION.METRICS=[images]"
    values = collect_all(full_set(3, *settings), masks, p, 3)
    assert (values["dice_images"], values["iou_images"]) == pytest.approx((dice, iou), abs=1e-6)
    empty = collect_all(full_set(3, *settings), 0 * masks, np.eye(3, dtype="float32")[0 * masks[..., 0]], 3)
    assert empty["dice_images"] == pytest.approx({"one": 1, "zero": 0, "skip": np.nan}[rule], nan_ok=True)


def test_the_confusion_matrix():
    masks, p = small_case()
    metric = ConfusionScores(3, VOID)
    collect(metric, masks, p, 2)
    assert metric.confusion_matrix().tolist() == [[5, 0, 2], [1, 1, 0], [1, 0, 1]]
    assert metric.confusion_matrix().dtype == np.int64
    np.testing.assert_array_equal(count_confusion(masks, p, VOID)[0], [[1, 0, 0], [1, 1, 0], [1, 0, 0]])
    foreground = (masks > 0).astype("uint8") + (masks == VOID) * (VOID - 1)
    single = ConfusionScores(1, VOID)
    collect(single, foreground, 1 - p[..., :1], 3)  # foreground where p0 < 0.5
    assert single.confusion_matrix().tolist() == [[5, 2], [1, 3]]


def numpy_scores(masks, p, void):
    """What follows from scikit-learn's confusion matrix, and the soft sums, in float64."""
    from sklearn.metrics import confusion_matrix

    truths, predictions = labels(masks, p)
    keep, classes = truths != void, max(p.shape[-1], 2)
    matrix = confusion_matrix(truths[keep], predictions[keep].astype(int), labels=range(classes))
    common, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    of_class = {
        "dice": 2 * common / (true + predicted),
        "iou": common / (true + predicted - common),
        "sensitivity": common / true,
        "precision": common / predicted,
        "specificity": (matrix.sum() - true - predicted + common) / (matrix.sum() - true),
    }
    scores = {name: values[1:].mean() for name, values in of_class.items()}
    first = 1 if p.shape[-1] == 1 else 0
    scores |= {f"{name}_class{k}": values[k] for name, values in of_class.items() for k in range(first, classes)}
    scores |= {f"{name}_all_classes": of_class[name].mean() for name in ("dice", "iou", "sensitivity")}
    scores["pixel_accuracy"] = common.sum() / matrix.sum()
    y = truths[..., None] if p.shape[-1] == 1 else np.eye(256)[truths][..., :classes]
    scores["binary_accuracy"] = np.mean((y[keep] > 0.5) == (p[keep] > 0.5))
    y, p = y * keep[..., None], p * keep[..., None]
    axes = {"soft_dice_flat": None, "soft_dice_channels": (0, 1, 2)}
    axes |= {"soft_dice_images": (1, 2, 3), "soft_dice_images_channels": (1, 2)}
    for name, summed in axes.items():
        scores[name] = np.mean((2 * (y * p).sum(summed) + 1) / ((y + p).sum(summed) + 1))
    return scores


@pytest.mark.parametrize("void", [None, VOID])
@pytest.mark.parametrize("classes", CLASSES)
def test_the_full_set_is_the_same_for_any_batch_size(classes, void):
    masks, p = make_set(classes)
    if void:
        masks[:, 3:9, 5:20] = void
    settings = [f"DATASET.IGNORE_LABEL={void}"] if void else []
    values = [collect_all(full_set(classes, *settings), masks, p, batch) for batch in (1, 3, 7, 10)]
    for other in values[1:]:
        assert other == pytest.approx(values[0], abs=1e-6)
    expected = numpy_scores(masks, p.astype("float64"), void)
    assert {name: values[0][name] for name in expected} == pytest.approx(expected, abs=1e-6)
    names = {name for name in values[0] if not name.startswith(("dice_images", "iou_images")) and name != "dice_coef"}
    assert names == set(expected)


def test_every_result_says_how_it_averages():
    masks, p = make_set(3)
    for name in collect_all([*full_set(3), *build_metrics(load_config(["OUTPUT.CLASSES=3"]))], masks, p, 10):
        assert averaging(name), name
    assert averaging("loss") is None and averaging("dice_class12") == AVERAGING["dice"]


def test_the_config_chooses_the_metrics():
    assert len(full_set(2)) == len(EVALUATION_METRICS)
    assert [metric.name for metric in full_set(2, "EVALUATION.METRICS=[confusion]")] == ["confusion"]


def test_a_mean_over_many_images_does_not_drift():
    """100,000 images whose score is no sum of a few powers of two."""
    metric = DiceCoefficient()
    truth, p = np.array([1, 1, 0], "uint8").reshape(1, 1, 3), np.array([1.0, 1.0, 1.0], "float32").reshape(1, 1, 3, 1)
    metric.update_state(truth, p)
    step = tf.function(lambda: metric.update_state(np.repeat(truth, 512, 0), np.repeat(p, 512, 0)))
    for _ in range(200):
        step()
    assert float(metric.result()) == pytest.approx(0.8, abs=2e-7)


def test_metrics_are_made_again_from_their_config():
    for metric in full_set(3, f"DATASET.IGNORE_LABEL={VOID}", "EVALUATION.EMPTY_IMAGES=zero"):
        again = type(metric).from_config(metric.get_config())
        assert again.get_config() == metric.get_config() and again.ignore_label == VOID


MIRRORED = """
import json, sys

import keras
import numpy as np
import tensorflow as tf
from losses import build_metrics
from utils.config import load_config

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
data = np.load(sys.argv[1])
for strategy in (tf.distribute.OneDeviceStrategy("cpu:0"), tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])):
    with strategy.scope():
        image = keras.Input((24, 24, 3))
        model = keras.Model(image, keras.layers.Identity()(image))
        cfg = load_config(["OUTPUT.CLASSES=3"])
        metrics = [*build_metrics(cfg)[:1], *build_metrics(cfg, full=True)[1:]]
        model.compile(loss="mse", metrics=metrics, jit_compile=False)
    logs = model.evaluate(data["p"], data["maps"], batch_size=4, return_dict=True, verbose=0)
    print(json.dumps({name: float(value) for name, value in logs.items() if name != "loss"}))
    print(json.dumps(metrics[1].confusion_matrix().tolist()))
"""


def test_two_replicas_give_the_result_of_one(tmp_path):
    """Keras's own `evaluate` under MirroredStrategy, with a partial last batch."""
    masks, p = make_set(3)
    np.savez(tmp_path / "data.npz", maps=np.eye(3, dtype="float32")[masks[..., 0]], p=p)
    (tmp_path / "mirrored.py").write_text(MIRRORED)
    done = run_warm(tmp_path / "mirrored.py", tmp_path / "data.npz", PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    single, matrix, mirrored, same_matrix = (json.loads(line) for line in done.stdout.splitlines()[-4:])
    expected = collect_all(full_set(3), masks, p, 10)
    assert single == pytest.approx(expected, abs=1e-6)
    assert mirrored == pytest.approx(expected, abs=1e-6)
    assert matrix == same_matrix and sum(map(sum, matrix)) == masks.size


def test_without_background_class_0_counts_in_every_mean():
    """Four pixels of class 0, one of them predicted as 1; two of class 1, both right."""
    masks, predicted = np.array([[[0, 0, 0], [0, 1, 1]]]), np.array([[[1, 0, 0], [0, 1, 1]]])
    p = np.eye(2, dtype=np.float32)[predicted]
    dice0, dice1, iou0, iou1 = 6 / 7, 4 / 5, 3 / 4, 2 / 3
    for metric, names in (
        (OverlapScores(2, background=False), ("dice", "iou")),
        (ConfusionScores(2, background=False), ("dice", "iou")),
        (ImageScores(2, background=False), ("dice_images", "iou_images")),
    ):
        found = collect(metric, masks, p, 1)
        assert found[names[0]] == pytest.approx((dice0 + dice1) / 2, abs=1e-6)
        assert found[names[1]] == pytest.approx((iou0 + iou1) / 2, abs=1e-6)
        assert found[f"{names[0]}_class0"] == pytest.approx(dice0, abs=1e-6)
        assert type(metric).from_config(metric.get_config()).background is False
    assert collect(DiceCoefficient(background=False), masks, p, 1)["dice_coef"] == pytest.approx((dice0 + dice1) / 2)
    assert collect(ConfusionScores(2, background=False), masks, p, 1)["sensitivity"] == pytest.approx((3 / 4 + 1) / 2)
