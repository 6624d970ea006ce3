"""Overlapping classes: every loss and metric is that of its channels, each taken as a single class."""

import numpy as np
import pytest

from losses import LOSSES, build_loss, build_metrics
from losses.count_scores import confusion_of_masks
from losses.metrics.counts import count_tables
from utils.base.class_bits import pack, unpack
from utils.base.ignored_classes import known_only, with_ignored
from utils.config import load_config

tf = pytest.importorskip("tensorflow")

CLASSES = 3
OVERLAP = ["OUTPUT.MULTI_LABEL=True", f"OUTPUT.CLASSES={CLASSES}"]
SINGLE = ["OUTPUT.CLASSES=1"]
# Terms that take the areas of all classes together: those of the channels side by side in one image.
OF_ALL_AREAS = ("iou", "dice", "bce_dice", "bce_dice_half", "combo")


def make_batch(side=16, images=2):
    """Stacks of 0 and 1, the second image without the last class, and probabilities."""
    rng = np.random.default_rng(3)
    stacks = rng.integers(0, 2, (images, side, side, CLASSES)).astype("uint8")
    stacks[1, ..., -1] = 0
    return stacks, rng.uniform(0.02, 0.98, stacks.shape).astype("float32")


def one_term(name, *overrides):
    cfg = load_config(["loss=dice", *overrides])
    cfg.LOSS = {name: 1}
    return build_loss(cfg)


@pytest.mark.parametrize("ignore", [[], ["DATASET.IGNORE_LABEL=255"]])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_that_of_its_channels(name, ignore):
    stacks, p = make_batch(side=LOSSES[name].smallest_side + 5)
    values = pack(stacks)
    single = stacks.copy()
    if ignore:
        values[:, :4] = single[:, :4] = 255
    extra = [np.random.default_rng(0).random((*p.shape[:3], 1)).astype("float32")]
    extra = extra if LOSSES[name].needs_boundary_weights else []
    loss = one_term(name, *SINGLE, *ignore)
    if name in OF_ALL_AREAS:
        expected = loss(*(np.concatenate(np.split(maps, CLASSES, axis=-1), axis=2) for maps in (single, p)))
    else:
        expected = np.mean([loss(single[..., [n]], p[..., [n]], *extra) for n in range(CLASSES)])
    overlapping = one_term(name, *OVERLAP, *ignore)
    assert float(overlapping(values, p, *extra)) == pytest.approx(float(expected), rel=1e-5)
    assert float(overlapping(values[..., None], p, *extra)) == float(overlapping(values, p, *extra))
    if not ignore:
        assert float(overlapping(stacks, p, *extra)) == float(overlapping(values, p, *extra))


# Terms that are the mean over all pixels and classes that count, not the mean over classes of theirs.
OF_ALL_PIXELS = ("bce", "cce", "focal", "boundary_weighted_ce", "ssim")


@pytest.mark.parametrize("name", LOSSES)
def test_a_class_is_ignored_by_itself(name):
    """A channel with ignored pixels of its own is what a single class with these pixels ignored is."""
    stacks, p = make_batch(side=LOSSES[name].smallest_side + 5)
    ignored, single = np.zeros(stacks.shape, bool), stacks.copy()
    ignored[:, :9, :, 0] = ignored[0, :, 3:8, 2] = True
    single[ignored] = 255
    stacks[ignored] = 0
    values = with_ignored(pack(stacks), ignored)
    values[:, -2:], single[:, -2:] = 255, 255  # of all classes, as augmentation fills what it shows beyond the edge
    extra = [np.random.default_rng(0).random((*p.shape[:3], 1)).astype("float32")]
    extra = extra if LOSSES[name].needs_boundary_weights else []
    loss = one_term(name, *SINGLE, "DATASET.IGNORE_LABEL=255")
    if name in OF_ALL_AREAS:
        expected = loss(*(np.concatenate(np.split(maps, CLASSES, axis=-1), axis=2) for maps in (single, p)))
    else:
        of_classes = [float(loss(single[..., [n]], p[..., [n]], *extra)) for n in range(CLASSES)]
        valid = single[:, 5:-5, 5:-5] != 255 if name == "ssim" else single != 255
        expected = np.average(of_classes, weights=valid.sum((0, 1, 2)) if name in OF_ALL_PIXELS else None)
    found = one_term(name, *OVERLAP, "DATASET.IGNORE_LABEL=255")(values[..., None], p, *extra)
    # Differences of means cancel in the five levels of MS-SSIM, in float32.
    assert float(found) == pytest.approx(float(expected), rel=1e-4 if name == "ms_ssim" else 1e-5)


def test_class_weights_are_of_what_is_absent_and_of_each_class():
    stacks, p = make_batch()
    y, q = stacks.astype("float64"), p.astype("float64")
    weighted = -0.5 * (1 - y) * np.log(1 - q) - np.array([1, 2, 3]) * y * np.log(q)
    for name in ("bce", "cce"):
        loss = one_term(name, *OVERLAP, f"LOSS_OPTIONS.{name}.class_weights=[0.5,1,2,3]")
        assert float(loss(pack(stacks), p)) == pytest.approx(weighted.mean(), rel=1e-5)
    of_present = -4 * y * (1 - q) ** 2 * np.log(q)
    foreground = one_term("focal", *OVERLAP, "LOSS_OPTIONS.focal.background=False")
    assert float(foreground(pack(stacks), p)) == pytest.approx(of_present.mean(), rel=1e-5)


# Scores of all classes together; the share of right decisions is one, where classes have other numbers of pixels.
POOLED = ("soft_dice_flat", "soft_dice_images", "dice_images", "iou_images")


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_a_metric_is_that_of_its_channels(full, by_class):
    stacks, p = make_batch()
    values = pack(stacks)
    if by_class:
        ignored = np.random.default_rng(1).random(stacks.shape) < 0.2
        values = with_ignored(pack(np.where(ignored, 0, stacks)), ignored)
        stacks = np.where(ignored, np.uint8(255), stacks)
    values[0, 0] = stacks[0, 0] = 255

    def results(overrides, truth, probabilities):
        found = {}
        for metric in build_metrics(load_config([*overrides, "DATASET.IGNORE_LABEL=255"]), full):
            metric.update_state(truth, probabilities)
            assert type(metric).from_config(metric.get_config()).get_config() == metric.get_config()
            value = metric.result()
            found |= {
                name: float(v) for name, v in (value if isinstance(value, dict) else {metric.name: value}).items()
            }
        return found

    found = results(OVERLAP, values[..., None], p)
    of_channels = [results(SINGLE, stacks[..., [n]], p[..., [n]]) for n in range(CLASSES)]
    assert not [name for name in found if name.endswith(("_class0", "_all_classes"))]
    for name, value in found.items():
        if "_class" in name:
            base, _, number = name.rpartition("_class")
            assert value == pytest.approx(of_channels[int(number) - 1][f"{base}_class1"], rel=1e-5), name
        elif name not in (*POOLED, *(["binary_accuracy"] if by_class else [])):
            assert value == pytest.approx(np.nanmean([one[name] for one in of_channels]), rel=1e-5), name
    assert ("sensitivity_class3" in found) == full and "dice_class3" in found


@pytest.mark.parametrize("model", ["unet3plus_deepsup_cgm", "unet"])
def test_a_model_has_a_sigmoid_of_each_class(model):
    from losses.supervision import build_output_metrics, build_training_loss
    from models import build_model

    cfg = load_config([f"MODEL.TYPE={model}", "MODEL.FILTERS=[4,8]", "loss=dice", *OVERLAP])
    network = build_model(cfg, size=(32, 32))
    assert {layer.activation.__name__ for layer in network.layers if layer.name.endswith("_sigmoid")} == {"sigmoid"}
    assert not [layer.name for layer in network.layers if "softmax" in layer.name]
    outputs = network(np.random.default_rng(0).random((2, 32, 32, 3)).astype("float32"))
    assert outputs["mask"].shape == (2, 32, 32, CLASSES)
    truth = pack(make_batch(32)[0])[..., None]
    assert np.isfinite(float(build_training_loss(cfg)(truth, outputs)))
    if "presence" in outputs:
        assert outputs["presence"].shape == (2, CLASSES)
        metric = build_output_metrics(cfg, outputs)["presence"][0]
        metric.update_state(truth, np.array([[1, 1, 1], [1, 1, 0]], "float32"))
        assert float(metric.result()) == 1


def test_a_single_class_is_the_same_with_and_without():
    stacks, p = make_batch()
    for name in ("focal", "bce", "tversky"):
        values = [float(one_term(name, *SINGLE, *more)(stacks[..., :1], p[..., :1])) for more in ([], OVERLAP[:1])]
        assert values[0] == values[1]


def test_bits():
    labels = np.arange(256, dtype="uint8")
    assert (pack(unpack(labels, 8)) == labels).all() and unpack(labels, 8).dtype == np.uint8


def test_tables_of_masks_are_those_of_the_metrics():
    stacks, p = make_batch()
    ignored = np.random.default_rng(1).random(stacks.shape) < 0.3
    values = with_ignored(pack(np.where(ignored, 0, stacks)), ignored)
    values[0, :2] = 255
    tables = confusion_of_masks(values, pack(p > 0.5), CLASSES + 1, 255, multi_label=True)
    assert (tables == np.asarray(count_tables(values[..., None], p, 255)).sum(0)).all()
    counts = ~ignored
    counts[0, :2] = False
    for index in range(CLASSES):
        known = counts[..., index]
        true, found = stacks[..., index][known], p[..., index][known] > 0.5
        assert tables[index + 1].tolist() == [[np.sum((true == a) & (found == b)) for b in (0, 1)] for a in (0, 1)]
        assert tables[index + 1].sum() == known.sum()
    known = ((stacks > 0) & counts).any(-1) | counts.all(-1)
    assert tables[0].sum() == known.sum()
    truth, predicted = known_only(values[1], pack(p[1] > 0.5))
    assert (unpack(predicted, CLASSES) == (p[1] > 0.5) & ~ignored[1]).all() and truth.dtype == np.uint8
