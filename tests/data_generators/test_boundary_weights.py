"""The border weights against SciPy, by hand, and on their way to the loss."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import TINY, installed, source_of
from scipy import ndimage

from data_generators import LOADERS, build_dataset
from data_generators.reading.boundary_weights import boundary_weights
from evaluate import evaluate
from losses import build_loss
from losses.supervision import build_training_loss, presence_target
from predict import predict
from train import train
from utils.config import load_config


def by_scipy(mask, w0, sigma, void=None):
    """The definition, with the distance of every pixel to every object."""
    labels = mask[..., 0]
    components, count = ndimage.label((labels > 0) & (labels != (void or 0)))
    if count < 2:
        return np.zeros(mask.shape)
    distances = np.sort([ndimage.distance_transform_edt(components != index + 1) for index in range(count)], axis=0)
    return np.where(labels == 0, w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2)), 0)[..., None]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_weights_equal_scipy(seed, sigma):
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=(70, 90)), 3)
    mask = np.digitize(blobs, [0.04, 0.12]).astype("uint8")[..., None]
    if seed % 2:
        mask[rng.random(mask.shape) < 0.02] = 7
    weights = boundary_weights(mask, 10.0, sigma, 7 if seed % 2 else None)
    assert weights.dtype == np.float32 and weights.shape == mask.shape and weights.max() > 1e-3
    np.testing.assert_allclose(weights, by_scipy(mask, 10.0, sigma, 7 if seed % 2 else None), atol=1e-5)


@pytest.mark.parametrize("shape, sigma", [((97, 130), 5.0), ((64, 1100), 400.0)])
def test_weights_do_not_depend_on_where_arrays_lie_in_memory(shape, sigma):
    """The last bit of OpenCV's distances does."""
    rng = np.random.default_rng(1)
    mask = (ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0.12).astype("uint8")[..., None]
    mask[:, shape[1] // 2 :] *= shape[1] < 1000  # leaves distances of 500 pixels and more
    first = boundary_weights(mask, 10.0, sigma)
    np.testing.assert_allclose(first, by_scipy(mask, 10.0, sigma), atol=1e-5)
    kept = []
    with ThreadPoolExecutor(4) as threads:
        for size in range(1, 60, 3 if shape[1] < 1000 else 30):
            kept.append(np.empty(size * 16 + 5, np.uint8))  # moves what is allocated next
            for weights in threads.map(lambda _: boundary_weights(mask, 10.0, sigma), range(4)):
                np.testing.assert_array_equal(weights, first)


def test_weights_by_hand():
    mask = np.zeros((1, 7, 1), "uint8")
    mask[0, [0, 4, 5]] = 1
    weights = boundary_weights(mask, 10.0, 5.0)[0, :, 0]
    gap, outside = 10 * np.exp(-(4**2) / 50), 10 * np.exp(-((1 + 6) ** 2) / 50)
    np.testing.assert_allclose(weights, [0, gap, gap, gap, 0, 0, outside], rtol=1e-6)


@pytest.mark.parametrize("objects", [0, 1])
def test_fewer_than_two_objects_have_no_border(objects):
    mask = np.zeros((20, 30, 1), "uint8")
    mask[5:9, 5:9] = objects
    assert not boundary_weights(mask, 10.0, 5.0).any()


def test_ignored_pixels_are_neither_object_nor_weighted():
    mask = np.zeros((9, 20, 1), "uint8")
    mask[:, :5], mask[:, 8:10], mask[:, 13:] = 1, 7, 1
    weights = boundary_weights(mask, 10.0, 5.0, 7)
    assert not weights[mask == 7].any()
    np.testing.assert_allclose(weights[mask == 0], 10 * np.exp(-(9**2) / 50), rtol=1e-6)


BOUNDARY = ["loss=boundary", "LOSS_OPTIONS.boundary_weighted_ce.sigma=2", "VERBOSE=0"]


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_batches_carry_the_weights_of_their_masks(loader, phantom):
    settings = [f"WORK_DIR={phantom}", *TINY, f"DATA_GENERATOR_TYPE={loader}", *source_of(loader, phantom)]
    _, mask, border = next(iter(build_dataset(load_config([*settings, *BOUNDARY]), "val")))
    assert np.asarray(border).dtype == np.float32
    for one_mask, one_border in zip(np.asarray(mask), np.asarray(border), strict=True):
        np.testing.assert_array_equal(one_border, boundary_weights(one_mask, 10.0, 2.0))
    for cfg, wanted in ((load_config([*settings, *BOUNDARY]), False), (load_config([*settings, "loss=dice"]), True)):
        plain = next(iter(build_dataset(cfg, "val", boundary_weights=wanted)))
        assert len(plain) == 2
        np.testing.assert_array_equal(plain[1], mask)


# What the other loaders give to it is tested above, and the training from shards in test_tfrecord.py.
@pytest.mark.parametrize(
    "loader",
    [
        pytest.param(name, marks=[] if name == "TF_GENERATOR" else pytest.mark.slow)
        for name in installed(LOADERS)
        if name != "TFRECORD"
    ],
)
def test_training_evaluation_and_prediction(loader, phantom, tmp_path):
    shutil.copytree(phantom / "data", tmp_path / "data")
    size = ["MODEL.TYPE=conv_deconv", "MODEL.FILTERS=[4,6,8]", *TINY[2:], "HYPER_PARAMETERS.EPOCHS=1"]
    history = train(load_config([f"WORK_DIR={tmp_path}", *size, *BOUNDARY, f"DATA_GENERATOR_TYPE={loader}"]))
    assert np.isfinite(history["loss"]).all()
    trained = load_config([f"WORK_DIR={tmp_path}", *size[:1], "VERBOSE=0"])
    assert evaluate(trained)["loss"] == pytest.approx(history["val_loss"][0], rel=1e-5)
    assert len(list((predict(trained) / "masks").iterdir())) == 10


def test_every_mask_output_is_weighted():
    cfg = load_config(["loss=boundary"])
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (2, 8, 8, 1)).astype("uint8")
    first, second = rng.dirichlet((1, 1), (2, 2, 8, 8)).astype("float32")
    border = rng.random((2, 8, 8, 1)).astype("float32")
    loss, of_one = build_training_loss(cfg), build_loss(cfg)
    both = float(loss(truth, {"mask": first, "mask_stride2": second}, border))
    assert both == pytest.approx(float(of_one(truth, first, border)) + float(of_one(truth, second, border)), rel=1e-6)
    assert both > float(loss(truth, {"mask": first, "mask_stride2": second}, 0 * border))


def test_void_is_not_present_for_the_classifier_of_the_cgm():
    masks = np.array([[2, 9], [0, 0]], "uint8").reshape(2, 1, 2, 1)
    assert presence_target(masks, 3, 9).numpy().tolist() == [[0, 1], [0, 0]]
    assert presence_target(np.where(masks == 9, 9, 0), 1, 9).numpy().tolist() == [[0], [0]]
