"""What picks the best weights and ends a run early: a score that no constant answer wins."""

import math
import re

import cv2
import keras
import numpy as np
import pytest

from losses.monitor import Monitor, build_monitor, list_scores
from losses.supervision import build_output_metrics
from train import train
from utils.base.errors import UserError
from utils.config import load_config
from utils.training.callbacks import EarlyStopping, LearningRate
from utils.training.console import print_end, print_start
from utils.training.outputs import Outputs
from utils.training.saving import BestWeights, EpochLog, find_best_weights
from utils.training.watching import DivergenceWarning

DICE = Monitor("dice", True)


@pytest.mark.parametrize(
    "overrides, name",
    [
        ([], "dice"),
        (["OUTPUT.CLASSES=1"], "dice"),
        (["OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[_background_,a,b]"], "dice"),
        (["OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[sky,road,tree]"], "iou_all_classes"),
        (["OUTPUT.CLASSES=3", "OUTPUT.BACKGROUND=False"], "iou_all_classes"),
        (["OUTPUT.CLASSES=2", "OUTPUT.CLASS_NAMES=[other,cell]", "OUTPUT.BACKGROUND=True"], "dice"),
        (["OUTPUT.CLASSES=1", "OUTPUT.BACKGROUND=False"], "dice"),
        (["MODEL.TYPE=classifier"], "roc_auc"),
        (["CALLBACKS.MODEL_CHECKPOINT.MONITOR=val_dice_coef"], "dice_coef"),
        (["OUTPUT.CLASSES=4", "CALLBACKS.MODEL_CHECKPOINT.MONITOR=iou_class3"], "iou_class3"),
    ],
)
def test_the_score_that_is_watched(overrides, name):
    assert build_monitor(load_config(overrides)) == Monitor(name, True)


def test_early_stopping_may_watch_another_score():
    cfg = load_config(["CALLBACKS.EARLY_STOPPING.MONITOR=val_loss", "CALLBACKS.MODEL_CHECKPOINT.MONITOR=iou"])
    assert build_monitor(cfg, "EARLY_STOPPING") == Monitor("loss", False)
    assert build_monitor(cfg) == Monitor("iou", True)
    cfg.CALLBACKS.EARLY_STOPPING.MONITOR = None
    assert build_monitor(cfg, "EARLY_STOPPING") == Monitor("iou", True)


def test_the_loss_is_better_if_it_is_lower():
    monitor = build_monitor(load_config(["CALLBACKS.MODEL_CHECKPOINT.MONITOR=val_loss"]))
    assert monitor.rank({"val_loss": 1.0}) > monitor.rank({"val_loss": 2.0})


@pytest.mark.parametrize("wanted", ["dcie", "dice_class2", "iou_all", "learning_rate", "presence_accuracy"])
@pytest.mark.parametrize("callback", ["MODEL_CHECKPOINT", "EARLY_STOPPING"])
def test_a_score_that_training_does_not_have(wanted, callback):
    with pytest.raises(UserError, match=rf"{callback}.MONITOR={wanted}"):
        load_config([f"CALLBACKS.{callback}.MONITOR={wanted}"])


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_every_score_of_the_log_has_a_direction(classes):
    cfg = load_config([f"OUTPUT.CLASSES={classes}", "MODEL.CGM=True", "MODEL.TYPE=unet3plus"])
    truth = np.zeros((1, 4, 4, 1), "uint8")
    outputs = {"mask": np.zeros((1, 4, 4, classes), "float32"), "presence": np.zeros((1, max(classes - 1, 1)))}
    names = {"loss"}
    for output, metrics in build_output_metrics(cfg, outputs).items():
        for metric in metrics:
            metric.update_state(truth, outputs[output])
            value = metric.result()
            names |= set(value) if isinstance(value, dict) else {metric.name}
    assert names == set(list_scores(cfg))


class Network:
    """In place of a network: saves nothing."""


def best_weights(tmp_path, monitor=DICE):
    callback = BestWeights(Network(), load_config(), tmp_path / "m.weights.h5", monitor)
    callback.save = lambda: None
    return callback


def logs(dice, loss, dice_coef=0.5):
    return {"loss": 1.0, "val_loss": loss, "val_dice": dice, "val_dice_coef": dice_coef}


@pytest.mark.parametrize(
    "epochs, best",
    [
        ([(0.0, 1.0), (0.2, 3.0), (0.1, 0.5)], 2),
        ([(0.0, 1.0), (0.0, 0.9), (0.0, 0.95)], 2),  # equal scores: the lower loss
        ([(0.5, 1.0), (0.5, 1.0), (0.4, 0.1)], 2),  # equal in both: the later
        ([(math.nan, 1.0), (0.0, 2.0), (math.nan, 0.1)], 2),  # undefined is below all others
        ([(math.nan, 1.0), (math.nan, 0.5), (math.nan, 0.7)], 2),
    ],
)
def test_the_best_epoch(epochs, best, tmp_path):
    callback = best_weights(tmp_path)
    for epoch, (dice, loss) in enumerate(epochs):
        callback.on_epoch_end(epoch, logs(dice, loss))
    assert callback.best_epoch == best
    resumed = best_weights(tmp_path)
    resumed.restore(callback.state())
    resumed.on_epoch_end(3, logs(math.nan, 9.0))
    assert resumed.best_epoch == best


def test_early_stopping_counts_epochs_that_are_no_better_and_goes_on_counting():
    def run(values, state=None):
        callback = EarlyStopping(DICE, 2, verbose=False)
        callback.set_model(keras.Sequential())
        callback.model.stop_training = False
        if state:
            callback.restore(state)
        for epoch, (dice, loss) in enumerate(values):
            callback.on_epoch_end(epoch + (10 if state else 0), logs(dice, loss))
            if callback.model.stop_training:
                return epoch, callback.state()
        return None, callback.state()

    assert run([(0.5, 1), (0.4, 1), (0.5, 1), (0.6, 1)])[0] == 2
    assert run([(0.0, 3), (0.0, 2), (0.0, 1), (0.0, 0.5)])[0] is None
    assert run([(math.nan, 1), (math.nan, 1), (0.1, 1)])[0] is None
    _, state = run([(0.5, 1), (0.4, 1)])
    assert run([(0.5, 1)], state)[0] == 0


def test_states_of_earlier_versions_watched_another_score(tmp_path):
    earlier = {"best": 0.9, "best_epoch": 4, "best_logs": logs(0.3, 1.0, 0.9)}
    callback = best_weights(tmp_path)
    callback.restore(earlier)
    callback.on_epoch_end(4, logs(0.2, 0.5, 0.95))
    assert (callback.best_epoch, callback.best) == (4, 0.3)
    callback.on_epoch_end(5, logs(0.4, 2.0, 0.1))
    assert (callback.best_epoch, callback.best) == (6, 0.4)
    keras_state = {"best": 0.9, "best_epoch": 3, "wait": 7, "stopped_epoch": 0}
    stopping = EarlyStopping(DICE, 8, verbose=False)
    stopping.restore(keras_state)
    rate = LearningRate(load_config(["LR_SCHEDULE.NAME=plateau"]), DICE)
    rate.restore({"factor": 0.1, "best": 0.9, "waited": 3})
    assert stopping.since_best.best is None and rate.factor == 0.1 and rate.since_best.best is None


def test_the_scores_of_the_best_epoch_come_from_the_log_if_the_state_has_none(tmp_path):
    best, log = best_weights(tmp_path), EpochLog(tmp_path / "log.csv", tmp_path / "curves.png", False, "a")
    best.restore({"best": 0.9, "best_epoch": 2})
    log.restore({"rows": [{"epoch": 0, **logs(0.1, 3.0)}, {"epoch": 1, **logs(0.2, 2.0)}]})
    assert find_best_weights([log, best]).best_logs == logs(0.2, 2.0)


def test_an_empty_network_is_not_the_best(tmp_path):
    """Most validation images are empty: dice_coef is highest for the answer that is always empty."""
    rng = np.random.default_rng(0)
    for split, images in (("train", 8), ("val", 20)):
        for kind in ("images", "mask"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number in range(images):
            mask = np.zeros((32, 32), np.uint8)
            if split == "train" or number == 0:
                mask[8:24, 8:24] = 1
            image = mask * 150 + rng.integers(0, 60, mask.shape).astype("uint8")
            cv2.imwrite(str(tmp_path / "data" / split / "images" / f"image_0_{number}.png"), image)
            cv2.imwrite(str(tmp_path / "data" / split / "mask" / f"mask_0_{number}.png"), mask)
    settings = [f"WORK_DIR={tmp_path}", "MODEL.TYPE=tiny_unet3plus", "MODEL.FILTERS=[4,8]", "VERBOSE=0"]
    settings += ["INPUT.HEIGHT=32", "INPUT.WIDTH=32", "HYPER_PARAMETERS.EPOCHS=4", "HYPER_PARAMETERS.BATCH_SIZE=2"]
    settings += ["CALLBACKS.EARLY_STOPPING.PATIENCE=null", "CALLBACKS.TENSORBOARD.HISTOGRAM_EVERY=2"]
    history = train(load_config([*settings, "HYPER_PARAMETERS.LEARNING_RATE=1e-2", "loss=cce_dice"]))
    summary = (tmp_path / "checkpoint/model_tiny_unet3plus.run.json").read_text()
    assert '"score": "val_dice"' in summary
    epoch = int(re.search(r'"best": {\s*"epoch": (\d+)', summary)[1])
    assert history["val_dice"][epoch - 1] == max(history["val_dice"]) > 0
    assert epochs_with_histograms(tmp_path / "checkpoint/tb_logs") == {1, 3}


def epochs_with_histograms(folder):
    """The epochs for which TensorBoard has a histogram of some weights."""
    tf = pytest.importorskip("tensorflow")
    events = [
        event
        for path in folder.rglob("events.out.tfevents.*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
    ]
    kinds = {(event.step, value.metadata.plugin_data.plugin_name) for event in events for value in event.summary.value}
    return {step for step, kind in kinds if kind == "histograms"}


@pytest.mark.parametrize(
    "value, words",
    [
        (0.0, "val_dice is 0.0000, below 0.0952"),
        (math.nan, "val_dice is not defined in any"),
        (0.09, "below 0.0952"),
        (0.096, "no better than 0.0952"),
        (0.11, ""),
    ],
)
def test_a_network_that_learnt_nothing_is_said(value, words, tmp_path, capsys):
    best = best_weights(tmp_path)
    best.on_epoch_end(0, logs(value, 1.0))
    printed = print_the_end(best, ["CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY=False"], [95, 5], tmp_path, capsys)
    assert words in printed.err and bool(printed.err) == bool(words)
    assert "The weights are those of the newest epoch" in printed.out


def test_one_class_everywhere_is_said_at_the_end(tmp_path, capsys):
    """Dice of class 1 is high where nearly all is class 1, and above that of the masks as stored by rounding."""
    best = best_weights(tmp_path)
    scores = {"val_dice": 0.8662, "val_dice_class0": 0.0, "val_dice_class1": 0.8662, "dice": 0.86}
    best.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0, **scores})
    cell = ["OUTPUT.CLASS_NAMES=[background,cell]"]
    printed = print_the_end(best, cell, [2368, 7632], tmp_path, capsys)
    assert "no better than 0.8657" in printed.err
    assert "hardly ever found, though in the truth: background (class 0, Dice 0.0000)" in printed.err


def test_the_scores_of_the_best_epoch_are_few_named_and_in_order(tmp_path, capsys):
    best, names = best_weights(tmp_path), [f"thing {index}" for index in range(11)]
    both = {f"{score}_class{index}": 0.5 for score in ("dice", "iou") for index in (0, 1, 10, *range(2, 10))}
    both |= {"dice": 0.5, "iou": 0.4, "iou_all_classes": 0.4, "loss": 1.0}
    best.on_epoch_end(0, both | {f"val_{name}": value for name, value in both.items()} | {"gradient_norm": 2.0})
    settings = ["OUTPUT.CLASSES=11", f"OUTPUT.CLASS_NAMES={names}", "DATASET.CROP.MODE=random"]
    printed = print_the_end(best, settings, [100] * 11, tmp_path, capsys)
    rows = [line.split("  ")[0] for line in printed.out.split("\u2500\n")[1].splitlines()]
    assert rows[:15] == ["loss", "dice", "iou", "iou_all_classes", *(f"dice, {name}" for name in names)]
    assert "evaluate.py whole images" in printed.out and not printed.err
    assert max(map(len, printed.out.splitlines()[:17])) <= 80


def print_the_end(best, settings, counts, tmp_path, capsys):
    """What `print_end` prints."""
    data = {"val": {"label_counts": np.array([counts])}}
    print_end(load_config(["VERBOSE=1", *settings]), best, Outputs(*[tmp_path / "m.weights.h5"] * 5), data)
    return capsys.readouterr()


def test_a_loss_that_grows_a_thousandfold_is_said_once(capsys):
    watch = DivergenceWarning()
    for loss in (2.0, 1.0, 900.0):
        watch.on_train_batch_end(0, {"loss": loss})
    assert not capsys.readouterr().err
    for loss in (1e29, 1e30):
        watch.on_train_batch_end(0, {"loss": loss})
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "from 1 to 1e+29" in line and "HYPER_PARAMETERS.LEARNING_RATE" in line


@pytest.mark.parametrize("counts, lines", [([[100, 0], [100, 0], [88, 12]], 1), ([[50, 50], [60, 40], [100, 0]], 0)])
def test_the_start_warns_of_a_monitor_that_is_a_bad_fit(counts, lines, capsys):
    """Two of three masks are empty, or one."""
    cfg = load_config(["CALLBACKS.MODEL_CHECKPOINT.MONITOR=dice_coef", "VERBOSE=0"])
    print_start(cfg, None, {"val": {"label_counts": np.array(counts)}}, None)
    assert capsys.readouterr().err.count("Set it to dice.\n") == lines
