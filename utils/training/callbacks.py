"""The callbacks of a training run: learning rate, best weights, log and curves."""

import csv
import math

import keras
import numpy as np

from utils.base.files import atomic_write, warn_if_not_saved, writable_folder
from utils.base.learning_curves import plot_curves
from utils.checkpoints import companion_path, save_first_weights, save_weights
from utils.training.progress import EpochLines, Progress, StepTimer
from utils.training.resume import Checkpoint, Stopping
from utils.training.schedules import learning_rate
from utils.training.tracking import Panel, build_trackers, log_folder

CURVES = "training_curves.png"


def build_callbacks(cfg, trainer, weights, log_path, score, replicas, place=(0, 1), examples=(), samples=()):
    """The callbacks of a training run.

    Args:
        cfg: checked config; CALLBACKS and VERBOSE are read.
        trainer: Trainer; the weights of its network are saved.
        weights: path of the weights to save.
        log_path: where the CSV log goes; the curves are drawn beside the weights.
        score: name of the metric that best weights and early stopping go by, higher is better.
        replicas: int, devices that share a batch.
        place: (number of this worker, workers); all but the first leave writing and printing to it.
        examples: list that each validation fills, see `utils.training.tracking.Panel`.
        samples: list of the training samples.
    """
    epochs, (number, workers) = cfg.HYPER_PARAMETERS.EPOCHS, place
    rate = LearningRate(cfg, score, replicas if cfg.STRATEGY.SCALE_LEARNING_RATE else 1)
    early = keras.callbacks.EarlyStopping(
        f"val_{score}",
        mode="max",
        patience=cfg.CALLBACKS.EARLY_STOPPING.PATIENCE,
        verbose=0 if number else min(cfg.VERBOSE, 1),
    )
    averages = [AveragedWeights()] if cfg.OPTIMIZER.EMA is not None else []
    if number:
        return [rate, early, *averages, Stopping(workers)]
    bar = {0: [], 1: [Progress(epochs, score)], 2: [EpochLines(epochs, score)]}[cfg.VERBOSE]
    if "bench_steps" in cfg:  # a run that only measures time leaves no files
        images = cfg.HYPER_PARAMETERS.BATCH_SIZE * replicas
        return [*bar, StepTimer(cfg.get("warmup_steps", 0), cfg.bench_steps, images)]
    logs = log_folder(
        writable_folder(cfg, cfg.CALLBACKS.TENSORBOARD.PATH, "CALLBACKS.TENSORBOARD.PATH"), companion_path(weights, "")
    )
    callbacks = [
        rate,
        BestWeights(trainer.network, cfg, weights, score),
        EpochLog(log_path, weights.parent / CURVES, cfg.CALLBACKS.CSV_LOGGER.APPEND_LOGS),
        early,
        keras.callbacks.TensorBoard(str(logs), write_graph=False),
        Panel(logs, cfg, examples, trainer.waiting, len(samples)),
        *build_trackers(cfg, companion_path(weights, "").name),
        *bar,
        *averages,
    ]
    return [*callbacks, Checkpoint(cfg, trainer, weights, callbacks, samples)]


class LearningRate(keras.callbacks.Callback):
    """Set the learning rate at the start of each epoch, lower it on a plateau, and note it in the logs.

    Args:
        cfg: checked config; LR_SCHEDULE, HYPER_PARAMETERS are read.
        score: name of the metric whose validation value counts, higher is better.
        scale: factor of all learning rates.

    Attributes:
        factor: float, what plateaus have left of the schedule's rate; best, waited: score and epochs of this plateau.
    """

    def __init__(self, cfg, score, scale=1):
        super().__init__()
        self.cfg = cfg
        self.scale = scale
        self.monitor = f"val_{score}"
        patience = cfg.LR_SCHEDULE.PLATEAU_PATIENCE
        self.patience = 10 if patience is None and cfg.LR_SCHEDULE.NAME == "plateau" else patience
        self.factor, self.best, self.waited = 1.0, -math.inf, 0

    def on_epoch_begin(self, epoch, logs=None):
        rate = learning_rate(self.cfg, epoch) * self.factor
        self.model.optimizer.learning_rate = max(rate, self.cfg.LR_SCHEDULE.MINIMUM) * self.scale

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if logs[self.monitor] > self.best:
            self.best, self.waited = logs[self.monitor], 0
            return
        self.waited += 1
        if self.patience is not None and self.waited >= self.patience:
            self.factor, self.waited = self.factor * self.cfg.LR_SCHEDULE.PLATEAU_FACTOR, 0


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """With OPTIMIZER.EMA: validation and what is saved at the end of an epoch see the averaged weights.

    To be the last callback: the weights that are trained come back when all others are done with the epoch.
    """

    def on_test_begin(self, logs=None):
        self._swap_variables()

    def on_test_end(self, logs=None):
        """The averages stay until the end of the epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self._swap_variables()


class BestWeights(keras.callbacks.Callback):
    """Save weights and config whenever the validation score is better than before, or after every epoch.

    An epoch whose loss is not a finite number is never saved. With the first save the files of an earlier run are
    renamed, so that weights and config always belong together. What a full disk keeps from being saved is not the best.

    Args:
        network: the model.
        cfg: config; CALLBACKS.MODEL_CHECKPOINT says when to save, and whether the whole model goes beside the weights.
        path: of the weights.
        score: name of the metric, higher is better.

    Attributes:
        best: float or None, best value so far; best_epoch: int, counted from 1; best_logs: all scores of that epoch.
        failed: bool, the last attempt to save did not succeed.
    """

    def __init__(self, network, cfg, path, score):
        super().__init__()
        self.network = network
        self.cfg = cfg
        self.path = path
        self.monitor = f"val_{score}"
        self.best = None
        self.best_epoch = 0
        self.best_logs = {}
        self.failed = False

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
            return
        first, better = self.best is None, self.best is None or logs[self.monitor] > self.best
        settings = self.cfg.CALLBACKS.MODEL_CHECKPOINT
        if not better and settings.SAVE_BEST_ONLY:
            return
        with warn_if_not_saved("the best weights" if better else "the newest weights") as errors:
            if first:
                save_first_weights(self.network, self.cfg, self.path)
            else:
                save_weights(self.network, self.path, settings.KEEP - 1)
            if not settings.SAVE_WEIGHTS_ONLY:
                with atomic_write(companion_path(self.path, ".keras")) as temporary:
                    self.network.save(temporary)
        self.failed = bool(errors)
        if better and not self.failed:
            self.best, self.best_epoch, self.best_logs = float(logs[self.monitor]), epoch + 1, dict(logs)


class EpochLog(keras.callbacks.Callback):
    """Write the logs of all epochs as a CSV table and draw them as curves, after every epoch.

    Args:
        path: of the table; it is replaced.
        curves: path of the picture.
        append: keep the rows of the table that is there.

    Attributes:
        rows: list of {log name: float}, one per epoch.
    """

    def __init__(self, path, curves, append):
        super().__init__()
        self.path = path
        self.curves = curves
        self.append = append
        self.earlier = []
        self.rows = []

    def on_train_begin(self, logs=None):
        if self.append and not self.rows and self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                self.earlier = list(csv.DictReader(file))

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch, **{name: float(value) for name, value in sorted(logs.items())}})
        with warn_if_not_saved("the log"):
            with atomic_write(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.rows[0].keys(), extrasaction="ignore", restval="")
                writer.writeheader()
                writer.writerows([*self.earlier, *self.rows])
            plot_curves({name: [row[name] for row in self.rows] for name in logs}, self.curves)
