"""What predict.py draws, and the values and colours of the masks it writes."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from data_generators.reading.mask_values import read_values
from utils.base.palette import CLASS_0, CLASS_COLORS, ERROR_COLORS, class_color, color_table
from utils.config import load_config
from utils.config.class_names import mask_class_names
from utils.inference.comparison import LARGEST_PANEL, class_legend, compare, draw_masks, find_errors, mean_dice
from utils.inference.image_sources import ImageSource
from utils.inference.mask_meaning import MaskMeaning
from utils.inference.output import MaskOutput
from utils.inference.writers import MaskPrediction, WriterSettings
from utils.inference.writers.masks import ColorMaskWriter, MaskWriter
from utils.inference.writers.pictures import AHEAD, PictureWriter

TRUTH, PREDICTED = np.array([[0, 1, 1, 2, 255]]), np.array([[1, 1, 0, 1, 1]])
NAMES = ["background", "liver", "tumour"]


@pytest.mark.parametrize(
    ("meaning", "dice", "errors"),
    [
        (MaskMeaning(NAMES, 255), (2 / 5 + 0) / 2, {"missed": [2], "excess": [0], "other class": [3]}),
        (MaskMeaning(NAMES, 255, has_background=False), (0 + 2 / 5 + 0) / 3, {"other class": [0, 2, 3]}),
        # bits: 3 is both classes. 2 of the truth has class 2 alone, the prediction class 1 alone
        (
            MaskMeaning(NAMES, 255, multi_label=True),
            (2 / 5 + 0) / 2,
            {"missed": [2], "excess": [0], "other class": [3]},
        ),
    ],
)
def test_scores_and_errors_of_a_picture(meaning, dice, errors):
    assert mean_dice(TRUTH, PREDICTED, meaning) == pytest.approx(dice)
    found = find_errors(TRUTH, PREDICTED, meaning)
    assert {name: np.flatnonzero(area).tolist() for name, area in found.items()} == errors


def test_pictures_are_bounded_and_show_errors_in_their_colours():
    truth = np.zeros((600, 1200), np.uint8)
    truth[100:300, 100:500] = 1
    meaning = MaskMeaning(NAMES[:2])
    picture = compare(np.zeros((600, 1200, 3), np.uint8), truth, np.zeros_like(truth), meaning)
    assert picture.shape[1] == 3 * LARGEST_PANEL + 2 * 4 and picture.shape[0] < 400
    errors = picture[:, -LARGEST_PANEL:]
    tint = np.round(0.35 * 64 + 0.65 * np.array(ERROR_COLORS["missed"]))
    assert np.abs(errors[22 + 85, 120] - tint).max() <= 1
    small = compare(np.zeros((8, 8, 3), np.uint8), None, np.ones((8, 8), np.uint8), meaning)
    assert small.shape[1] == 2 * 192 + 4


def predictions(folder, number):
    """A prediction of each of so many images, no two alike."""
    rng = np.random.default_rng(2)
    for index in range(number):
        image, labels = rng.integers(0, 256, (16, 16, 3), np.uint8), rng.integers(0, 2, (16, 16), np.uint8)
        yield MaskPrediction(ImageSource(folder / f"{index}.png"), labels=[labels], truths=[1 - labels], image=image)


def test_every_picture_is_the_one_of_its_image(tmp_path):
    """More than may wait for a thread; all are there after `flush`."""
    settings = WriterSettings(MaskMeaning(NAMES[:2]), center_channel=False)
    made = list(predictions(tmp_path, 2 * AHEAD + 3))
    with PictureWriter(tmp_path, settings) as writer:
        for prediction in made:
            writer.write(prediction)
        writer.flush()
        assert len(list((tmp_path / "pictures").iterdir())) == len(made)
    for prediction in made:
        expected = compare(prediction.image, prediction.truths[0], prediction.labels[0], settings.meaning)
        found = cv2.imread(str(tmp_path / "pictures" / f"{prediction.source.name}.png"))
        np.testing.assert_array_equal(found[..., ::-1], expected)


def test_tables_say_nothing_of_pictures_that_could_not_be_written(tmp_path):
    cfg = load_config([f"WORK_DIR={tmp_path}", "OUTPUT.CLASSES=2", "VERBOSE=0"])
    (prediction,) = predictions(tmp_path, 1)
    prediction.confidences = [0.5]
    with (
        pytest.raises(OSError, match="pictures"),
        MaskOutput.from_config(cfg, tmp_path / "out", mask_class_names(cfg)) as output,
    ):
        (tmp_path / "out").mkdir()
        output.write(prediction)
        writer = next(writer for writer in output.writers if isinstance(writer, PictureWriter))
        writer.flush()
        shutil.rmtree(tmp_path / "out/pictures")
        (tmp_path / "out/pictures").write_text("in the way")
        output.write(prediction)
    assert not (tmp_path / "out/predictions.csv").exists()


def distance(one, other, loss):
    """CIE76 distance of two colours as people see them who lack a kind of cones.

    Source: F. Viénot, H. Brettel, J. Mollon, "Digital video colourmaps for checking the legibility of displays by
    dichromats", 1999, in linear RGB.
    """
    matrix = {
        "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
        "none": np.eye(3),
    }[loss]
    seen = np.clip((np.array([one, other]) / 255) ** 2.2 @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
    lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def test_the_last_line_names_what_is_there_and_warns_of_one_class(tmp_path):
    """A NIfTI volume has no color_masks. Foreground that no image has is worth a line."""
    cfg = load_config([f"WORK_DIR={tmp_path}", "OUTPUT.CLASSES=3"])
    output = MaskOutput.from_config(cfg, tmp_path / "out", mask_class_names(cfg))
    for name in ("masks", "pictures", "predictions.csv"):
        (tmp_path / "out" / name).mkdir(parents=True)
    assert str(output) == f"masks, pictures and predictions.csv in {tmp_path / 'out'}"
    for predicted, words in ({0}, "every pixel is predicted as background"), ({0, 2}, None), ({2}, "as class2"):
        output.predicted = predicted
        assert words in output.findings()[0] if words else output.findings() == []


def test_class_0_that_is_a_class_has_a_colour_of_its_own():
    """Sky is drawn in every picture, its legend and table of colours; pixels that are not scored are none of it."""
    image, truth = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    truth[:, 30:], truth[:, 50:] = 1, 255
    sky = MaskMeaning(["sky", "road", "tree", "car", "pole"], ignore_label=255, has_background=False)
    assert [color for _, color in class_legend(sky)] == [class_color(index) for index in range(5)]
    tinted = draw_masks(image, truth, 0 * truth, sky, "")["truth"]
    assert tinted[32, 10].any() and (tinted[32, 60] == tinted[32, 60, 0]).all()  # grey
    few = MaskMeaning(["sky", "road"], 255, has_background=False)
    assert (draw_masks(image, truth, truth % 255, few, "")[""] == class_color(0)).all(-1).any()
    assert class_legend(MaskMeaning(["background", "cell"])) == [("cell", class_color(1))]
    assert color_table(has_background=False)[:6] == [*class_color(0), *class_color(1)]


@pytest.mark.parametrize("loss", ["none", "protan", "deutan"])
def test_classes_are_told_apart_by_colour_blind_people(loss):
    """A just noticeable difference is about 2.3; ColorBrewer's Set1 has two classes at 5."""
    for count, least in ((10, 17), (len(CLASS_COLORS), 8)):
        colors = CLASS_COLORS[:count]
        assert min(distance(a, b, loss) for i, a in enumerate(colors) for b in colors[:i]) > least
    assert min(distance(CLASS_0, color, loss) for color in CLASS_COLORS) > 19
    errors = list(ERROR_COLORS.values())
    assert min(distance(a, b, loss) for i, a in enumerate(errors) for b in errors[:i]) > 25


@pytest.mark.parametrize(
    ("overrides", "written"),
    [
        (["DATASET.LABEL_VALUES=[0,128,600]"], [0, 128, 600]),
        (
            ["PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True", "PREPROCESS_DATA.NORMALIZE_MASK.NORMALIZE_VALUE=100"],
            [0, 100, 200],
        ),
        ([], [0, 1, 2]),
    ],
)
def test_values_of_masks(overrides, written, tmp_path):
    """Those of the data set where they are asked for, which the project reads as the same classes; colours beside."""
    cfg = load_config(["OUTPUT.CLASSES=3", "PREDICT.MASK_VALUES=labels", *overrides])
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    source = ImageSource(tmp_path / "image.png")
    prediction = MaskPrediction(source, labels=[labels])
    settings = WriterSettings.from_config(cfg, mask_class_names(cfg))
    for writer in (MaskWriter, ColorMaskWriter):
        writer(tmp_path, settings).write(prediction)
    mask = tmp_path / "masks" / f"{source.name}.png"
    assert np.array_equal(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), np.array(written)[labels])
    assert np.array_equal(read_values(mask), np.array(written)[labels])
    colored = tmp_path / "color_masks" / f"{source.name}.png"
    assert np.array_equal(read_values(colored), labels)
    with Image.open(colored) as picture:
        assert np.array_equal(np.array(picture), labels)
        assert picture.convert("RGB").getpixel((1, 0)) == class_color(1)
    cfg.PREDICT.MASK_PALETTE = True
    MaskWriter(tmp_path, WriterSettings.from_config(cfg, mask_class_names(cfg))).write(prediction)
    assert np.array_equal(read_values(mask), np.array(written)[labels])
    with Image.open(mask) as picture:
        assert np.array_equal(np.array(picture), np.array(written)[labels])
        assert picture.mode == ("P" if max(written) < 256 else "I;16")
        if picture.mode == "P":  # values of 16 bit have no table
            assert picture.convert("RGB").getpixel((1, 0)) == class_color(1)


@pytest.mark.parametrize(("background", "first"), [(True, 1), (False, 0)])
def test_a_mask_for_each_class(background, first, tmp_path):
    names = ["sky", "Road", "road side"]
    overrides = ["OUTPUT.CLASSES=3", f"OUTPUT.CLASS_NAMES={names}", f"OUTPUT.BACKGROUND={background}"]
    cfg = load_config([*overrides, "PREDICT.MASK_VALUES=binary"])
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    prediction = MaskPrediction(ImageSource(tmp_path / "image.png"), labels=[labels])
    MaskWriter(tmp_path, WriterSettings.from_config(cfg, mask_class_names(cfg))).write(prediction)
    folders = ["sky", "Road", "road_side"][first:]
    assert {path.name for path in (tmp_path / "masks").iterdir()} == set(folders)
    for index, folder in enumerate(folders, first):
        assert np.array_equal(read_values(tmp_path / "masks" / folder / "image.png"), labels == index)
