"""DALI gives what the other loaders give, keeps image and mask together, and names what it lacks.

Tests that take `way` run through the memory of the host and, where DALI's TensorFlow plugin is built, through that too.
"""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import HAS_PLUGIN, PROJECT, TINY, needs_dali, needs_plugin
from PIL import Image
from warm_helpers import run_warm

from data_generators import build_dataset, make_augmentation
from data_generators.augmentation.knobs import MATRIX, AugmentationSettings
from data_generators.files.pairing import find_pairs
from data_generators.loaders import dali
from data_generators.loaders.dali_augmentation import INTENSITY_CHANGES, draw_inputs
from data_generators.loaders.dali_records import RecordReader
from data_generators.reading.readers import PairReader
from data_generators.reading.samples import ReadSettings, read_pair
from utils.base.errors import UserError
from utils.config import load_config
from utils.devices.failures import explain_failures

SIZE = ["INPUT.HEIGHT=48", "INPUT.WIDTH=64"]  # of the pictures
LEVELS = np.array([40, 200], np.uint8)


def draw(knobs, position=1):
    return draw_inputs(AugmentationSettings(knobs, seed=0), (48, 64, 3), 0, position)


@pytest.fixture(params=["host", "plugin"] if HAS_PLUGIN else ["host"])
def way(request, monkeypatch):
    """How batches come out of DALI."""
    monkeypatch.setattr(dali, "has_plugin", lambda: request.param == "plugin")
    return request.param


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
        [f"WORK_DIR={folder}", f"DATA_GENERATOR_TYPE={loader}", *SIZE, "loss=dice"]
        + ["AUGMENTATION.FILL=zero", *overrides]
    )
    dataset = build_dataset(cfg, "train", augment=True)
    return [[np.asarray(part) for part in batch] for _ in range(epochs) for batch in dataset]


@needs_dali
@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_those_of_the_other_loaders(channels, colours, way):
    options = [f"INPUT.CHANNELS={channels}", "loss=boundary"]
    ours, dali = (batches(colours, loader, *options, epochs=2) for loader in ("TF_DATA", "DALI_GENERATOR"))
    assert len(ours) == len(dali) == 6
    for one, two in zip(ours, dali, strict=True):
        np.testing.assert_allclose(one[0], two[0], atol=1 / 255 + 1e-6)
        np.testing.assert_array_equal(one[1], two[1])
        np.testing.assert_allclose(one[2], two[2], atol=1e-6)


@needs_dali
@pytest.mark.parametrize("knob", MATRIX)
def test_the_mask_goes_where_the_image_goes(knob, colours, way):
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
def test_zoom_keeps_the_foreground(colours, way):
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
def test_brightness_and_contrast(colours, way):
    (plain, _), *_ = batches(colours, "DALI_GENERATOR")
    knobs = [f"AUGMENTATION.{name}.PROBABILITY=1.0" for name in ("BRIGHTNESS", "CONTRAST")]
    ranges = ["AUGMENTATION.BRIGHTNESS.SHIFT=[0.1,0.1]", "AUGMENTATION.CONTRAST.FACTOR=[0.5,0.5]"]
    (changed, _), *_ = batches(colours, "DALI_GENERATOR", *knobs, *ranges)
    np.testing.assert_allclose(changed, np.clip(plain + 0.1, 0, 1) * 0.5, atol=1e-5)


@needs_dali
def test_quarter_turns_are_exact(colours, way):
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
def test_the_mask_stays_where_only_the_image_changes(knob, colours, way):
    """Half of the samples change, the others are as they were, and a second run draws the same."""
    on, count = [f"AUGMENTATION.{knob}.PROBABILITY=0.5"], 0
    plain, found, again = (batches(colours, "DALI_GENERATOR", *options, epochs=4) for options in ([], on, on))
    for (before, mask), (after, same), (repeated, _) in zip(plain, found, again, strict=True):
        np.testing.assert_array_equal(mask, same)
        np.testing.assert_array_equal(after, repeated)
        count += sum(np.abs(one - two).max() > 1e-3 for one, two in zip(before, after, strict=True))
    assert 4 <= count <= 16


@needs_dali
def test_values_of_gamma_noise_and_blur(colours, way):
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
def test_holes_are_black_and_the_rest_stays(colours, way):
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
def test_masks_with_a_palette(bits, colours, way):
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
def test_pictures_that_ask_to_be_turned(colours, way):
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
def test_the_start_is_quiet(colours, capfd, way):
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


FORMS = {  # image -> how its file is made; DALI itself would take other values of some
    "grey.png": lambda image, path: cv2.imwrite(path, image[:, :, 2]),
    "grey_16_bit.png": lambda image, path: cv2.imwrite(path, image[:, :, 2].astype(np.uint16) * 251),
    "alpha.png": lambda image, path: cv2.imwrite(path, np.dstack([image, image[:, :, :1]])),
    "palette.png": lambda image, path: with_palette(image).save(path, transparency=1),
    "few_bits.png": lambda image, path: Image.fromarray(image[:, :, 2] > 100).save(path),
    "really_gif.png": lambda image, path: with_palette(image).save(path, format="GIF"),
    "picture.tif": lambda image, path: cv2.imwrite(path, image),
    "picture.bmp": lambda image, path: cv2.imwrite(path, image),
    "grey.jpg": lambda image, path: cv2.imwrite(path, cv2.GaussianBlur(image[:, :, 2], (0, 0), 3)),
    "colour.jpg": lambda image, path: cv2.imwrite(path, cv2.GaussianBlur(image, (0, 0), 3)),
    "cmyk.jpg": lambda image, path: Image.fromarray(cv2.GaussianBlur(image, (0, 0), 3)).convert("CMYK").save(path),
}


def with_palette(image):
    picture = Image.fromarray(image[:, :, 2] // 85, "P")
    picture.putpalette([200, 30, 60, 10, 220, 90, 0, 0, 255, 7, 7, 7])
    return picture


@needs_dali
def test_pictures_of_every_form_are_those_of_the_other_loaders(colours, way):
    image = cv2.imread(str(colours / "data/train/images/image_1_1.png"))
    for kind in ("images", "mask"):
        shutil.move(colours / "data/train" / kind / f"{kind[:5].rstrip('s')}_1_0.png", colours)
        shutil.rmtree(colours / "data/train" / kind)
        (colours / "data/train" / kind).mkdir()
    for number, (name, write) in enumerate(FORMS.items()):
        write(image, str(colours / f"data/train/images/image_1_{number}{name[-4:]}"))
        shutil.copy(colours / "mask_1_0.png", colours / f"data/train/mask/mask_1_{number}.png")
    for channels in (1, 3):
        ours, found = (batches(colours, name, f"INPUT.CHANNELS={channels}") for name in ("TF_DATA", "DALI_GENERATOR"))
        differences = []
        for (one, labels), (two, same) in zip(ours, found, strict=True):
            differences += np.abs(one - two).max((1, 2, 3)).tolist()
            np.testing.assert_array_equal(labels, same)
        assert len(differences) == len(FORMS) and max(differences) < 1.01 / 255
        assert channels == 1 or sum(difference > 1e-6 for difference in differences) <= 2  # of JPEG that DALI decodes


@needs_dali
@pytest.mark.parametrize("factor", [0.5, 1.7])
def test_resizing_is_close_to_that_of_the_other_loaders(factor, colours, way):
    """DALI has no area averages, and cubic interpolation of another sharpness; masks are the same."""
    for path in (colours / "data/train").glob("*/*.png"):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        pixels = cv2.GaussianBlur(pixels, (0, 0), 2) if pixels.ndim == 3 else pixels
        cv2.imwrite(str(path), cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST))
    resize = ["PREPROCESS_DATA.RESIZE.VALUE=True"]
    ours, found = (batches(colours, loader, *resize) for loader in ("TF_DATA", "DALI_GENERATOR"))
    for (one, labels), (two, same) in zip(ours, found, strict=True):
        assert np.abs(one - two).mean() < 0.02 < one.std() / 5
        np.testing.assert_array_equal(labels, same)


@needs_dali
def test_stored_values_become_classes_before_augmentation(colours, way):
    for path in (colours / "data/train/mask").iterdir():
        cv2.imwrite(str(path), np.array([0, 255], np.uint8)[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)])
    turned = ["AUGMENTATION.ROTATION.PROBABILITY=1.0", "DATASET.IGNORE_LABEL=9"]
    first, *others = (
        np.concatenate([mask for _, mask in batches(colours, "DALI_GENERATOR", *turned, option)])
        for option in ("PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True", "DATASET.LABEL_VALUES=[0,255]")
    )
    assert set(np.unique(first)) == {0, 1, 9} and all(np.array_equal(first, other) for other in others)


@needs_dali
@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda image, mask: cv2.imwrite(mask, np.zeros((40, 64), np.uint8)), r"mask_1_3\.png: is 40x64, its image"),
        (lambda image, mask: cv2.imwrite(image, np.zeros((40, 64), np.uint8)), r"image_1_3\.png 40x64|INPUT is 48x64"),
        (lambda image, mask: change_a_byte(image), r"^DALI cannot read one of .*image_1_3\.png"),
        (lambda image, mask: change_a_byte(mask), r"mask_1_3\.png: cannot be decoded"),
    ],
)
def test_bad_files_are_named_in_a_line(damage, words, colours, way):
    damage(*(str(colours / f"data/train/{kind}_1_3.png") for kind in ("images/image", "mask/mask")))
    with pytest.raises(UserError, match=words) as caught, explain_failures(load_config([])):
        batches(colours, "DALI_GENERATOR")
    assert "Traceback" not in str(caught.value) and len(str(caught.value).splitlines()) == 1


def change_a_byte(path):
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 255
    Path(path).write_bytes(data)


def test_a_record_holds_what_the_other_loaders_read(colours):
    """Size, corner, matrix, mask, file: without DALI."""
    options = ["DATASET.CROP.MODE=random", "INPUT.HEIGHT=40", "INPUT.WIDTH=56", "loss=dice", "AUGMENTATION.FILL=zero"]
    cfg = load_config([f"WORK_DIR={colours}", *options, "AUGMENTATION.ROTATION.PROBABILITY=1.0"])
    settings = ReadSettings.from_config(cfg, "train")
    records = RecordReader(PairReader(settings=settings, augmentation=make_augmentation(cfg)))
    pair = find_pairs(cfg, "train")[1]
    record = records(pair, epoch=2, position=5)
    assert list(records.fields) == ["size", "corner", "matrix"]
    image, mask = read_pair(pair, settings, 2, 5)
    (height, width), (top, left) = record[:16].view(np.int32).reshape(2, 2)
    drawn = draw_inputs(records.augmentation, (40, 56, 3), 2, 5)
    np.testing.assert_array_equal(record[16:40].view(np.float32).reshape(2, 3), drawn["matrix"])
    np.testing.assert_array_equal(record[40 : 40 + height * width].reshape(height, width), mask)
    found = cv2.imdecode(record[40 + height * width :], cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(found[top : top + height, left : left + width], image)


def test_a_plugin_that_cannot_be_loaded(monkeypatch, capsys):
    """As after an update of TensorFlow, for which it has to be built anew: that is said, and the host path taken."""

    def fail(name):
        raise ImportError(f"{name}: undefined symbol\nmore")

    monkeypatch.setattr(dali.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(dali.importlib, "import_module", fail)
    assert not dali.has_plugin()
    (line,) = capsys.readouterr().err.splitlines()
    assert "Note: DALI's TensorFlow plugin cannot be loaded" in line and "undefined symbol" in line


@needs_plugin
def test_each_replica_has_a_pipeline(colours):
    """Their parts make up the batches of one device; a replica for which nothing is left takes the last image."""
    cfg = load_config(
        [f"WORK_DIR={colours}", "DATA_GENERATOR_TYPE=DALI_GENERATOR", "INPUT.HEIGHT=48", "INPUT.WIDTH=64"]
    )
    options = {"replicas": 2, "batch_size": 2}
    dataset, alone = (build_dataset(cfg, "train", **options) for _ in range(2))
    for first in (0, 1):
        for one in (dataset, alone):
            one.sampler.set_epoch(1, step=first)
        whole, parts = list(alone), list(dataset.on_replicas(["/cpu:0", "/cpu:0"]))
        assert [int(batch.total) for batch in parts] == [len(batch[0]) for batch in whole] == [4, 1][first:]
        for (image, mask), batch in zip(whole, parts, strict=True):
            together = [np.concatenate(arrays)[: len(image)] for arrays in zip(*batch.parts, strict=True)]
            np.testing.assert_array_equal(together[0], image)
            np.testing.assert_array_equal(together[1], mask)
            assert [len(part[0]) for part in batch.parts] == ([2, 2] if len(image) == 4 else [1, 1])


@needs_plugin
def test_a_run_reads_through_the_plugin(colours):
    from data_generators.loaders.dali_tensorflow import PluginBatches

    cfg = load_config(
        [f"WORK_DIR={colours}", "DATA_GENERATOR_TYPE=DALI_GENERATOR", "INPUT.HEIGHT=48", "INPUT.WIDTH=64"]
    )
    assert isinstance(build_dataset(cfg, "train").batches, PluginBatches)


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
    result = run_warm("-c", BOTH, *options, "HYPER_PARAMETERS.EPOCHS=1", PYTHONPATH=str(PROJECT))
    assert result.returncode == 0, result.stderr[-3000:]
    one, two = (float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("loss"))
    assert one == pytest.approx(two, rel=1e-4)


@needs_dali
def test_a_gpu_that_dali_cannot_use(colours, monkeypatch, capsys, way):
    """TensorFlow says that there is one: DALI tries it, says why not, and works on the CPU."""
    import tensorflow as tf

    expected = batches(colours, "DALI_GENERATOR", "augmentation=light")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    found = batches(colours, "DALI_GENERATOR", "augmentation=light")
    assert "Note: DALI cannot use the GPU" in capsys.readouterr().err
    for batch, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(batch[0], wanted[0])
