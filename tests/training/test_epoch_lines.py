"""The line of an epoch, and what is said when a signal comes."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from utils.config import load_config
from utils.training import announce_stop as announcing
from utils.training.announce_stop import announce_stop
from utils.training.console import describe_baseline
from utils.training.epoch_lines import EpochLines
from utils.training.watching import NothingFound

LOGS = {"loss": 0.5, "val_loss": 0.625, "dice": 0.75, "val_dice": 0.8125, "learning_rate": 1e-3}


class Best:
    best_epoch = 0


def run(lines, epoch, logs, steps=12):
    lines.set_params({"steps": steps})
    lines.on_epoch_begin(epoch)
    for step in range(steps):
        lines.on_train_batch_end(step, logs)
    lines.on_epoch_end(epoch, logs)


def test_an_epoch_is_a_line_that_marks_the_best_and_a_new_learning_rate(capsys):
    best = Best()
    lines = EpochLines(10, "dice", best, live=False)
    for epoch, rate in enumerate([1e-3, 1e-3, 5e-4]):
        best.best_epoch = min(epoch + 1, 2)
        run(lines, epoch, LOGS | {"learning_rate": rate})
    assert capsys.readouterr().out.splitlines() == [
        "              time     loss      val     dice      val       lr  * best so far",
        "Epoch 1/10    0:00   0.5000   0.6250   0.7500   0.8125    0.001  *",
        "Epoch 2/10    0:00   0.5000   0.6250   0.7500   0.8125           *",
        "Epoch 3/10    0:00   0.5000   0.6250   0.7500   0.8125   0.0005",
    ]


@pytest.mark.parametrize("score", ["dice", "dice_coef", "iou_all_classes"])
@pytest.mark.parametrize("value", [0.0, 0.99999, 12345.6, 1e9, float("nan")])
def test_a_line_fits_80_columns_and_shows_the_validation_score(score, value):
    best = Best()
    best.best_epoch = 200
    lines = EpochLines(200, score, best, live=False)
    logs = dict.fromkeys(("loss", "val_loss", score, f"val_{score}"), value) | {"learning_rate": 1.25e-05}
    line = lines.line(199, 3599, logs)
    assert len(line) < 80 and len(lines.header()) < 80 and "* best" in lines.header()
    assert line.endswith("1.25e-05  *") and line.split()[6] == line.split()[3]


def test_time_left_of_epoch_and_run_is_told_after_ten_steps(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lines = EpochLines(3, "dice", None, live=False)
    lines.set_params({"steps": 20})
    lines.on_epoch_begin(0)
    shown = {}
    for step in range(19):
        now += 30 if step == 0 else 1  # the first step compiles
        lines.on_train_batch_end(step, LOGS)
        shown[step + 1] = lines.task.line(80, now).plain
    assert "left" not in shown[9]
    assert "left 0:10  run 0:50" in shown[10]  # ten steps, and two epochs of twenty
    assert all("loss 0.5000" in line and len(line) < 80 for line in shown.values())


def test_a_signal_is_answered_at_once_and_a_second_one_ends_the_process(capsys, monkeypatch):
    ended = threading.Event()
    codes = []
    monkeypatch.setattr(announcing, "PATIENCE", 0.05)
    monkeypatch.setattr(announcing.os, "_exit", lambda code: (codes.append(code), ended.set()))
    with announce_stop(workers=1):
        signal.signal(signal.SIGINT, lambda number, frame: None)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        assert capsys.readouterr().err == "stopping after this step; again to stop now\n"
        os.kill(os.getpid(), signal.SIGINT)
        assert ended.wait(5)
    assert codes == [128 + signal.SIGINT]
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(
    "scores, after", [([0.0] * 5, 3), ([0.0, 0.0, 0.5, 0.0, 0.0], None), ([0.1, 0.0, 0.0, 0.0], 4)]
)
def test_three_epochs_in_a_row_without_a_find_name_a_remedy_once(scores, after, capsys):
    watching, warned = NothingFound("val_dice"), []
    for epoch, score in enumerate(scores, 1):
        watching.on_epoch_end(epoch - 1, LOGS | {"val_dice": score})
        if "val_dice was 0 for 3 epochs" in (said := capsys.readouterr().err):
            warned.append(epoch)
            assert "loss=bce_dice" in said and "DATASET.FOREGROUND_FRACTION=0.5" in said
    assert warned == ([after] if after else [])


def test_a_class_that_is_not_found_for_three_epochs_is_said_once(capsys):
    """Not one that does not occur, and not one that is found in between."""
    watching, said = NothingFound("val_dice", np.array([[9, 5, 5, 0]]), ["background", "liver", "cyst", "vessel"]), []
    for cyst in (0.0, 0.3, 0.01, 0.0, 0.0, 0.0):
        classes = {"val_dice_class1": 0.9, "val_dice_class2": cyst, "val_dice_class3": 0.0}
        watching.on_epoch_end(len(said), LOGS | {"val_dice": 0.5} | classes)
        said.append(capsys.readouterr().err)
    assert [bool(line) for line in said] == [False] * 4 + [True, False]
    assert "for 3 epochs hardly ever found, though in the truth: cyst (class 2, Dice 0.0000)" in said[4]


def test_the_constant_answer_at_the_start_has_the_score_that_is_watched():
    data = {"val": {"label_counts": np.array([[70, 20, 10]])}}
    assert describe_baseline(load_config(["OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[sky,road,al/l]"]), data) == (
        "constant answer, validation: iou_all_classes 0.2333, dice 0.2745, iou 0.2333 (all sky)"
    )
