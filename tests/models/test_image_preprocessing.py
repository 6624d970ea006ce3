"""Image preprocessing inside the network: values as NumPy's, statistics of the training set, in every export format."""

import cv2
import numpy as np
import pytest
from helpers import make_weights

from data_generators.reading.decoding import to_unit_range
from data_generators.reading.value_range import to_uint16
from data_preparation.common.intensity_statistics import with_statistics
from data_preparation.verify_data import verify_data
from export import export
from models import build_model
from models.image_preprocessing import IMAGE_PREPROCESSING
from models.layers.intensities import PreprocessImage
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.checkpoints import companion_path, restore_config, weights_path
from utils.checkpoints.saved_config import read_config
from utils.config import load_config
from utils.config.intensities import STATISTICS
from utils.export.formats import FORMATS, check_export

GROUP = "PREPROCESS_DATA"
KIND = f"{GROUP}.IMAGE_PREPROCESSING_TYPE"
SMALL = ["MODEL.TYPE=conv_deconv", "MODEL.FILTERS=[4,6,8]", "INPUT.HEIGHT=40", "INPUT.WIDTH=50", "VERBOSE=0"]
NUMBERS = {"LOW": [0.1, 0.2], "HIGH": [0.6, 0.7], "MEAN": [0.3, 0.4], "STD": [0.1, 0.0]}


@pytest.fixture(scope="module")
def images():
    """`(batch, height, width, channels)`: two with a black border, one of a single value, one black."""
    images = np.random.default_rng(0).random((4, 40, 50, 2)).astype(np.float32) ** 2
    images[:, :10] = 0
    images[2], images[3] = 0.3, 0
    return images


def apply(images, kind, **settings):
    return np.asarray(PreprocessImage(kind, settings)(images))


def of_channels(images, function):
    return np.stack([np.stack([function(c) for c in np.moveaxis(i, -1, 0)], axis=-1) for i in images])


@pytest.mark.parametrize("foreground", [False, True])
def test_zscore_as_numpy(images, foreground):
    def expected(values):
        counted = values[values > 0] if foreground else values
        scaled = (values.astype(float) - counted.mean(dtype=float)) / counted.std(dtype=float)
        return np.where(values > 0, scaled, 0) if foreground else scaled

    found = apply(images, "zscore", FOREGROUND=foreground)
    np.testing.assert_allclose(found[:2], of_channels(images[:2], expected), atol=2e-5)
    assert np.abs(found[2:]).max() < 0.01, "one value becomes 0"


@pytest.mark.parametrize("foreground", [False, True])
@pytest.mark.parametrize("percentiles", [[0.5, 99.5], [20, 77], [0, 100]])
def test_percentile_as_numpy(images, foreground, percentiles):
    def expected(values):
        low, high = np.percentile(values[values > 0] if foreground else values, percentiles)
        return np.clip((values - low) / (high - low), 0, 1)

    found = apply(images, "percentile", FOREGROUND=foreground, PERCENTILES=percentiles)
    np.testing.assert_allclose(found[:2], of_channels(images[:2], expected), atol=2e-5)
    assert np.abs(found[2:]).max() < 0.01, "one value becomes 0"


def test_dataset_as_numpy(images):
    found = apply(images, "dataset", PERCENTILES=[0.5, 99.5], STATISTICS=NUMBERS)
    np.testing.assert_allclose(found[..., 0], (np.clip(images[..., 0], 0.1, 0.6) - 0.3) / 0.1, atol=1e-5)
    assert np.isfinite(found).all(), "a deviation of 0"


@pytest.mark.parametrize("foreground", [False, True, "mask"])
def test_statistics_of_the_training_set_as_numpy(images, foreground):
    settings = {"SCOPE": "dataset", "FOREGROUND": foreground, "STATISTICS": NUMBERS}
    scaled = (images[..., 0].astype(float) - 0.3) / 0.1
    expected = np.where(images[..., 0] > 0, scaled, 0) if foreground is True else scaled
    np.testing.assert_allclose(apply(images, "zscore", **settings)[..., 0], expected, atol=2e-5)
    expected = np.clip((images.astype(float) - [0.1, 0.2]) / 0.5, 0, 1)
    np.testing.assert_allclose(apply(images, "percentile", **settings), expected, atol=2e-6)


def test_statistics_are_of_each_channel_by_itself_and_ranges_of_all():
    """As docs/how-to/intensities.md says of each type; the channels differ a hundredfold."""
    stored = (np.random.default_rng(2).random((40, 50, 3)) * [600, 6000, 60000]).astype(np.uint16)
    image = stored / np.float32(65535)
    low, high, mean, std = (
        *np.percentile(image, [2, 98], axis=(0, 1)),
        image.mean(axis=(0, 1)),
        image.std(axis=(0, 1)),
    )
    assert mean.max() > 90 * mean.min()
    numbers = dict(zip(("LOW", "HIGH", "MEAN", "STD"), map(np.ndarray.tolist, (low, high, mean, std)), strict=True))
    expected = {
        "zscore": (image - mean) / std,
        "percentile": np.clip((image - low) / (high - low), 0, 1),
        "dataset": (np.clip(image, low, high) - mean) / std,
    }
    for kind, values in expected.items():
        found = apply(image[None], kind, FOREGROUND=False, PERCENTILES=[2, 98], STATISTICS=numbers)[0]
        np.testing.assert_allclose(found, values, atol=1e-3, err_msg=kind)
    one_range = np.clip((stored - 500.0) / 5000, 0, 1)  # normalize with VALUE_RANGE, and window
    np.testing.assert_allclose(to_unit_range(to_uint16("a.png", stored, (500, 5500))), one_range, atol=1e-5)
    assert set(IMAGE_PREPROCESSING) == {*expected, "normalize", "window"}


def write_set(folder, kinds, **options):
    """A split of each kind; returns images and masks of training."""
    random, written = np.random.default_rng(1), []
    for split in ("train", "val"):
        for index, kind in enumerate(kinds):
            image = random.integers(0, np.iinfo(kind).max, (24, 32, 3), kind)
            mask = random.integers(0, 3, (24, 32), np.uint8)
            for name, pixels in (("images/image", image), ("mask/mask", mask)):
                path = folder / f"data/{split}/{name}_1_{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
            if split == "train":
                written.append((image[..., ::-1] / np.iinfo(kind).max, mask))
    return written


def config(folder, *overrides):
    size = ["INPUT.HEIGHT=24", "INPUT.WIDTH=32", "OUTPUT.CLASSES=3"]
    return load_config([f"WORK_DIR={folder}", "VERBOSE=0", *size, f"{KIND}=dataset", *overrides])


@pytest.mark.parametrize("ignored", [None, 2])
@pytest.mark.parametrize("background", [True, False])
def test_statistics_are_those_of_the_whole_training_set(tmp_path, background, ignored):
    pairs = write_set(tmp_path, [np.uint8, np.uint16, np.uint8])
    overrides = [f"OUTPUT.BACKGROUND={background}", f"{GROUP}.PERCENTILES=[3,95.5]"]
    overrides += [] if ignored is None else ["DATASET.IGNORE_LABEL=2", "OUTPUT.CLASSES=2"]
    cfg = config(tmp_path, *overrides)
    found = verify_data(cfg)
    assert "intensity_statistics" not in found["val"]
    masks = [mask != ignored if not background else (mask > 0) & (mask != ignored) for _, mask in pairs]
    values = np.concatenate([image[mask] for (image, _), mask in zip(pairs, masks, strict=True)])
    low, high = np.percentile(values, [3, 95.5], axis=0)
    expected = {"LOW": low, "HIGH": high, "MEAN": values.mean(axis=0), "STD": values.std(axis=0)}
    filled = with_statistics(cfg, found)
    for name, numbers in expected.items():
        np.testing.assert_allclose(filled.PREPROCESS_DATA.STATISTICS[name], numbers, rtol=1e-6)
    assert "intensity_statistics" not in verify_data(filled)["train"], "they are found once"
    assert with_statistics(filled, {}) is filled


@pytest.mark.parametrize("foreground", [False, True, "mask"])
@pytest.mark.parametrize("kind", ["zscore", "percentile"])
def test_the_training_set_is_measured_over_chosen_pixels(tmp_path, kind, foreground):
    pairs = write_set(tmp_path, [np.uint8, np.uint16])
    overrides = [f"{KIND}={kind}", f"{GROUP}.SCOPE=dataset", f"{GROUP}.FOREGROUND={foreground}"]
    cfg = config(tmp_path, *overrides, *([f"{GROUP}.PERCENTILES=[3,95.5]"] if kind == "percentile" else []))
    found = with_statistics(cfg, verify_data(cfg)).PREPROCESS_DATA.STATISTICS
    of_channels = []
    for channel in range(3):
        values = np.concatenate(
            [image[mask > 0 if foreground == "mask" else ..., channel].ravel() for image, mask in pairs]
        )
        of_channels.append(values[values > 0] if foreground is True else values)
    expected = {"MEAN": [values.mean() for values in of_channels], "STD": [values.std() for values in of_channels]}
    if kind == "percentile":
        low, high = np.transpose([np.percentile(values, [3, 95.5]) for values in of_channels])
        expected = {"LOW": low, "HIGH": high}
    assert {name for name, numbers in found.items() if numbers is not None} == set(expected)
    for name, numbers in expected.items():
        np.testing.assert_allclose(found[name], numbers, rtol=1e-6)


def test_a_classifier_measures_all_pixels_of_the_training_set(tmp_path):
    for split in ("train", "val"):
        for name, value in (("cat", 51), ("dog", 153)):
            folder = tmp_path / f"data/{split}/images/{name}"
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / "a.png"), np.full((24, 32, 3), value, np.uint8))
    overrides = [f"{KIND}=zscore", f"{GROUP}.SCOPE=dataset", "MODEL.TYPE=classifier", "OUTPUT.CLASSES=2"]
    cfg = config(tmp_path, *overrides)
    found = with_statistics(cfg, verify_data(cfg)).PREPROCESS_DATA.STATISTICS
    assert (found.MEAN, found.STD) == ([0.4] * 3, [0.2] * 3)


def test_statistics_need_values_above_0(tmp_path):
    write_set(tmp_path, [np.uint8])
    for path in (tmp_path / "data/train/images").iterdir():
        cv2.imwrite(str(path), np.zeros((24, 32, 3), np.uint8))
    cfg = config(tmp_path, f"{KIND}=zscore", f"{GROUP}.SCOPE=dataset", f"{GROUP}.FOREGROUND=True")
    with pytest.raises(UserError, match="measures the values above 0 of the training set, and a channel has none"):
        with_statistics(cfg, verify_data(cfg))


def test_statistics_need_foreground(tmp_path):
    write_set(tmp_path, [np.uint8])
    cv2.imwrite(str(tmp_path / "data/train/mask/mask_1_0.png"), np.zeros((24, 32), np.uint8))
    with pytest.raises(UserError, match="no mask of it has any"):
        cfg = config(tmp_path)
        with_statistics(cfg, verify_data(cfg))


def overrides_of(kind):
    """Of a kind, or of "zscore of dataset"."""
    kind, _, scope = kind.partition(" of ")
    names = STATISTICS[kind] if scope or kind == "dataset" else ()
    numbers = [f"{GROUP}.STATISTICS.{name}={NUMBERS[name]}" for name in names]
    return [f"{KIND}={kind}", "INPUT.CHANNELS=2", *numbers, *([f"{GROUP}.SCOPE={scope}"] if scope else [])]


ACTIVE = [kind for kind, row in IMAGE_PREPROCESSING.items() if row.function]
ACTIVE += ["zscore of dataset", "percentile of dataset"]


@pytest.mark.parametrize("kind", ACTIVE)
def test_the_network_preprocesses_in_float32(kind):
    small = ["MODEL.TYPE=conv_deconv", "MODEL.FILTERS=[4,6,8]", *overrides_of(kind)]
    layer = build_model(load_config(small), size=(16, 16)).layers[1]
    assert isinstance(layer, PreprocessImage) and layer.kind == kind.split()[0]
    assert PreprocessImage(layer.kind, layer.settings, dtype="mixed_float16").compute_dtype == "float32"


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        pytest.param(
            kind,
            form,
            marks=[] if f"{kind} {form}" in ("percentile onnx", "zscore of dataset onnx") else pytest.mark.slow,
        )
        for kind in ACTIVE
        for form in ("onnx", "tflite", "saved_model")
    ],
)
def test_exported_files_preprocess(kind, form, images, tmp_path):
    pytest.importorskip("tf2onnx" if form == "onnx" else "tensorflow")
    model = make_weights(tmp_path, [*SMALL, *overrides_of(kind)])
    stored = (images[:2] * 255).round().astype(np.uint8)  # of a single value, all classes are equally likely
    expected = model.predict(stored / np.float32(255), verbose=0).argmax(axis=-1)
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images/a.npy", stored[0])
    options = [f"EXPORT.FORMAT={form}", "EXPORT.PREPROCESS=True", "EXPORT.SIZE=dynamic"]
    path = export(load_config([f"WORK_DIR={tmp_path}", *SMALL, *options]))
    found = np.concatenate([load_object(FORMATS[form].run)(path)(image[None]) for image in stored])
    assert len(np.unique(expected)) > 1 and (found == expected).mean() > 0.995
    assert f"{kind.split()[0]}, inside" in path.with_name(f"{path.name}.md").read_text()


def test_weights_keep_their_preprocessing(tmp_path):
    make_weights(tmp_path, [*SMALL, *overrides_of("dataset")])
    command = [f"WORK_DIR={tmp_path}", *SMALL]
    assert restore_config(load_config(command)).PREPROCESS_DATA.STATISTICS == NUMBERS
    for override in (f"{KIND}=zscore", f"{GROUP}.PERCENTILES=[1,99]"):
        with pytest.raises(UserError, match="contradicts the weights"):
            restore_config(load_config([*command, f"{KIND}=dataset", override]))
    cfg = read_config(companion_path(weights_path(load_config(command)), ".yaml"))
    cfg.EXPORT.FORMAT, cfg.EXPORT.QUANTIZE = "tflite", "int8"
    with pytest.raises(UserError, match="int8 cannot hold"):
        check_export(cfg)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([f"{GROUP}.FOREGROUND=True"], "FOREGROUND=True: leave it out, or choose percentile or zscore"),
        ([f"{KIND}=zscore", f"{GROUP}.PERCENTILES=[1,99]"], "choose percentile or dataset"),
        ([f"{KIND}=zscore", f"{GROUP}.STATISTICS.MEAN=[1]"], "choose PREPROCESS_DATA.SCOPE=dataset"),
        ([f"{KIND}=zscore", f"{GROUP}.STATISTICS.LOW=[1]"], "choose percentile or dataset"),
        ([f"{KIND}=zscore", f"{GROUP}.SCOPE=dataset", f"{GROUP}.STATISTICS.MEAN=[1]"], "needs MEAN and STD together"),
        ([f"{KIND}=zscore", f"{GROUP}.FOREGROUND=mask"], "choose SCOPE=dataset"),
        ([f"{KIND}=dataset", f"{GROUP}.SCOPE=dataset"], "choose percentile or zscore"),
        ([f"{KIND}=dataset", f"{GROUP}.FOREGROUND=mask"], "choose percentile or zscore"),
        ([f"{KIND}=percentile", f"{GROUP}.PERCENTILES=[5,5]"], "two different numbers"),
        ([f"{KIND}=percentile", f"{GROUP}.PERCENTILES=[5,101]"], "at most 100"),
        ([f"{KIND}=dataset", f"{GROUP}.STATISTICS.MEAN=[1]"], "together, each with INPUT.CHANNELS=3"),
        ([f"{KIND}=dataset", f"{GROUP}.STATISTICS.STD=[1,-1,1]"], "STD=[1, -1, 1]: a standard deviation"),
        (
            [f"{KIND}=dataset", f"{GROUP}.STATISTICS={{LOW:[0.5],HIGH:[0.1]}}"],
            "LOW=[0.5] must not lie above HIGH=[0.1]",
        ),
        ([f"{KIND}=dataset", "MODEL.TYPE=classifier"], "choose zscore"),
        ([f"{KIND}=zscore", "DATASET.CROP.MODE=random"], "measures whole images"),
        ([f"{KIND}=zscore", "MODEL.BACKBONE.TYPE=vgg19", "MODEL.BACKBONE.WEIGHTS=imagenet"], "normalize or window"),
        ([f"{KIND}=minmax"], "is not known"),
    ],
)
def test_settings_that_would_be_ignored_or_wrong(overrides, words):
    with pytest.raises(UserError, match=words.replace("[", r"\[")):
        load_config(overrides)


def test_a_model_without_its_statistics_is_refused():
    with pytest.raises(UserError, match="which training finds"):
        build_model(load_config([f"{KIND}=dataset", "MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]"]), size=(32, 32))
