"""verify_data finds everything that is wrong with a dataset in one go."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import assert_one_clear_error, run_command

from data_preparation.common.pair_check import IMAGE_PROPERTIES
from data_preparation.verify_data import print_facts, verify_data
from utils.base.errors import UserError
from utils.config import load_config

PROJECT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
NO_PROPERTIES = dict.fromkeys(IMAGE_PROPERTIES, 0)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def image(height=32, width=48):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def mask(high=2, height=32, width=48):
    return RNG.integers(0, high, (height, width), np.uint8)


@pytest.fixture
def data(tmp_path):
    """Two splits of four good pairs; returns the folder."""
    for split in ("train", "val"):
        for index in range(4):
            write(tmp_path / f"data/{split}/images/image_1_{index}.png", image())
            write(tmp_path / f"data/{split}/mask/mask_1_{index}.png", mask())
    return tmp_path


def config(folder, *overrides):
    return load_config([f"WORK_DIR={folder}", "VERBOSE=0", "INPUT.HEIGHT=32", "INPUT.WIDTH=48", *overrides])


def message(*arguments, **named):
    with pytest.raises(UserError) as error:
        verify_data(*arguments, **named)
    return str(error.value)


def test_files_that_are_not_read_are_counted(data, capfd):
    train = data / "data/train"
    write(train / "images/more/image_2_0.png", image())
    write(train / "images/image_1_3.webp", image())
    (train / "images/image_1_3.png").unlink()
    verify_data(config(data))
    said = capfd.readouterr().err
    assert f"1 file is not read, such as {train}/images/image_1_3.webp, in DATASET.TRAIN.IMAGES_PATH: of other" in said
    assert f"such as {train}/images/more/image_2_0.png, in subfolders of DATASET.TRAIN.IMAGES_PATH" in said
    assert f"{train}/mask/mask_1_3.png, in DATASET.TRAIN.MASK_PATH: masks without an image" in said
    (data / "data/val/images").rename(data / "data/val/site")
    (data / "data/val/images").mkdir()
    (data / "data/val/site").rename(data / "data/val/images/site")
    assert "holds no pictures (.png .jpg .jpeg .tif .tiff .bmp). Subfolders are not searched (site)" in message(
        config(data)
    )


def test_images_that_show_nothing_are_named(data, capfd):
    for index, high in enumerate((256, 4096)):
        write(data / f"data/train/images/image_1_{index}.png", RNG.integers(0, high, (32, 48, 3)).astype(np.uint16))
    write(data / "data/train/images/image_1_2.png", np.full((32, 48, 3), (7, 0, 9), np.uint8))
    properties = verify_data(config(data))["train"]["image_properties"]
    assert properties == NO_PROPERTIES | {"16 bit": 2, "nearly black": 2, "one colour": 1}
    assert "image_1_2.png, have one colour everywhere" in capfd.readouterr().err
    ranged = verify_data(config(data, "PREPROCESS_DATA.VALUE_RANGE=[0,4095]"))["train"]["image_properties"]
    assert ranged == NO_PROPERTIES | {"16 bit": 4, "one colour": 1}  # what loaders hand on, of stored bytes too


def test_a_good_dataset_is_summed_up(data, capfd):
    summary = verify_data(config(data))
    assert [summary[split]["pairs"] for split in ("train", "val")] == [4, 4]
    values = [cv2.imread(str(path), -1) for path in (data / "data/train/mask").iterdir()]
    assert summary["train"]["foreground_share"] == pytest.approx(np.mean(values))
    assert capfd.readouterr() == ("", "")


def test_all_problems_come_at_once(data, capfd):
    train, val = data / "data/train", data / "data/val"
    (train / "mask/mask_1_0.png").unlink()
    broken = train / "images/image_1_1.png"
    broken.write_bytes(broken.read_bytes()[:-500])
    write(train / "mask/mask_1_2.png", mask(height=30))
    write(train / "mask/mask_1_3.png", mask(4))
    write(val / "images/image_1_0.png", image(40, 40))
    write(val / "mask/mask_1_0.png", mask(2, 40, 40))
    (val / "images/image_1_1.png").write_text("not a picture")
    write(val / "images/image_1_2.jpg", image())
    text = message(config(data))
    for part in (
        "7 problems",
        "image_1_0.png: no mask in DATASET.TRAIN.MASK_PATH",
        "image_1_1.png: the file is truncated",
        "mask_1_2.png: is 30x48, its image",
        "mask_1_3.png: contains the values 0, 1, 2, 3; OUTPUT.CLASSES=2 allows 0 to 1",
        "image_1_0.png: is 40x40 (height x width), INPUT is 32x48. Set INPUT.HEIGHT=40 INPUT.WIDTH=40",
        "image_1_1.png: is not a picture",
        "mask_1_2.png: is the mask of two images",
        "Set OUTPUT.CLASSES above",
    ):
        assert part in text
    assert "libpng" not in capfd.readouterr().err


def test_masks_of_0_and_255_get_the_hint_that_helps(data):
    for split in ("train", "val"):
        for path in (data / f"data/{split}/mask").iterdir():
            write(path, mask() * 255)
    text = message(config(data))
    assert "contains the values 0, 255; OUTPUT.CLASSES=2 allows 0 to 1" in text
    assert text.count("DATASET.LABEL_VALUES=[0,255], or PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True") == 1
    assert "OUTPUT.CLASSES above" not in text
    assert 0 < verify_data(config(data, "PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True"))["val"]["foreground_share"] < 1


def test_resizing_lifts_the_size_rule(data):
    cfg = load_config([f"WORK_DIR={data}", "VERBOSE=0", "PREPROCESS_DATA.RESIZE.VALUE=True"])
    assert verify_data(cfg)["train"]["pairs"] == 4


def test_one_class_allows_0_and_1(data):
    verify_data(config(data, "OUTPUT.CLASSES=1"))
    write(data / "data/val/mask/mask_1_0.png", mask(3))
    assert "OUTPUT.CLASSES=1 allows 0 to 1" in message(config(data, "OUTPUT.CLASSES=1"))


def test_the_ignored_label_is_allowed_and_not_counted(data):
    values = np.zeros((32, 48), np.uint8)
    values[:8], values[8:20] = 1, 9
    for path in (data / "data/train/mask").iterdir():
        write(path, values)
    assert "contains the values 0, 1, 9; OUTPUT.CLASSES=2 allows 0 to 1" in message(config(data))
    summary = verify_data(config(data, "DATASET.IGNORE_LABEL=9"))
    assert summary["train"].pop("label_counts").tolist() == [[576, 384]] * 4
    assert summary["train"].pop("fingerprint")["images"] == 4
    assert summary["train"] == {
        "pairs": 4,
        "foreground_share": pytest.approx(8 / 20),
        "image_properties": NO_PROPERTIES,
    }
    write(path, values + 1)
    text = message(config(data, "DATASET.IGNORE_LABEL=9"))
    assert "1 problem:" in text and "allows 0 to 1, and DATASET.IGNORE_LABEL=9" in text


def test_the_report_counts_labels_and_suggests_weights(tmp_path):
    """Train: a mask of 24 pixels 0, 8 of class 1; one of 16, 4 of class 2 and 12 ignored; an empty one."""
    masks = np.zeros((3, 4, 8), np.uint8)
    masks[0, 0], masks[1, 0, :4], masks[1, 2:, :6] = 1, 2, 9
    for split in ("train", "val"):
        for index, values in enumerate(masks):
            write(tmp_path / f"data/{split}/images/image_1_{index}.png", np.full((4, 8, 3), 51 * index, np.uint8))
            write(tmp_path / f"data/{split}/mask/mask_1_{index}.png", values)
    size = [f"WORK_DIR={tmp_path}", "INPUT.HEIGHT=4", "INPUT.WIDTH=8", "loss=cce", "VERBOSE=0"]
    settings = [*size, "OUTPUT.CLASSES=4", "DATASET.IGNORE_LABEL=9"]
    result = run_command("data_preparation/verify_data.py", *settings)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "data/dataset_report.json").read_text())
    train = report["train"]
    assert train["sizes"] == {"4x8x3": 3} and (train["masks"], train["empty_masks"]) == (3, 1)
    assert train["intensity"] == pytest.approx(
        {"min": 0, "max": 0.4, "mean": 0.2, "std": np.std([0, 0.2, 0.4])}, abs=1e-6
    )
    assert train["ignored_pixels"] == 12
    shares = {"0": 72 / 84, "1": 8 / 32, "2": 4 / 20, "3": 0}
    for label, (pixels, images) in {"0": (72, 3), "1": (8, 1), "2": (4, 1), "3": (0, 0)}.items():
        found = train["labels"][label]
        assert (found["pixels"], found["images"]) == (pixels, images)
        assert found["share"] == pytest.approx(pixels / 84)
        assert found["share_where_present"] == pytest.approx(shares[label])
    suggestion = report["suggestion"]
    assert suggestion["class_weights"] == pytest.approx([0.25 / (72 / 84), 1, 1.25, 1], abs=1e-4)
    assert suggestion["absent"] == [3] and suggestion["override"] in result.stdout
    weighted = load_config([*settings, suggestion["override"]])
    assert list(weighted.LOSS_OPTIONS.cce.class_weights) == suggestion["class_weights"]


def test_training_writes_no_report(data):
    verify_data(config(data))
    assert not list(data.rglob("*.json"))


def test_equal_problems_are_one_line_and_another_one_stands_alone(data):
    for index in range(4, 34):
        write(data / f"data/train/images/image_1_{index}.png", image())
        write(data / f"data/train/mask/mask_1_{index}.png", np.zeros((10, 10), np.uint8))
    write(data / "data/train/images/image_1_40.png", image())
    text = message(config(data))
    assert "31 problems" in text and len(text.splitlines()) == 3
    assert "30 times (mask_1_10.png, mask_1_11.png, mask_1_12.png, ...): /" in text and "10x10" in text
    assert text.count("no mask in") == 1


def test_masks_may_be_left_out_where_they_are_not_needed(data):
    cfg = config(data, "DATASET.VAL.MASK_PATH=None")
    assert "val needs masks: set DATASET.VAL.MASK_PATH" in message(cfg)
    found = verify_data(cfg, ("val",), need_masks=False)["val"]
    assert found.pop("label_counts").shape == (0, 2)
    assert found == {"pairs": 4, "foreground_share": None, "image_properties": NO_PROPERTIES}


def test_doubtful_data_gives_warnings(data, capsys):
    for path in (data / "data/val/mask").iterdir():
        path.unlink()
        write(path.with_suffix(".jpg"), np.zeros((32, 48), np.uint8))
    verify_data(config(data))
    err = capsys.readouterr().err
    assert "4 of the masks of val" in err and "are compressed as JPEG does" in err
    assert "the masks of val have no foreground" in err
    assert "train" not in err


def test_without_background_nothing_is_called_foreground(data, capsys):
    cfg = config(data, "OUTPUT.CLASS_NAMES=[membrane,cell]")
    print_facts(cfg, verify_data(cfg, details=True))
    printed = capsys.readouterr().out
    assert "train: 4 pairs, no problems" in printed and "foreground" not in printed
    assert [line.split()[:2] for line in printed.splitlines()[2:4]] == [["0", "membrane"], ["1", "cell"]]
    cfg = config(data)
    print_facts(cfg, verify_data(cfg, details=True))
    assert "0 background" in (printed := capsys.readouterr().out) and "of 4 masks without foreground" in printed


def test_the_command_prints_one_message_and_exits_with_2(data):
    script = PROJECT / "data_preparation" / "verify_data.py"
    command = [sys.executable, str(script), f"WORK_DIR={data}", "INPUT.HEIGHT=32"]
    bad = subprocess.run(command, capture_output=True, text=True)
    assert bad.returncode == 2
    assert "Error: the data has 8 problems" in bad.stderr
    assert "Traceback" not in bad.stderr
    good = subprocess.run([*command, "INPUT.WIDTH=48"], capture_output=True, text=True, cwd=data)
    assert good.returncode == 0, good.stderr
    assert "train: 4 pairs, foreground 5" in good.stdout or "train: 4 pairs, foreground 4" in good.stdout


def spoil(folder, kind):
    """Make one thing wrong with the training split."""
    images, masks = folder / "data/train/images", folder / "data/train/mask"
    first, first_mask = images / "image_1_0.png", masks / "mask_1_0.png"
    if kind == "missing mask":
        first_mask.unlink()
    if kind == "truncated":
        first.write_bytes(first.read_bytes()[:200])
    if kind == "unreadable":
        first.write_bytes(b"no picture")
    if kind == "size mismatch":
        write(first_mask, mask(height=16))
    if kind == "label":
        write(first_mask, np.full((32, 48), 255, np.uint8))
    if kind == "empty":
        for path in images.iterdir():
            path.unlink()
    if kind == "shared mask":
        write(images / "mask_1_0.png", image())  # its own name is that of the first image's mask
    if kind == "size":
        for path in (first, first_mask):
            write(path, cv2.resize(cv2.imread(str(path), -1), (24, 16), interpolation=cv2.INTER_NEAREST))


@pytest.mark.parametrize(
    "kind, words",
    [
        ("missing mask", ["image_1_0.png", "no mask"]),
        ("truncated", ["image_1_0.png", "truncated"]),
        ("unreadable", ["image_1_0.png", "not a picture"]),
        ("size mismatch", ["mask_1_0.png", "16x48", "32x48"]),
        ("label", ["mask_1_0.png", "255", "NORMALIZE_MASK"]),
        ("empty", ["DATASET.TRAIN.IMAGES_PATH", "no pictures"]),
        ("shared mask", ["mask_1_0.png", "two images"]),
        ("size", ["image_1_0.png", "16x24", "PREPROCESS_DATA.RESIZE.VALUE=True"]),
    ],
)
def test_train_stops_with_2_before_anything_is_written(data, kind, words):
    spoil(data, kind)
    result = run_command("train.py", f"WORK_DIR={data}", "INPUT.HEIGHT=32", "INPUT.WIDTH=48")
    assert_one_clear_error(result, *words)
    assert not (data / "checkpoint").exists()


def test_neither_tensorflow_nor_keras_is_imported():
    code = (
        "import sys; import data_preparation.verify_data, data_preparation.preprocess_data, "
        "data_preparation.make_phantom; print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_images_that_two_splits_share_are_a_warning(data, capfd):
    """By their contents: under another name, and not if they are of one colour, as outside a body."""
    for split in ("train", "val"):
        write(data / f"data/{split}/images/image_2_0.png", np.zeros((32, 48, 3), np.uint8))
        write(data / f"data/{split}/mask/mask_2_0.png", mask())
    verify_data(config(data))
    assert "Warning" not in capfd.readouterr().err
    for kind in ("image", "mask"):
        folder = "images" if kind == "image" else kind
        source = data / f"data/train/{folder}/{kind}_1_3.png"
        (data / f"data/val/{folder}/{kind}_9_0.png").write_bytes(source.read_bytes())
    verify_data(config(data))
    printed = capfd.readouterr().err
    assert "Warning: val shares 1 image with train, such as " in printed and "image_9_0.png" in printed
    assert "image_1_3.png" in printed
    verify_data(config(data, "DATASET.VAL.IMAGES_PATH=data/train/images", "DATASET.VAL.MASK_PATH=data/train/mask"))
    assert "Warning: train and val have the same 5 images." in capfd.readouterr().err


def test_copies_in_hidden_and_generated_folders_and_unfetched_links(data, capfd):
    images = data / "data/val/images"
    for name in (".ipynb_checkpoints/copy.png", "@eaDir/thumb.png", "__MACOSX/a.png", "._image_1_0.png", "Thumbs.db"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes((data / "data/train/images/image_1_0.png").read_bytes())
    assert verify_data(config(data))["val"]["pairs"] == 4
    assert "Warning" not in capfd.readouterr().err
    for index in (1, 2):
        (images / f"image_1_{index}.png").unlink()
        (images / f"image_1_{index}.png").symlink_to(f"../.git/annex/{index}")
    assert "2 links lead nowhere" in message(config(data))
