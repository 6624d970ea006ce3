"""DALI gives what the other loaders give, keeps image and mask together, and names what it lacks."""

import importlib.util
import shutil

import cv2
import numpy as np
import pytest
from conftest import PROJECT, TINY, run_command

from data_generators import build_dataset
from data_generators.dali import KNOBS, draw
from utils.config import load_config
from utils.errors import UserError

# Other packages of NVIDIA lie in the same folder: having that one is not enough.
has_dali = importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None
needs_dali = pytest.mark.skipif(not has_dali, reason="NVIDIA DALI is not installed (requirements-dali.txt)")
LEVELS = np.array([40, 200], np.uint8)


@pytest.fixture
def colours(tmp_path):
    """Five colour images of 48x64 whose red tells the class, others noise; the first is 16-bit."""
    rng = np.random.default_rng(0)
    for kind in ("images", "mask"):
        (tmp_path / "data/train" / kind).mkdir(parents=True)
    for number in range(5):
        smooth = cv2.GaussianBlur(rng.standard_normal((48, 64)), (0, 0), 6)
        mask = (smooth > 0).astype(np.uint8)
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        image[:, :, 2] = LEVELS[mask]
        if number == 0:
            image = image.astype(np.uint16) * 257
        cv2.imwrite(str(tmp_path / f"data/train/images/image_1_{number}.png"), image)
        cv2.imwrite(str(tmp_path / f"data/train/mask/mask_1_{number}.png"), mask)
    return tmp_path


def batches(folder, loader, *overrides, epochs=1):
    cfg = load_config(
        [f"WORK_DIR={folder}", f"DATA_GENERATOR_TYPE={loader}", "INPUT.HEIGHT=48", "INPUT.WIDTH=64", "loss=dice"]
        + ["AUGMENTATION.FILL=zero", *overrides]
    )
    dataset = build_dataset(cfg, "train", augment=True)
    return [[np.asarray(part) for part in batch] for _ in range(epochs) for batch in dataset]


@needs_dali
@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_those_of_the_other_loaders(channels, colours):
    options = [f"INPUT.CHANNELS={channels}", "loss=boundary"]
    ours, dali = (batches(colours, loader, *options, epochs=2) for loader in ("TF_DATA", "DALI_GENERATOR"))
    assert len(ours) == len(dali) == 6
    for one, two in zip(ours, dali, strict=True):
        np.testing.assert_allclose(one[0], two[0], atol=1 / 255 + 1e-6)
        np.testing.assert_array_equal(one[1], two[1])
        np.testing.assert_allclose(one[2], two[2], atol=1e-6)


@needs_dali
@pytest.mark.parametrize("knob", KNOBS[:6])
def test_the_mask_goes_where_the_image_goes(knob, colours):
    on = f"AUGMENTATION.{knob}.PROBABILITY=1.0"
    plain = batches(colours, "DALI_GENERATOR", epochs=2)
    found = batches(colours, "DALI_GENERATOR", on, "DATASET.IGNORE_LABEL=9", epochs=2)
    again = batches(colours, "DALI_GENERATOR", on, "DATASET.IGNORE_LABEL=9", epochs=2)
    for (image, mask), (same, _), (before, _) in zip(found, again, plain, strict=True):
        np.testing.assert_array_equal(image, same)
        assert not np.array_equal(image, before)
        assert set(np.unique(mask)) <= {0, 1, 9}
        kernel = np.ones((3, 3), np.uint8)
        for one, label in zip(image, mask[:, :, :, 0], strict=True):
            inside = (cv2.dilate(label, kernel) == cv2.erode(label, kernel)) & (label != 9)
            wrong = np.abs(one[:, :, 0][inside] - LEVELS[label[inside]] / 255) > 0.15
            assert inside.any() and wrong.mean() < 0.02


@needs_dali
def test_brightness_and_contrast(colours):
    (plain, _), *_ = batches(colours, "DALI_GENERATOR")
    knobs = [f"AUGMENTATION.{name}.PROBABILITY=1.0" for name in ("BRIGHTNESS", "CONTRAST")]
    ranges = ["AUGMENTATION.BRIGHTNESS.SHIFT=[0.1,0.1]", "AUGMENTATION.CONTRAST.FACTOR=[0.5,0.5]"]
    (changed, _), *_ = batches(colours, "DALI_GENERATOR", *knobs, *ranges)
    np.testing.assert_allclose(changed, plain * 0.5 + 0.1, atol=1e-5)


def test_draws_by_hand():
    identity = np.eye(2, 3, dtype=np.float32)
    np.testing.assert_allclose(draw({}, (48, 64), [1])[0], identity, atol=1e-6)
    flip = draw({"HORIZONTAL_FLIP": {"PROBABILITY": 1.0}}, (48, 64), [1])[0]
    np.testing.assert_allclose(flip, [[-1, 0, 64], [0, 1, 0]], atol=1e-5)
    zoom = {"PROBABILITY": 1.0, "FACTOR": [2.0, 2.0], "PAN": 0.0}
    np.testing.assert_allclose(draw({"ZOOM": zoom}, (48, 64), [1])[0], [[0.5, 0, 16], [0, 0.5, 12]], atol=1e-5)
    factors = [1 / draw({"ZOOM": zoom | {"FACTOR": [0.5, 4.0]}}, (48, 64), [n])[0][0, 0] for n in range(300)]
    assert min(factors) > 0.5 and max(factors) < 4 and 120 < np.sum(np.array(factors) < 1) < 180


@needs_dali
@pytest.mark.parametrize(
    "overrides, words",
    [
        (["augmentation=medical"], "AUGMENTATION.BLUR"),
        (["augmentation=light", "AUGMENTATION.FILL=reflect"], "AUGMENTATION.FILL=reflect"),
        (["augmentation=mapping_challenge"], "AUGMENTATION.ALBUMENTATIONS"),
        (["DATASET.CROP.MODE=random"], "DATASET.CROP.MODE"),
        (["PREPROCESS_DATA.RESIZE.VALUE=True"], "PREPROCESS_DATA.RESIZE.VALUE"),
        (["INPUT.CHANNELS=4"], "INPUT.CHANNELS=4"),
    ],
)
def test_what_it_lacks_is_an_error_at_the_start(overrides, words, colours):
    with pytest.raises(UserError, match=f"DALI_GENERATOR has no {words}"):
        batches(colours, "DALI_GENERATOR", *overrides)


def test_without_dali_the_message_names_the_other_loaders(colours, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UserError, match=r"requirements-dali\.txt.*TF_GENERATOR, TF_DATA or TFRECORD"):
        batches(colours, "DALI_GENERATOR")


BOTH = """
import sys
from train import train
from utils.config import load_config

for name, batch in (("single", 4), ("mirrored", 2)):
    cfg = [*sys.argv[1:], "STRATEGY.LOGICAL_CPUS=2", f"STRATEGY.NAME={name}", f"HYPER_PARAMETERS.BATCH_SIZE={batch}"]
    print("loss", train(load_config(cfg))["loss"][0])
"""


@needs_dali
def test_mirrored_training_on_two_logical_devices(phantom, tmp_path):
    """Two replicas that share a batch take the steps that one takes; test_loaders.py looks at what each is given."""
    shutil.copytree(phantom / "data", tmp_path / "data")
    options = [f"WORK_DIR={tmp_path}", *TINY[2:], "DATA_GENERATOR_TYPE=DALI_GENERATOR", "VERBOSE=0", "RESUME=never"]
    options += ["MODEL.TYPE=unet", "MODEL.FILTERS=[2,4]", "MODEL.DECODER.NORM=False", "loss=dice"]
    result = run_command("-c", BOTH, *options, "HYPER_PARAMETERS.EPOCHS=1", PYTHONPATH=str(PROJECT))
    assert result.returncode == 0, result.stderr[-3000:]
    one, two = (float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("loss"))
    assert one == pytest.approx(two, rel=1e-4)


@needs_dali
def test_a_gpu_that_dali_cannot_use(colours, monkeypatch, capsys):
    """TensorFlow says that there is one: DALI tries it, says why not, and works on the CPU."""
    import tensorflow as tf

    expected = batches(colours, "DALI_GENERATOR", "augmentation=light")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    found = batches(colours, "DALI_GENERATOR", "augmentation=light")
    assert "Note: DALI cannot use the GPU" in capsys.readouterr().err
    for batch, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(batch[0], wanted[0])
