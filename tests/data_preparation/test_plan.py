"""What the plan of an own dataset decides, and that training takes it."""

import cv2
import numpy as np
import pytest
from helpers import PROJECT, assert_one_clear_error, run_command
from plan_helpers import grey, planned, striped

from data_generators.files.pairing import find_pairs
from data_generators.files.preparation import write_preparation
from data_generators.files.preparation_check import with_preparation
from data_preparation import plan
from data_preparation.plan import main
from data_preparation.planning.contact_sheet import GAP, ROWS, SIDE, WIDEST, draw_sheet
from data_preparation.planning.input_size import MEMORY
from data_preparation.planning.networks import DEFAULT, NARROW_FILTERS
from data_preparation.planning.splitting import find_groups
from data_preparation.planning.timing import time_steps
from utils.base.errors import UserError
from utils.base.palette import class_color
from utils.base.pictures import STRIP
from utils.config import load_config

NOTED = ["background", "cell", "border"]  # by the preparation


@pytest.mark.parametrize(
    "values, options, expected",
    [
        ([0, 255], [], (2, [0, 255], None)),
        ([0, 128, 255], [], (3, [0, 128, 255], None)),
        ([1, 2, 3], [], (3, [1, 2, 3], None)),
        ([0, 1, 2], [], (3, None, None)),
        ([0, 1, 2, 255], [], (3, None, 255)),
        ([0, 1, 2, 255], ["--ignore", "none"], (4, [0, 1, 2, 255], None)),
        ([0, 1, 2, 11], ["--ignore", 11], (3, None, 11)),
        ([0, 255], ["--values", 255, 0], (2, [255, 0], None)),
        ([0, 9, 255], ["--values", 255, 0, "--ignore", 9], (2, [255, 0], 9)),
    ],
)
def test_classes_follow_from_the_values(values, options, expected, write):
    write({f"a{number}": (grey(), striped(values)) for number in range(4)})
    cfg = planned(*options)
    assert expected == (cfg.OUTPUT.CLASSES, cfg.DATASET.LABEL_VALUES, cfg.DATASET.IGNORE_LABEL)


@pytest.mark.parametrize(
    "values, names, expected",
    [([0, 1, 3, 5], None, (3, None)), ([0, 1, 3, 255], None, (2, 255)), ([0, 1], ["none", "a", "b"], (2, None))],
)
def test_bits_of_masks_are_classes_where_the_preparation_says_so(values, names, expected, write, tmp_path):
    write({f"a{number}": (grey(), striped(values)) for number in range(4)})
    named = {"OUTPUT.CLASS_NAMES": names} if names else {}
    write_preparation(tmp_path, {"OUTPUT.MULTI_LABEL": True, **named})
    cfg = planned()
    assert cfg.OUTPUT.MULTI_LABEL and expected == (cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL)
    assert cfg.DATASET.LABEL_VALUES is None
    assert names == with_preparation(cfg, [pair.image for pair in find_pairs(cfg, "train")]).OUTPUT.CLASS_NAMES
    if values == [0, 1, 3, 5]:  # columns: class 1 is in three of four, class 2 and class 3 in one
        text = " ".join((tmp_path / "configs/experiment/mine.yaml").read_text().replace("#", "").split())
        assert "0: 25.00% in 4 masks; 1: 75.00% in 4 masks; 2: 25.00% in 4 masks; 3: 25.00% in 4 masks" in text


def test_values_and_too_few_names_of_bits_are_refused(write, tmp_path, capsys):
    write({f"a{number}": (grey(), striped([0, 4])) for number in range(4)})
    write_preparation(tmp_path, {"OUTPUT.MULTI_LABEL": True, "OUTPUT.CLASS_NAMES": ["none", "a", "b"]})
    for options, words in ((["--values", 0, 4], "Leave --values out"), ([], "bits of 2 classes are 0 to 3")):
        with pytest.raises(SystemExit, match="2"):
            planned(*options)
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "values, options, ignored, names",
    [
        ([0, 1], [], None, NOTED),  # a class without a pixel
        ([0, 1, 2, 255], [], 255, NOTED),
        ([0, 1, 2], ["--names", "a,b,c"], None, ["a", "b", "c"]),
        ([0, 1, 2, 3], [], None, None),  # other masks than those of the preparation
        ([0, 1, 2], ["--values", 2, 1, 0], None, None),
    ],
)
def test_names_of_the_preparation_are_those_of_the_experiment(
    values, options, ignored, names, write, tmp_path, monkeypatch
):
    write({f"a{number}": (grey(), striped(values)) for number in range(4)})
    write_preparation(tmp_path, {"OUTPUT.CLASS_NAMES": NOTED})
    drawn = []
    monkeypatch.setattr(plan, "draw_sheet", lambda *given: drawn.append(given[3]) or draw_sheet(*given))
    cfg = planned(*options)
    assert (cfg.OUTPUT.CLASS_NAMES, cfg.DATASET.IGNORE_LABEL, drawn[0].names) == (names, ignored, names)
    assert names is None or len(names) == cfg.OUTPUT.CLASSES
    if names == NOTED:
        assert "prepared.json beside the data" in (tmp_path / "configs/experiment/mine.yaml").read_text()


def test_a_value_that_looks_like_void_is_asked_about(write, capsys, tmp_path):
    """A gap before the largest value, or strips of it between the others; a rare class is neither."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 1
    strips, inside = mask.copy(), mask.copy()
    strips[:, 30:34], inside[20:30, 40:50] = 2, 2
    for odd, value in ((striped([0, 1, 2, 11]), 11), (strips, 2)):
        write({f"a{number}": (grey(), odd) for number in range(4)})
        with pytest.raises(SystemExit, match="2"):
            planned()
        message = capsys.readouterr().err
        assert f"mask value {value} " in message and f"--ignore {value} " in message and "--ignore none" in message
        assert not (tmp_path / "configs/experiment/mine.yaml").exists()
        cfg = planned("--ignore", "none")
        assert len(np.unique(odd)) == cfg.OUTPUT.CLASSES and cfg.DATASET.IGNORE_LABEL is None
        (tmp_path / "configs/experiment/mine.yaml").unlink()
    write({f"a{number}": (grey(), inside) for number in range(4)})
    assert planned().OUTPUT.CLASSES == 3


TABLE = "id,name,r,g,b\n0,Sky,128,128,128\n1,Road,128,0,0\n2,Tree,0,128,0\n11,Void,0,0,0\n"


@pytest.mark.parametrize(
    "values, names, options, expected",
    [
        ([0, 1], "sky,road", [], (["sky", "road"], None, None)),
        ([0, 255], "cell, membrane", ["--values", 255, 0], (["cell", "membrane"], [255, 0], None)),
        ([0, 1, 2], "sky,road,void", [], (["sky", "road"], None, 2)),
        ([0, 1, 255], "sky,road", [], (["sky", "road"], None, 255)),
        ([0, 1, 11], TABLE, [], (["Sky", "Road", "Tree"], None, 11)),  # the table knows a class that no mask has
    ],
)
def test_names_of_classes_are_typed_or_from_a_table(values, names, options, expected, write, tmp_path):
    if names is TABLE:
        names = tmp_path / "classes.csv"
        names.write_text(TABLE)
    write({f"a{number}": (grey(), striped(values)) for number in range(4)})
    cfg = planned("--names", names, *options)
    assert expected == (cfg.OUTPUT.CLASS_NAMES, cfg.DATASET.LABEL_VALUES, cfg.DATASET.IGNORE_LABEL)
    assert len(expected[0]) == cfg.OUTPUT.CLASSES


def test_few_images_are_augmented(write, monkeypatch, tmp_path):
    colour = np.dstack([grey(), 255 - grey(), grey()])
    for image, policy in ((grey(), "medical"), (colour, "light")):
        write({f"a{number}": (image, striped([0, 1])) for number in range(4)})
        assert planned().AUGMENTATION == load_config([f"augmentation={policy}"]).AUGMENTATION
    monkeypatch.setattr("data_preparation.planning.choices.FEW_IMAGES", 3)
    assert planned().AUGMENTATION == load_config().AUGMENTATION


def test_a_class_0_that_is_no_background(write):
    write({f"a{number}": (grey(), striped([0, 1])) for number in range(4)})
    for options, expected in (
        (["--names", "sky,road"], False),
        (["--no-background"], False),
        (["--names", "background,cell"], None),
    ):
        assert planned(*options).OUTPUT.BACKGROUND is expected


def test_the_contact_sheet_shows_every_class(write, tmp_path):
    rare = np.zeros((64, 96), np.uint8)
    rare[20:40, 30:60], rare[50:, :] = 1, 255
    only_last = rare.copy()
    only_last[rare == 1] = 2
    masks = {f"a{number:02d}": rare * 0 for number in range(30)} | {"b": rare, "c": only_last}
    write({stem: (np.full((64, 96), 100, np.uint8), mask) for stem, mask in masks.items()})
    cv2.imwrite(str(tmp_path / "images/c.png"), np.full((64, 96, 3), (10, 20, 200), np.uint8))  # red, as OpenCV orders
    planned()
    sheet = cv2.imread(str(tmp_path / "data/mine/pairs.png"))[:, :, ::-1]
    height, width = sheet.shape[:2]
    assert width == WIDEST and height <= ROWS * (SIDE + STRIP + GAP) + STRIP
    pictures = sheet[:-STRIP].reshape(-1, 3)  # without the legend
    for colour in (
        class_color(1),
        class_color(2),
        (200, 20, 10),
        (134, 134, 134),
    ):  # contours, red; void tints grey 100 with 187
        assert (pictures == colour).all(1).any(), colour
    assert not (pictures == class_color(0)).all(1).any()
    planned("--no-background")
    sheet = cv2.imread(str(tmp_path / "data/mine/pairs.png"))[:, :, ::-1]
    assert (sheet[:-STRIP] == class_color(0)).all(-1).any() and (sheet[-STRIP:] == class_color(0)).all(-1).any()


def test_a_budget_sets_the_epochs(write, monkeypatch, capsys, tmp_path):
    """At one image a second an epoch of 8 + 2 images takes 9 s, because validation takes half the time."""
    write({f"a{number}": (grey(), striped([0, 1])) for number in range(10)})
    typed = []
    monkeypatch.setattr("data_preparation.planning.timing.time_steps", lambda overrides: typed.append(overrides) or 1.0)
    for hours, epochs, words in (
        (None, 300, "all 300 about 45 min"),
        (0.025, 10, "Warning: 10 epochs are too few"),
        (0.5, 200, "About 300 epochs are usual"),
        (10, 1000, "all 1000 about 2 h 30 min"),
    ):
        main(["images", "masks", "mine", "--quiet", "--force", *([] if hours is None else ["--hours", str(hours)])])
        cfg = load_config(["+experiment=mine"])
        assert epochs == cfg.HYPER_PARAMETERS.EPOCHS and max(epochs // 3, 10) == cfg.CALLBACKS.EARLY_STOPPING.PATIENCE
        assert words in capsys.readouterr().out
    timed = load_config(typed[0])  # the settings of the plan, with files of its own
    assert timed.MODEL.TYPE == cfg.MODEL.TYPE and timed.AUGMENTATION == cfg.AUGMENTATION and timed.INPUT == cfg.INPUT
    for options in (["--hours", "0"], ["--hours", "1", "--no-timing"]):
        with pytest.raises(SystemExit, match="2"):
            main(["images", "masks", "mine", "--quiet", "--force", *options])
        assert "--hours" in capsys.readouterr().err


@pytest.mark.slow
def test_steps_are_timed_in_a_training_of_their_own(phantom, tmp_path):
    tiny = ["MODEL.TYPE=unet", "MODEL.FILTERS=[2,2]", "INPUT.HEIGHT=48", "INPUT.WIDTH=48", "+bench_steps=1"]
    data = [f"DATASET.{split.upper()}.{key}={phantom}/data/{split}/{folder}" for split in ("train", "val")
            for key, folder in (("IMAGES_PATH", "images"), ("MASK_PATH", "mask"))]  # fmt: skip
    assert time_steps([*tiny, *data, f"WORK_DIR={tmp_path}", "VERBOSE=0"]) > 0


def test_a_training_that_cannot_start_says_why():
    with pytest.raises(UserError, match=r"cannot take a step: .*HEIGHT=0 is too small.*--no-timing"):
        time_steps(["INPUT.HEIGHT=0"])


def test_comments_fit_80_columns(write, tmp_path):
    write({f"a{number}": (grey(60, 90), striped(range(20), 60, 90)) for number in range(4)})
    planned("--ignore", "none")
    lines = (tmp_path / "configs/experiment/mine.yaml").read_text().splitlines()
    assert [line for line in lines if "#" in line and len(line) > 80] == []


def test_channels_follow_from_the_images(write):
    colour = np.dstack([grey(), 255 - grey(), grey()])
    for image, channels, centre in ((grey(), 1, True), (np.dstack([grey()] * 3), 1, True), (colour, 3, False)):
        write({f"a{number}": (image, striped([0, 1])) for number in range(4)})
        cfg = planned()
        assert (channels, centre) == (cfg.INPUT.CHANNELS, cfg.SHOW_CENTER_CHANNEL_IMAGE)


@pytest.mark.parametrize(
    "sizes, options, expected",
    [
        ([(64, 96)], [], ((64, 96), None, False)),
        ([(240, 400)], [], ((240, 400), None, False)),
        ([(600, 900)], [], ((256, 256), "random", False)),
        ([(200, 400), (400, 300)], [], ((200, 256), "random", False)),
        ([(64, 96), (300, 400), (100, 100)], [], ((128, 128), None, True)),
        ([(49, 37), (49, 37), (31, 40)], [], ((64, 64), None, True)),  # slices of the hippocampus
        ([(64, 96), (64, 96), (60, 90)], [], ((64, 96), None, True)),  # multiples stay
        ([(100, 300), (90, 280)], [], ((96, 256), None, True)),  # no larger than a crop
        ([(64, 96)], ["--size", 32, 32], ((32, 32), "random", False)),
        ([(64, 96)], ["--size", 128, 128], ((128, 128), None, True)),
        ([(600, 900)], ["--memory", 2], ((224, 224), "random", False)),
    ],
)
def test_the_size_follows_from_sizes_and_memory(sizes, options, expected, write):
    pairs = {}
    for number in range(6):
        size = sizes[number % len(sizes)]
        pairs[f"a{number}"] = (grey(*size), striped([0, 1], *size))
    write(pairs)
    cfg = planned(*(options if "--memory" in options else [*options, "--memory", 16]))
    assert expected == ((cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH), cfg.DATASET.CROP.MODE, cfg.PREPROCESS_DATA.RESIZE.VALUE)
    assert (cfg.MODEL.TYPE, cfg.MODEL.FILTERS) == ("unet", NARROW_FILTERS)
    fixed, per_pixel = MEMORY[DEFAULT]
    pixels = cfg.INPUT.HEIGHT * cfg.INPUT.WIDTH * cfg.HYPER_PARAMETERS.BATCH_SIZE
    assert fixed + pixels * per_pixel * 1000 / 2**30 <= 8


def test_rare_foreground_is_sampled_and_rare_classes_weigh_more(write):
    few = np.zeros((64, 64), np.uint8)
    few[:8, :8], few[:2, :2] = 1, 2
    write({f"a{number}": (grey(), few if number < 3 else few * 0) for number in range(10)})
    cfg = planned()
    assert cfg.DATASET.FOREGROUND_FRACTION == 0.5
    weights = cfg.LOSS_OPTIONS.cce.class_weights
    # Where they occur: 4032, 60 and 4 of 4096 pixels; the background also fills the empty masks. Median 60/4096.
    assert weights[0] == 0.1 and weights[1:] == [1.0, 10.0]
    write({f"a{number}": (grey(), striped([0, 1, 2])) for number in range(10)})
    cfg = planned()
    assert cfg.DATASET.FOREGROUND_FRACTION is None and cfg.LOSS_OPTIONS.cce.class_weights is None


def test_a_group_is_on_one_side_and_the_seed_decides(write):
    write({f"patient{p}_{n}": (grey(), striped([0, 1])) for p in range(5) for n in range(4)})
    sides = []
    for seed in (5, 5, 6, 7, 8):
        cfg = planned("--seed", seed)
        groups = [{pair.image.stem.split("_")[0] for pair in find_pairs(cfg, split)} for split in ("train", "val")]
        assert not groups[0] & groups[1] and groups[0] | groups[1] == {f"patient{p}" for p in range(5)}
        sides.append(groups[1])
    assert sides[0] == sides[1] and len({frozenset(side) for side in sides}) > 1
    cfg = planned("--group", r"_(\d)")
    assert len({pair.image.stem[-1] for pair in find_pairs(cfg, "val")}) == 1


@pytest.mark.parametrize(
    "stems, pattern, expected, words",
    [
        (["12", "13", "14"], None, ["12", "13", "14"], "not grouped: their names show no groups"),
        (["slice_1", "slice_2"], None, ["slice_1", "slice_2"], "show no groups"),
        (["Seq05_f00930", "Seq05_f00960", "b_1", "b_2"], None, ["Seq05", "Seq05", "b", "b"], "4 images in 2 groups"),
        (["Abyssinian_1", "Abyssinian_2", "pug_1", "pug_2"], None, ["Abyssinian"] * 2 + ["pug"] * 2, "--group none"),
        (["Abyssinian_1", "Abyssinian_2"], "none", ["Abyssinian_1", "Abyssinian_2"], "2 images, not grouped"),
        (["a_1", "b_1", "b_2"], r"_(.)", ["1", "1", "2"], "3 images in 2 groups by --group"),
    ],
)
def test_groups_of_names(stems, pattern, expected, words):
    groups, how = find_groups(stems, pattern)
    assert groups == expected and words in how


def test_rare_foreground_is_on_both_sides(write):
    # 3 of 15 images hold foreground: drawn by chance alone, validation of a third would often have none.
    write({f"{n:02d}x": (grey(), striped([0, 1] if n < 3 else [0])) for n in range(15)})
    for seed in range(6):
        cfg = planned("--val", 1 / 3, "--seed", seed)
        with_foreground = [pair for pair in find_pairs(cfg, "val") if int(pair.image.stem[:2]) < 3]
        assert len(with_foreground) == 1 and len(find_pairs(cfg, "val")) == 5


def test_a_published_split_is_kept_and_every_pair_is_found(write):
    write({"a_1": (grey(), striped([0, 7])), "a_2": (grey(), striped([0, 7]))}, "train")
    write({"b_1": (grey(), striped([0, 7]))}, "val")
    cfg = planned(images="{split}/images", masks="{split}/masks")
    assert [pair.image.stem for pair in find_pairs(cfg, "train")] == ["a_1", "a_2"]
    assert [pair.mask.parent.parent.name for pair in find_pairs(cfg, "val")] == ["val"]


@pytest.mark.parametrize(
    "values, options, words",
    [
        (range(200), [], ["200 different values", "--values"]),
        ([3], [], ["only [3]", "--values"]),
        ([0, 1, 2], ["--values", "0", "1"], ["also contain [2]", "--ignore"]),
        ([0, 1], ["--memory", "1"], ["1.0 GiB", "--memory"]),
        ([0, 1], ["--val", "1.5"], ["--val 1.5"]),
        ([0, 1], ["--group", "a"], ["one group", "--group"]),
        ([0, 1], ["--group", "(x"], ["--group (x", "regular expression"]),
        ([1, 2, 3, 0], ["--ignore", "0"], ["IGNORE_LABEL=0"]),
        ([0, 1, 2], ["--names", "sky,road"], ["2 names", "3 classes", "--ignore 2"]),
        ([0, 1], ["--names", "sky,sky"], ["--names sky,sky", "same"]),
        ([0, 1], ["--names", "gone.csv"], ["gone.csv", "no such file"]),
    ],
)
def test_what_cannot_be_decided_names_the_option(values, options, words, write, tmp_path, capsys):
    write({f"a{number}": (grey(), striped(list(values))) for number in range(4)})
    with pytest.raises(SystemExit) as stopped:
        main(["images", "masks", "mine", "--quiet", "--no-timing", *options])
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and all(word in message for word in words) and message.count("\n") == 1
    assert not (tmp_path / "configs/experiment").exists() and not (tmp_path / "data").exists()


def test_bad_folders_and_names(write, tmp_path, capsys):
    write({f"a{number}": (grey(), striped([0, 1])) for number in range(4)})
    planned()
    before = (tmp_path / "configs/experiment/mine.yaml").read_text()
    cv2.imwrite(str(tmp_path / "images/small.png"), grey(8, 8))
    cv2.imwrite(str(tmp_path / "masks/small.png"), striped([0, 1]))
    for arguments, word in (
        (["images", "masks", "mine"], "--force"),
        (["images", "masks", "a/b"], "NAME=a/b"),
        (["nowhere", "masks", "other"], "nowhere"),
        (["images", "masks", "mine", "--force"], "small.png: is 64x64, its image 8x8"),
        (["{split}/images", "masks", "mine", "--force"], "{split}"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--quiet", "--no-timing"])
        assert stopped.value.code == 2 and word in capsys.readouterr().err
    assert (tmp_path / "configs/experiment/mine.yaml").read_text() == before


def test_the_command_needs_neither_tensorflow_nor_keras():
    code = (
        "import sys, runpy; sys.modules.update(tensorflow=None, keras=None); sys.argv[1:] = ['x', 'y', 'z']; "
        "runpy.run_path('data_preparation/plan.py', run_name='__main__')"
    )
    assert_one_clear_error(run_command("-c", code, PYTHONPATH=str(PROJECT)), "IMAGES=x")
