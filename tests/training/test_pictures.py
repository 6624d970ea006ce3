"""The pictures that training writes: learning curves, and validation images with their predictions."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from utils.base.learning_curves import OF_CLASSES, draw_curves
from utils.config import load_config
from utils.training.mosaic import Mosaic, ValidationPicture
from utils.training.saving import EpochLog, draw_the_rest

LOGS = {
    "loss": 2.0,
    "val_loss": 3.0,
    "dice": 0.1,
    "val_dice_class1": 0.5,
    "val_dice_class2": 0.2,
    "val_iou_class1": 0.4,
    "learning_rate": 0.1,
    "gradient_norm": 1.0,
}


def test_curves_have_a_title_the_best_epoch_and_each_class():
    history = {name: [value, value / 2] for name, value in LOGS.items()} | {"seconds": [math.nan, 7.0]}
    figure = draw_curves(history, "model_m, trained on 8 images", 2, ["background", "liver", "tumour"])
    panels = {axes.get_title(): axes for axes in figure.get_axes()}
    assert list(panels) == [
        "loss", "score", "dice of each class (validation)", "learning rate", "gradient norm", "seconds per epoch",
    ]  # fmt: skip
    assert figure.get_suptitle() == "model_m, trained on 8 images"
    lines = panels["dice of each class (validation)"].get_legend().get_texts()
    assert [text.get_text() for text in lines] == ["liver 0.250", "tumour 0.100"]
    first = draw_curves(history, "", 1).get_axes()[2].get_legend()
    assert [text.get_text() for text in first.get_texts()] == ["class1 0.500", "class2 0.200"]  # of the best epoch
    assert first.get_title().get_text() == "epoch 1"
    figure.draw_without_rendering()
    for name in ("loss", "score"):  # the legend hides no line
        assert panels[name].get_legend().get_window_extent().y1 < panels[name].get_window_extent().y0
    assert all(axes.get_lines()[-1].get_xdata()[0] == 2 for axes in panels.values())  # the mark
    heights = {title: axes.get_window_extent().height for title, axes in panels.items()}
    assert heights["learning rate"] < heights["loss"] / 2
    one_class = draw_curves({"loss": [1.0], "val_dice_class1": [0.5]})
    assert [axes.get_title() for axes in one_class.get_axes()] == ["loss"] and OF_CLASSES not in one_class.get_axes()


def test_seconds_are_those_of_whole_epochs(tmp_path, monkeypatch):
    """An epoch that began in an earlier process has no duration, and the table has none at all."""
    drawn = []
    monkeypatch.setattr("utils.training.saving.plot_curves", lambda history, *rest: drawn.append((history, rest)))
    log = EpochLog(
        tmp_path / "log.csv", tmp_path / "c.png", False, "1", [], "title", SimpleNamespace(best_epoch=1), ["a", "b"]
    )
    log.on_train_batch_begin(5)
    log.on_epoch_end(0, dict(LOGS))
    log.on_train_batch_begin(0)
    log.on_epoch_end(1, dict(LOGS))
    log.draw()
    history, rest = drawn[-1]
    assert math.isnan(history["seconds"][0]) and 0 < history["seconds"][1] < 60
    assert rest == (tmp_path / "c.png", "title", 1, ["a", "b"])
    assert "seconds" not in (tmp_path / "log.csv").read_text()


def test_curves_are_drawn_once_a_minute_and_miss_no_epoch(tmp_path, monkeypatch):
    clock, drawn = SimpleNamespace(now=0.0), []

    def draw(history, *rest):
        drawn.append(len(history["loss"]))
        clock.now += 2

    monkeypatch.setattr("utils.training.saving.plot_curves", draw)
    monkeypatch.setattr("utils.training.saving.time.perf_counter", lambda: clock.now)
    log = EpochLog(tmp_path / "log.csv", tmp_path / "c.png", False, "1")
    with pytest.raises(SystemExit), draw_the_rest([log]):
        for epoch in range(10):
            clock.now += 15
            log.on_epoch_end(epoch, dict(LOGS))
        raise SystemExit(130)  # stopped
    assert drawn == [1, 5, 9, 10]
    with draw_the_rest([log]):
        pass
    assert len(drawn) == 4  # nothing is drawn twice


def validate(mosaic, predicted, batch=3):
    """Show a mosaic images of a square, of which the given number of rows is predicted."""
    truth = np.zeros((len(predicted), 32, 32, 1), np.uint8)
    truth[:, 8:24, 8:24] = 1
    found = np.zeros_like(truth)
    for number, rows in enumerate(predicted):
        found[number, 8 : 8 + rows, 8:24] = 1
    mosaic.begin()
    for first in range(0, len(predicted), batch):
        part = slice(first, first + batch)
        images = np.full((len(truth[part]), 32, 32, 3), 0.5, np.float32)
        mosaic.add(images, truth[part], np.concatenate([1 - found, found], -1)[part].astype(np.float32))


def test_the_worst_median_and_best_images_of_an_epoch(tmp_path):
    mosaic = Mosaic(load_config(["CALLBACKS.VALIDATION_IMAGES=11"]), total=21)
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(11), 2))[:21]
    for _ in range(2):  # the second epoch replaces the first
        validate(mosaic, rows)
    dice = sorted(2 * int(count) / (count + 16) for count in rows[::2])
    assert sorted(tile.dice for tile in mosaic.tiles) == pytest.approx(dice)
    assert [(label, tile.dice) for label, tile in mosaic.choose()] == [
        *(("worst", pytest.approx(value)) for value in dice[:3]),
        *(("median", pytest.approx(value)) for value in dice[4:6]),
        *(("best", pytest.approx(value)) for value in dice[-3:]),
    ]
    path = tmp_path / "validation.png"
    titles = []
    draw = mosaic.draw
    mosaic.draw = lambda title: (titles.append(title), draw(title))[1]
    for saved in (2, 1):
        ValidationPicture(path, mosaic, "model_m", lambda saved=saved: saved).on_epoch_end(1)
    assert titles == [
        "epoch 2: from 11 of 21 validation images",
        "epoch 2 (the saved weights are of epoch 1): from 11 of 21 validation images",
    ]
    height, width, _ = cv2.imread(str(path)).shape
    assert height < width < 1100


def test_few_images_are_all_shown_and_many_classes_in_two_panels():
    names = f"[sky,{','.join(f'c{index}' for index in range(10))}]"
    mosaic = Mosaic(load_config(["OUTPUT.CLASSES=11", f"OUTPUT.CLASS_NAMES={names}"]), total=2)
    mosaic.begin()
    mosaic.add(
        np.zeros((2, 16, 40, 3), np.float32), np.ones((2, 16, 40, 1), np.uint8), np.eye(11)[np.ones((2, 16, 40), int)]
    )
    assert [(label, tile.dice) for label, tile in mosaic.choose()] == [("", 1.0), ("", 1.0)]
    assert mosaic.draw("").shape[1] == 2 * (2 * 200 + 4)  # 40 pixels are enlarged five times
