"""The callbacks of a training run, and those that steer it: learning rate, early stopping, averaged weights."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import keras
from omegaconf import DictConfig
from pydantic import Field, NonNegativeInt

from data_generators.dataset import Dataset
from losses.monitor import Monitor, Rank, build_monitor, default_monitor
from utils.base.wording import counted
from utils.checkpoints.start_weights import Taken
from utils.config.class_names import mask_class_names
from utils.devices.strategy import worker
from utils.training.checkpoint import Checkpoint, StopOnSignal
from utils.training.epoch_lines import EpochLines
from utils.training.freeze_end import FreezeEnd
from utils.training.mosaic import Mosaic, ValidationPicture
from utils.training.outputs import Outputs
from utils.training.saving import BestWeights, EpochLog
from utils.training.schedules import learning_rate
from utils.training.state import LogName, StatefulCallback
from utils.training.tensorboard import TensorBoard, log_folder
from utils.training.tracking import build_trackers
from utils.training.trainer import Trainer
from utils.training.validation import Validation
from utils.training.watching import DivergenceWarning, NothingFound, StepTimer

Logs = dict[str, float]


def build_callbacks(
    cfg: DictConfig,
    trainer: Trainer,
    validate: Validation,
    data: Dataset,
    outputs: Outputs,
    facts: Mapping[str, Mapping[str, Any]],
    taken: Taken | None = None,
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
        facts: of `verify_data`.
        taken: what MODEL.INIT gave, or None.
    """
    monitor, replicas = build_monitor(cfg), trainer.distribute_strategy.num_replicas_in_sync
    number, workers = worker(trainer.distribute_strategy)
    rate = LearningRate(cfg, monitor, replicas if cfg.STRATEGY.SCALE_LEARNING_RATE else 1)
    early_stopping = []
    if (patience := cfg.CALLBACKS.EARLY_STOPPING.PATIENCE) is not None:
        verbose = cfg.VERBOSE > 0 and number == 0
        early_stopping.append(EarlyStopping(build_monitor(cfg, "EARLY_STOPPING"), patience, verbose))
    freezing = [FreezeEnd(cfg, trainer, verbose=number == 0)] if cfg.MODEL.FREEZE_EPOCHS is not None else []
    averages = [AveragedWeights()] if cfg.OPTIMIZER.EMA is not None else []
    if number:
        return [*freezing, rate, *early_stopping, *averages, StopOnSignal(workers)]
    score = default_monitor(cfg).name if monitor.name == "loss" else monitor.name  # the loss is printed anyway
    training_set = facts["train"].get("fingerprint")
    best = None
    if "bench_steps" not in cfg:
        best = BestWeights(trainer.network, cfg, outputs.weights, monitor, training_set, taken)
    lines = EpochLines(cfg.HYPER_PARAMETERS.EPOCHS, score, best, live=cfg.VERBOSE == 1)
    printers = [lines] if cfg.VERBOSE else []
    if best is None:
        images = cfg.HYPER_PARAMETERS.BATCH_SIZE * replicas
        return [*printers, StepTimer(cfg.get("warmup_steps", 0), cfg.bench_steps, images)]
    tensorboard = log_folder(outputs.tensorboard, outputs.name, cfg.RUN)
    title = describe_run(cfg, outputs.name, len(data.samples))
    callbacks = [
        *freezing,
        rate,
        best,
        build_log(cfg, outputs, title, best),
        *early_stopping,
        TensorBoard(tensorboard, cfg, validate.examples, trainer.data_wait, len(data.samples)),
        *build_pictures(cfg, validate, outputs, title, best),
        *build_trackers(cfg, outputs.name),
        DivergenceWarning(),
        *printers,
        *build_watch(cfg, facts),
        *averages,
    ]
    return [*callbacks, Checkpoint(cfg, trainer, outputs.weights, callbacks, data)]


def build_log(cfg: DictConfig, outputs: Outputs, title: str, best: BestWeights) -> EpochLog:
    """The callback that writes the table of scores and the learning curves."""
    names = [] if cfg.MODEL.TYPE == "classifier" else mask_class_names(cfg)
    append = cfg.CALLBACKS.CSV_LOGGER.APPEND_LOGS
    return EpochLog(outputs.log, outputs.curves, append, cfg.RUN, [outputs.pictures], title, best, names)


def build_watch(cfg: DictConfig, facts: Mapping[str, Mapping[str, Any]]) -> list[keras.callbacks.Callback]:
    """The callback that tells of classes that are not found; a classifier has none."""
    if cfg.MODEL.TYPE == "classifier":
        return []
    return [NothingFound(default_monitor(cfg).log, facts["val"]["label_counts"], mask_class_names(cfg))]


def build_pictures(
    cfg: DictConfig, validate: Validation, outputs: Outputs, title: str, best: BestWeights
) -> list[keras.callbacks.Callback]:
    """The callback that writes CALLBACKS.VALIDATION_IMAGES, if it asks for some: the validation keeps them."""
    if cfg.MODEL.TYPE == "classifier" or not cfg.CALLBACKS.VALIDATION_IMAGES:
        return []
    validate.mosaic = Mosaic(cfg, len(validate.dataset.samples))
    newest = not cfg.CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY  # every epoch is saved
    return [ValidationPicture(outputs.pictures, validate.mosaic, title, lambda: 0 if newest else best.best_epoch)]


def describe_run(cfg: DictConfig, name: str, images: int) -> str:
    """What the pictures of a run are titled.

    >>> from utils.config import load_config
    >>> describe_run(load_config(["DATASET.TRAIN.IMAGES_PATH=/data/isbi/train/images"]), "model_unet", 18)
    'model_unet, trained on 18 images of /data/isbi/train/images'
    """
    paths = cfg.DATASET.TRAIN.IMAGES_PATH
    where = paths if isinstance(paths, str) else f"{paths[0]}, ..."
    return f"{name}, trained on {counted(images, 'image')} of {where}"


class SinceBest:
    """The best epoch so far and how many there were since.

    Args:
        monitor: decides which epoch is better.

    Attributes:
        best: rank of the best epoch, or None.
        waited: epochs since.
    """

    remembered: ClassVar = {
        "monitor": LogName,
        "rank": Annotated[list[float], Field(min_length=2, max_length=2)] | None,
        "waited": NonNegativeInt,
    }

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.best: Rank | None = None
        self.waited = 0

    def add(self, logs: Logs) -> bool:
        """Count an epoch; return whether it is better than all before."""
        rank = self.monitor.rank(logs)
        if self.best is None or rank > self.best:
            self.best, self.waited = rank, 0
            return True
        self.waited += 1
        return False

    def state(self) -> dict[str, Any]:
        return {"monitor": self.monitor.name, "rank": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`; start anew if another score was watched, as in states of earlier versions."""
        if state.get("monitor") == self.monitor.name and state["rank"] is not None:
            score, loss = state["rank"]
            self.best, self.waited = (float(score), float(loss)), int(state["waited"])


class LearningRate(StatefulCallback):
    """Set the learning rate at the start of each epoch or step, lower it on a plateau, and add it to the logs.

    The log of an epoch has the rate of its last step.

    Args:
        cfg: checked config; LR_SCHEDULE and HYPER_PARAMETERS are read.
        monitor: decides what a plateau is: epochs that are no better than the best.
        scale: factor of all learning rates.

    Attributes:
        factor: what plateaus have left of the schedule's rate, 0 to 1.
        patience: epochs of a plateau, or None.
    """

    state_key = "LearningRate"
    remembered: ClassVar = {"factor": float, **SinceBest.remembered}

    def __init__(self, cfg: DictConfig, monitor: Monitor, scale: float = 1) -> None:
        super().__init__()
        self.cfg = cfg
        self.scale = scale
        patience = cfg.LR_SCHEDULE.PLATEAU_PATIENCE
        self.patience = 10 if patience is None and cfg.LR_SCHEDULE.NAME == "plateau" else patience
        self.by_step = cfg.LR_SCHEDULE.BY == "step"
        self.epoch = 0
        self.factor, self.since_best = 1.0, SinceBest(monitor)

    def state(self) -> dict[str, Any]:
        return {"factor": self.factor, **self.since_best.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.factor = float(state["factor"])
        self.since_best.restore(state)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch
        self.set_rate(step=0)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self.by_step:
            self.set_rate(batch)

    def set_rate(self, step: int) -> None:
        """Give the optimizer the rate of a step of this epoch."""
        rate = learning_rate(self.cfg, self.epoch, step, self.params["steps"]) * self.factor
        self.model.optimizer.learning_rate = max(rate, self.cfg.LR_SCHEDULE.MINIMUM) * self.scale

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.since_best.add(logs)
        if self.patience is not None and self.since_best.waited >= self.patience:
            self.factor, self.since_best.waited = self.factor * self.cfg.LR_SCHEDULE.PLATEAU_FACTOR, 0


class EarlyStopping(StatefulCallback):
    """Stop once no epoch was better for `patience` epochs, the ones before an interruption included.

    Args:
        monitor: decides which epoch is better.
        patience: epochs to wait.
        verbose: whether to say so.
    """

    state_key = "EarlyStopping"
    remembered: ClassVar = SinceBest.remembered

    def __init__(self, monitor: Monitor, patience: int, verbose: bool) -> None:
        super().__init__()
        self.patience = patience
        self.verbose = verbose
        self.since_best = SinceBest(monitor)

    def state(self) -> dict[str, Any]:
        return self.since_best.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.since_best.restore(state)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.since_best.add(logs) or self.since_best.waited < self.patience or epoch == 0:
            return
        self.model.stop_training = True
        if self.verbose:
            log, waited = self.since_best.monitor.log, counted(self.since_best.waited, "epoch")
            print(f"\nStopped after epoch {epoch + 1}: {log} did not improve for {waited}")


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
