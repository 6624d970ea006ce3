"""The border weights against SciPy, by hand, and on their way to the loss."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from augmentation_helpers import batches
from helpers import TINY, installed, source_of
from scipy import ndimage

from data_generators import LOADERS, build_dataset
from data_generators.reading.boundary_weights import boundary_weights
from evaluate import evaluate
from losses import build_loss
from losses.supervision import build_training_loss, presence_target
from predict import predict
from train import train
from utils.base.errors import UserError
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


def by_scipy_of_objects(objects, w0, sigma):
    """Equation 2 with distances to the outline of each object: from outside to its pixels, from inside to others."""
    distances = [
        ndimage.distance_transform_edt(objects != number) + ndimage.distance_transform_edt(objects == number)
        for number in np.unique(objects[objects > 0])
    ]
    nearest, second, *_ = np.sort(distances, axis=0)
    return w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))


def test_touching_squares_have_a_border_on_their_seam_only_as_objects():
    """By hand: two squares of 4x4 pixels of one class, side by side."""
    objects = np.zeros((8, 12, 1), "int32")
    objects[2:6, 2:6], objects[2:6, 6:10] = 7, 70_000
    mask = (objects > 0).astype("uint8")
    assert not boundary_weights(mask, 10.0, 1.0).any()  # one piece
    weights = boundary_weights(mask, 10.0, 1.0, objects=objects)[:, :, 0]
    seam = 10 * np.exp(-((1 + 1) ** 2) / 2)
    # In a row through the middle: 2 pixels from the outline below, 1 to 4 from the seam.
    inside = 10 * np.exp(-((2 + 2) ** 2) / 2)
    np.testing.assert_allclose(weights[3, 4:8], [inside, seam, seam, inside], rtol=1e-6)
    np.testing.assert_allclose(weights[2:6, 5:7], seam, rtol=1e-6)
    np.testing.assert_allclose(weights[1, 5], 10 * np.exp(-((1 + np.sqrt(2)) ** 2) / 2), rtol=1e-6)  # above the seam
    np.testing.assert_allclose(weights[3, :2], 0, atol=1e-6)
    mask[:, 5:7] = 9  # ignored: neither object nor weighted, the others are three pixels apart
    weights = boundary_weights(mask, 10.0, 1.0, 9, objects)[:, :, 0]
    assert not weights[:, 5:7].any()
    np.testing.assert_allclose(weights[3, 4], 10 * np.exp(-((1 + 3) ** 2) / 2), rtol=1e-6)
    assert not boundary_weights(mask, 10.0, 1.0, objects=np.where(objects == 7, 7, 0)).any()  # a single object


@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_weights_between_objects_equal_scipy(sigma):
    rng = np.random.default_rng(3)
    seeds = ndimage.distance_transform_edt(rng.random((60, 80)) > 0.004, return_distances=False, return_indices=True)
    cells = seeds[0] * 80 + seeds[1] + 1  # the cell of each seed, without a gap
    objects = np.where(ndimage.gaussian_filter(rng.normal(size=cells.shape), 4) > 0, cells, 0)
    mask = (objects > 0).astype("uint8")
    weights = boundary_weights(mask[..., None], 10.0, sigma, objects=objects[..., None])[..., 0]
    assert weights[mask == 1].max() > 1
    np.testing.assert_allclose(weights, by_scipy_of_objects(objects, 10.0, sigma), atol=1e-5)


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


def cells(height, width, side):
    """A label image `(height, width)`: squares that touch, with gaps between their numbers."""
    rows, columns = np.indices((height, width)) // side
    return (300 * (1 + rows) + columns).astype("uint16")


def write_cells(folder):
    """Label images for the masks of `data/train` and `data/val`."""
    for path in (folder / "data").glob("*/mask/*.png"):
        (path.parents[1] / "objects").mkdir(exist_ok=True)
        cv2.imwrite(str(path.parents[1] / "objects" / path.name), cells(48, 48, 12))
    return [f"DATASET.{split}.OBJECTS_PATH=data/{split.lower()}/objects" for split in ("TRAIN", "VAL")]


@pytest.mark.parametrize("loader", installed(LOADERS))
def test_batches_carry_the_weights_of_true_objects(loader, phantom, tmp_path):
    shutil.copytree(phantom / "data", tmp_path / "data")
    folders = write_cells(tmp_path)
    settings = [f"WORK_DIR={tmp_path}", *TINY, *BOUNDARY, f"DATA_GENERATOR_TYPE={loader}", *source_of(loader, tmp_path)]
    plain = next(iter(build_dataset(load_config(settings), "val")))
    image, mask, border = next(iter(build_dataset(load_config([*settings, *folders]), "val")))
    np.testing.assert_array_equal(image, plain[0])
    np.testing.assert_array_equal(mask, plain[1])
    assert np.asarray(mask).dtype == np.uint8
    for one_mask, one_border in zip(np.asarray(mask), np.asarray(border), strict=True):
        objects = cells(48, 48, 12)[..., None]
        np.testing.assert_array_equal(one_border, boundary_weights(one_mask, 10.0, 2.0, objects=objects))


@pytest.mark.parametrize(
    "change, objects",
    [
        ("DATASET.CROP.MODE=center", cells(48, 48, 12)[12:36, 12:36]),
        ("PREPROCESS_DATA.RESIZE.VALUE=True", cells(24, 24, 6)),
    ],
)
def test_crops_and_resizing_move_objects_with_the_mask(change, objects, phantom, tmp_path):
    shutil.copytree(phantom / "data", tmp_path / "data")
    settings = [
        f"WORK_DIR={tmp_path}",
        *BOUNDARY,
        *TINY[:2],
        "INPUT.HEIGHT=24",
        "INPUT.WIDTH=24",
        *write_cells(tmp_path),
    ]
    cfg = load_config([*settings, change, "DATA_GENERATOR_TYPE=TF_GENERATOR"])
    _, masks, borders = next(iter(build_dataset(cfg, "val")))
    for mask, border in zip(masks, borders, strict=True):
        np.testing.assert_array_equal(border, boundary_weights(mask, 10.0, 2.0, objects=objects[..., None]))


AUGMENTED = [(loader, "albumentations") for loader in installed(LOADERS)]
AUGMENTED += [(loader, "tensorflow") for loader in ("TF_DATA", "TFRECORD")]


@pytest.mark.parametrize("loader, engine", AUGMENTED)
def test_augmentation_moves_objects_with_the_mask(loader, engine, stored):
    """Each class is an object here, so that the moved mask says where they are."""
    for path in (stored / "data").glob("*/mask/*.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        (path.parents[1] / "objects").mkdir(exist_ok=True)
        cv2.imwrite(str(path.parents[1] / "objects" / path.name), mask.astype("uint16") * 300)
    fill = ["AUGMENTATION.FILL=zero"] if loader == "DALI_GENERATOR" else []
    options = [f"AUGMENTATION.ENGINE={engine}", *fill, *source_of(loader, stored)]
    moved = 0
    for _, masks, borders in batches(
        stored, loader, "train", True, *options, "DATASET.TRAIN.OBJECTS_PATH=data/train/objects"
    ):
        assert masks.dtype == np.uint8
        for mask, border in zip(masks, borders, strict=True):
            expected = boundary_weights(mask, 10.0, 5.0, objects=mask)
            np.testing.assert_allclose(border, expected, rtol=1e-5, atol=1e-6)
            moved += expected.max() > 1
    assert moved


@pytest.mark.parametrize("resize", [True, False])
def test_label_images_that_do_not_fit_are_refused(resize, phantom, tmp_path):
    shutil.copytree(phantom / "data", tmp_path / "data")
    folders = write_cells(tmp_path)
    settings = [f"WORK_DIR={tmp_path}", *TINY, *BOUNDARY, *folders, f"PREPROCESS_DATA.RESIZE.VALUE={resize}"]
    first, second = sorted((tmp_path / "data/val/objects").iterdir())[:2]
    cv2.imwrite(str(first), np.zeros((24, 48), "uint16"))
    cfg = load_config([*settings, "DATA_GENERATOR_TYPE=TF_GENERATOR"])
    with pytest.raises(UserError, match=rf"{first}: is 24x48, the mask .*{first.name} 48x48"):
        next(iter(build_dataset(cfg, "val")))
    second.unlink()
    with pytest.raises(UserError, match=r"no label image in DATASET.VAL.OBJECTS_PATH"):
        build_dataset(cfg, "val")


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
