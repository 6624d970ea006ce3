"""DALI gives what the other loaders give, keeps image and mask together, and names what it lacks."""

import shutil

import cv2
import numpy as np
import pytest
from helpers import PROJECT, TINY, needs_dali, run_command
from PIL import Image

from data_generators import build_dataset
from data_generators.augmentation.knobs import MATRIX, AugmentationSettings
from data_generators.loaders.dali_augmentation import INTENSITY_CHANGES, draw_inputs
from utils.base.errors import UserError
from utils.config import load_config

LEVELS = np.array([40, 200], np.uint8)


def draw(knobs, position=1):
    return draw_inputs(AugmentationSettings(knobs, seed=0), (48, 64, 3), 0, position)


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


def cut_square(folder):
    """Cut the pictures to 48x48; what the config needs to know of it."""
    for path in folder.glob("data/train/*/*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, :48])
    return ["INPUT.WIDTH=48"]


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
@pytest.mark.parametrize("knob", MATRIX)
def test_the_mask_goes_where_the_image_goes(knob, colours):
    square = cut_square(colours) if knob == "ROTATE_90" else []
    on = [f"AUGMENTATION.{knob}.PROBABILITY=1.0", "DATASET.IGNORE_LABEL=9", *square]
    on += ["AUGMENTATION.ZOOM.KEEP_FOREGROUND=False"]  # foreground is everywhere here: nothing would move
    plain = batches(colours, "DALI_GENERATOR", *square, epochs=2)
    found = batches(colours, "DALI_GENERATOR", *on, epochs=2)
    again = batches(colours, "DALI_GENERATOR", *on, epochs=2)
    for (image, mask), (same, _), (before, _) in zip(found, again, plain, strict=True):
        np.testing.assert_array_equal(image, same)
        assert knob == "ROTATE_90" or not np.array_equal(image, before)  # that may be no turn
        assert set(np.unique(mask)) <= {0, 1, 9}
        kernel = np.ones((3, 3), np.uint8)
        for one, label in zip(image, mask[:, :, :, 0], strict=True):
            inside = (cv2.dilate(label, kernel) == cv2.erode(label, kernel)) & (label != 9)
            wrong = np.abs(one[:, :, 0][inside] - LEVELS[label[inside]] / 255) > 0.15
            assert inside.any() and wrong.mean() < 0.02


@needs_dali
def test_zoom_keeps_the_foreground(colours):
    for path in (colours / "data/train/mask").iterdir():
        mask = np.zeros((48, 64), np.uint8)
        mask[40:48, 0:8] = 1  # in a corner
        cv2.imwrite(str(path), mask)
    on = ["AUGMENTATION.ZOOM.PROBABILITY=1.0", "AUGMENTATION.ZOOM.FACTOR=[2,2]", "AUGMENTATION.ZOOM.PAN=0.2"]
    kept = [mask.sum((1, 2, 3)) for _, mask in batches(colours, "DALI_GENERATOR", *on)]
    cut = [
        mask.sum((1, 2, 3))
        for _, mask in batches(colours, "DALI_GENERATOR", *on, f"{on[0][:17]}.KEEP_FOREGROUND=False")
    ]
    assert np.concatenate(kept).tolist() == pytest.approx([16**2] * 5, rel=0.13) and np.concatenate(cut).max() < 200


@needs_dali
def test_brightness_and_contrast(colours):
    (plain, _), *_ = batches(colours, "DALI_GENERATOR")
    knobs = [f"AUGMENTATION.{name}.PROBABILITY=1.0" for name in ("BRIGHTNESS", "CONTRAST")]
    ranges = ["AUGMENTATION.BRIGHTNESS.SHIFT=[0.1,0.1]", "AUGMENTATION.CONTRAST.FACTOR=[0.5,0.5]"]
    (changed, _), *_ = batches(colours, "DALI_GENERATOR", *knobs, *ranges)
    np.testing.assert_allclose(changed, np.clip(plain + 0.1, 0, 1) * 0.5, atol=1e-5)


@needs_dali
def test_quarter_turns_are_exact(colours):
    on, square = ["AUGMENTATION.ROTATE_90.PROBABILITY=1.0"], cut_square(colours)
    plain = [np.concatenate(part) for part in zip(*batches(colours, "DALI_GENERATOR", *square, epochs=4), strict=True)]
    found = batches(colours, "DALI_GENERATOR", *on, *square, epochs=4)
    found, seen = [np.concatenate(part) for part in zip(*found, strict=True)], set()
    for before, mask, after, turned in zip(*plain, *found, strict=True):
        (quarter,) = [k for k in range(4) if np.array_equal(np.rot90(before, k), after)]
        np.testing.assert_array_equal(np.rot90(mask, quarter), turned)
        seen.add(quarter)
    assert seen == {0, 1, 2, 3}


@needs_dali
@pytest.mark.parametrize("knob", INTENSITY_CHANGES)
def test_the_mask_stays_where_only_the_image_changes(knob, colours):
    """Half of the samples change, the others are as they were, and a second run draws the same."""
    on, count = [f"AUGMENTATION.{knob}.PROBABILITY=0.5"], 0
    plain, found, again = (batches(colours, "DALI_GENERATOR", *options, epochs=4) for options in ([], on, on))
    for (before, mask), (after, same), (repeated, _) in zip(plain, found, again, strict=True):
        np.testing.assert_array_equal(mask, same)
        np.testing.assert_array_equal(after, repeated)
        count += sum(np.abs(one - two).max() > 1e-3 for one, two in zip(before, after, strict=True))
    assert 4 <= count <= 16


@needs_dali
def test_values_of_gamma_noise_and_blur(colours):
    def changed(knob, value):
        return batches(colours, "DALI_GENERATOR", f"AUGMENTATION.{knob}.PROBABILITY=1.0", value)[0][0]

    plain = batches(colours, "DALI_GENERATOR")[0][0]
    np.testing.assert_allclose(changed("GAMMA", "AUGMENTATION.GAMMA.EXPONENT=[2,2]"), plain**2, atol=1e-5)
    difference = changed("NOISE", "AUGMENTATION.NOISE.STD=[0.05,0.05]") - plain
    inside = difference[(plain > 0.25) & (plain < 0.75)]  # five standard deviations from where it is cut off
    assert inside.std() == pytest.approx(0.05, rel=0.1) and abs(inside.mean()) < 0.002 and inside.size > 5000
    assert np.abs(difference[0] - difference[1]).max() > 0.1  # each has noise of its own
    blurred = changed("BLUR", "AUGMENTATION.BLUR.SIGMA=[1.5,1.5]")
    for one, before in zip(blurred, plain, strict=True):
        wanted = cv2.GaussianBlur(before, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(one, wanted, atol=1e-5)


@needs_dali
def test_holes_are_black_and_the_rest_stays(colours):
    options = ["AUGMENTATION.COARSE_DROPOUT.PROBABILITY=1.0", "AUGMENTATION.COARSE_DROPOUT.HOLES=[1,2]"]
    options += ["AUGMENTATION.COARSE_DROPOUT.SIZE=[0.25,0.5]"]
    (plain, _), *_ = batches(colours, "DALI_GENERATOR")
    (changed, _), *_ = batches(colours, "DALI_GENERATOR", *options)
    for before, after in zip(plain, changed, strict=True):
        hole = (after == 0).all(-1)
        np.testing.assert_array_equal(after[~hole], before[~hole])
        assert 12 * 16 <= hole.sum() <= 2 * 24 * 32


@needs_dali
@pytest.mark.parametrize("bits", [8, 4])
def test_masks_with_a_palette(bits, colours):
    """The indices are the labels, as with the other loaders."""
    for path in (colours / "data/train/mask").iterdir():
        picture = Image.fromarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), "P")
        picture.putpalette([200, 30, 60, 10, 220, 90])
        picture.save(path, bits=bits)
    ours, dali = (batches(colours, loader) for loader in ("TF_DATA", "DALI_GENERATOR"))
    assert {0, 1} == set(np.unique(dali[0][1]))
    for one, two in zip(ours, dali, strict=True):
        np.testing.assert_array_equal(one[1], two[1])


@needs_dali
def test_pictures_that_ask_to_be_turned(colours):
    """They are not, as with the other loaders."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (colours / "data/train").glob("*/*_1_[12].png"):
        Image.open(path).save(path, exif=exif)
    ours, dali = (batches(colours, loader) for loader in ("TF_DATA", "DALI_GENERATOR"))
    for one, two in zip(ours, dali, strict=True):
        np.testing.assert_allclose(one[0], two[0], atol=1 / 255 + 1e-6)
        np.testing.assert_array_equal(one[1], two[1])


def test_one_knob_does_not_change_another():
    knobs = {"NOISE": {"PROBABILITY": 1.0, "STD": [0.01, 0.05]}, "BLUR": {"PROBABILITY": 1.0, "SIGMA": [0.5, 1.5]}}
    knobs["COARSE_DROPOUT"] = {"PROBABILITY": 1.0, "HOLES": [1, 6], "SIZE": [0.05, 0.15]}
    together = draw(knobs)
    alone = [draw({name: knob}) for name, knob in knobs.items()]
    assert sum(map(len, alone)) == len(together) == 5
    for name, value in (item for inputs in alone for item in inputs.items()):
        np.testing.assert_array_equal(value, together[name])


@needs_dali
def test_the_start_is_quiet(colours, capfd):
    batches(colours, "DALI_GENERATOR", "augmentation=light")
    assert "[ERROR]" not in capfd.readouterr().err


def test_draws_by_hand():
    identity = np.eye(2, 3, dtype=np.float32)
    np.testing.assert_allclose(draw({"HORIZONTAL_FLIP": {"PROBABILITY": 0.0}})["matrix"], identity, atol=1e-6)
    flip = draw({"HORIZONTAL_FLIP": {"PROBABILITY": 1.0}})["matrix"]
    np.testing.assert_allclose(flip, [[-1, 0, 64], [0, 1, 0]], atol=1e-5)
    zoom = {"PROBABILITY": 1.0, "FACTOR": [2.0, 2.0], "PAN": 0.0}
    np.testing.assert_allclose(draw({"ZOOM": zoom})["matrix"], [[0.5, 0, 16], [0, 0.5, 12]], atol=1e-5)
    factors = [1 / draw({"ZOOM": zoom | {"FACTOR": [0.5, 4.0]}}, n)["matrix"][0, 0] for n in range(300)]
    assert min(factors) > 0.5 and max(factors) < 4 and 120 < np.sum(np.array(factors) < 1) < 180


@needs_dali
@pytest.mark.parametrize(
    "overrides, words",
    [
        (["augmentation=medical"], "AUGMENTATION.ELASTIC"),
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


@pytest.mark.slow
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
