"""The callbacks of a training run, and those that steer it: learning rate, early stopping, averaged weights."""

import math
from typing import Any

import keras
from omegaconf import DictConfig

from data_generators.dataset import Dataset
from losses import main_score
from utils.devices.strategy import worker
from utils.training.checkpoint import Checkpoint, StopOnSignal
from utils.training.outputs import Outputs
from utils.training.progress import EpochLines, Progress, StepTimer
from utils.training.saving import BestWeights, EpochLog
from utils.training.schedules import learning_rate
from utils.training.state import StatefulCallback
from utils.training.tracking import TensorBoardPanel, build_trackers, new_log_folder
from utils.training.trainer import Trainer
from utils.training.validation import Validation

Logs = dict[str, float]

# VERBOSE -> callbacks that print, made from the number of epochs and the name of the score
PRINTERS = {0: (), 1: (Progress,), 2: (EpochLines,)}


def build_callbacks(
    cfg: DictConfig, trainer: Trainer, validate: Validation, data: Dataset, outputs: Outputs
) -> list[keras.callbacks.Callback]:
    """The callbacks of a training run, in the order in which they are called.

    All workers but the first leave writing and printing to it. A run that only measures time (+bench_steps) writes
    nothing.

    Args:
        cfg: checked config; CALLBACKS and VERBOSE are read.
        trainer: the weights of its network are saved.
        validate: its examples are shown in TensorBoard.
        data: the training data.
        outputs: where the files go.
    """
    score, replicas = main_score(cfg), trainer.distribute_strategy.num_replicas_in_sync
    number, workers = worker(trainer.distribute_strategy)
    rate = LearningRate(cfg, score, replicas if cfg.STRATEGY.SCALE_LEARNING_RATE else 1)
    early_stopping = EarlyStopping(
        f"val_{score}",
        mode="max",
        patience=cfg.CALLBACKS.EARLY_STOPPING.PATIENCE,
        verbose=0 if number else min(cfg.VERBOSE, 1),
    )
    averages = [AveragedWeights()] if cfg.OPTIMIZER.EMA is not None else []
    if number:
        return [rate, early_stopping, *averages, StopOnSignal(workers)]
    printers = [printer(cfg.HYPER_PARAMETERS.EPOCHS, score) for printer in PRINTERS[cfg.VERBOSE]]
    if "bench_steps" in cfg:
        images = cfg.HYPER_PARAMETERS.BATCH_SIZE * replicas
        return [*printers, StepTimer(cfg.get("warmup_steps", 0), cfg.bench_steps, images)]
    tensorboard = new_log_folder(outputs.tensorboard, outputs.name)
    callbacks = [
        rate,
        BestWeights(trainer.network, cfg, outputs.weights, score),
        EpochLog(outputs.log, outputs.curves, cfg.CALLBACKS.CSV_LOGGER.APPEND_LOGS),
        early_stopping,
        keras.callbacks.TensorBoard(str(tensorboard), write_graph=False),
        TensorBoardPanel(tensorboard, cfg, validate.examples, trainer.data_wait, len(data.samples)),
        *build_trackers(cfg, outputs.name),
        *printers,
        *averages,
    ]
    return [*callbacks, Checkpoint(cfg, trainer, outputs.weights, callbacks, data)]


class LearningRate(StatefulCallback):
    """Set the learning rate at the start of each epoch, lower it on a plateau, and add it to the logs.

    Args:
        cfg: checked config; LR_SCHEDULE and HYPER_PARAMETERS are read.
        score: name of the metric whose validation value decides what a plateau is; higher is better.
        scale: factor of all learning rates.

    Attributes:
        factor: what plateaus have left of the schedule's rate, 0 to 1.
        best, waited: best score of this plateau, and epochs since.
    """

    state_key = "LearningRate"

    def __init__(self, cfg: DictConfig, score: str, scale: float = 1) -> None:
        super().__init__()
        self.cfg = cfg
        self.scale = scale
        self.monitor = f"val_{score}"
        patience = cfg.LR_SCHEDULE.PLATEAU_PATIENCE
        self.patience = 10 if patience is None and cfg.LR_SCHEDULE.NAME == "plateau" else patience
        self.factor, self.best, self.waited = 1.0, -math.inf, 0

    def state(self) -> dict[str, Any]:
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        self.factor, self.best, self.waited = state["factor"], state["best"], state["waited"]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        rate = learning_rate(self.cfg, epoch) * self.factor
        self.model.optimizer.learning_rate = max(rate, self.cfg.LR_SCHEDULE.MINIMUM) * self.scale

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if logs[self.monitor] > self.best:
            self.best, self.waited = logs[self.monitor], 0
            return
        self.waited += 1
        if self.patience is not None and self.waited >= self.patience:
            self.factor, self.waited = self.factor * self.cfg.LR_SCHEDULE.PLATEAU_FACTOR, 0


class EarlyStopping(keras.callbacks.EarlyStopping, StatefulCallback):
    """Keras's early stopping, which a resumed run continues: its patience counts the epochs before the interruption."""

    state_key = "EarlyStopping"
    restored: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "best_epoch", "wait", "stopped_epoch")}

    def restore(self, state: dict[str, Any]) -> None:
        self.restored = state

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)  # forgets everything
        for name, value in (self.restored or {}).items():
            setattr(self, name, value)


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """With OPTIMIZER.EMA, validate and save the averaged weights.

    Place it after all callbacks that look at the weights: at the end of an epoch it brings back those being trained.
    """

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap_variables()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Keep the averages until the end of the epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._swap_variables()
