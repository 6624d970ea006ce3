"""Save the state of a run, and end a run that is told to stop at the end of a step."""

import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np
from omegaconf import DictConfig, OmegaConf

from data_generators.dataset import Dataset
from utils.base.backups import list_versions
from utils.base.files import check_space, warn_if_not_saved
from utils.base.startup import STOP_SIGNALS
from utils.checkpoints import companion_path
from utils.devices.strategy import worker
from utils.training.resume import describe_data, state_variables
from utils.training.state import STATE, StatefulCallback, find_outdated, write_state
from utils.training.trainer import Trainer

RESERVE = 1_000_000  # bytes for config, log and curves

Logs = dict[str, float] | None


class StopOnSignal(keras.callbacks.Callback):
    """On one of STOP_SIGNALS, let the step end before the process does; a second signal ends it at once.

    A closed terminal sends SIGHUP; a signal that nohup or a shell has the process ignore stays ignored.

    With several workers the epoch ends first: they would have to agree on a step. The first worker saves it.
    `utils.training.announce_stop` around the training restores the handlers that were there.

    Args:
        workers: number of processes that train together.
    """

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers = workers
        self.signal: int | None = None
        self.outcome = "the first worker saves the state"

    def on_train_begin(self, logs: Logs = None) -> None:
        for number in STOP_SIGNALS:
            if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.stop)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; `announce_stop` has said so."""
        if self.signal is not None:
            sys.exit(128 + number)
        self.signal = number

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.workers == 1:
            self.exit_if_told()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.exit_if_told()

    def exit_if_told(self) -> None:
        """End the process if a signal came."""
        if self.signal is not None:
            print(f"\nStopped: {self.outcome}. Run the same command again to continue.", file=sys.stderr)
            sys.exit(128 + self.signal)


class Checkpoint(StopOnSignal):
    """Save the state after every epoch, every CALLBACKS.CHECKPOINT_EVERY_STEPS steps, and on STOP_SIGNALS.

    Place it last: it saves the states of the callbacks before it.

    Args:
        cfg: checked config.
        trainer: its variables are saved.
        weights: path of the weights that the state belongs to.
        callbacks: all other callbacks.
        data: the training data.
    """

    def __init__(
        self,
        cfg: DictConfig,
        trainer: Trainer,
        weights: Path,
        callbacks: Sequence[keras.callbacks.Callback],
        data: Dataset,
    ) -> None:
        super().__init__(worker(trainer.distribute_strategy)[1])
        self.cfg = cfg
        self.trainer = trainer
        self.path = companion_path(weights, STATE)
        self.callbacks = [callback for callback in callbacks if isinstance(callback, StatefulCallback)]
        self.data = describe_data(data.samples)
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        every = self.cfg.CALLBACKS.CHECKPOINT_EVERY_STEPS
        due = self.signal is not None or (every and (batch + 1) % every == 0)
        if due and self.workers == 1:  # reading the metrics would take all workers
            self.save(self.epoch, batch + 1)
        super().on_train_batch_end(batch)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.save(epoch + 1, 0, finished=self.model.stop_training or epoch + 1 == self.params["epochs"])
        super().on_epoch_end(epoch)

    def save(self, epoch: int, step: int, finished: bool = False) -> None:
        """Write the state to resume with at `epoch` and `step`.

        If the disk is full, training goes on with a warning. With inf or NaN in it, the previous state stays.
        """
        variables = state_variables(self.trainer, step)
        arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
        broken = [variable for variable, array in zip(variables, arrays, strict=True) if not is_finite(array)]
        if broken:
            self.outcome = "this step is not finite and was not saved"
            print(f"\nWarning: the state was not saved: {broken[0].path} is not finite.", file=sys.stderr)
            return
        with warn_if_not_saved("the state") as errors:
            callbacks = self.cfg.CALLBACKS
            metadata = self.metadata(epoch, step, finished)
            outdated = find_outdated(self.path, metadata, callbacks.CHECKPOINT_EVERY_STEPS)
            write_state(self.path, metadata, arrays, callbacks.MODEL_CHECKPOINT.KEEP - 1, outdated)
        self.outcome = "this step could not be saved" if errors else f"the state is saved in {self.path}"

    def metadata(self, epoch: int, step: int, finished: bool) -> dict[str, Any]:
        """Everything in the state but the values of variables."""
        return {
            "epoch": epoch,
            "step": step,
            "finished": finished,
            "devices": self.trainer.distribute_strategy.num_replicas_in_sync,
            "config": OmegaConf.to_container(self.cfg, resolve=True),
            "callbacks": {callback.state_key: callback.state() for callback in self.callbacks},
            "data": self.data,
        }


def check_disk_space(cfg: DictConfig, trainer: Trainer, weights: Path) -> None:
    """Find out before the first step whether the disk holds what the run will write.

    That is KEEP versions of state and weights, and one more of each while it is replaced.

    Raises:
        UserError: says how much is needed and how much is free.
    """
    keep = cfg.CALLBACKS.MODEL_CHECKPOINT.KEEP
    network = size_of(trainer.network.variables)
    slots = size_of(trainer.optimizer.variables)
    if cfg.MODEL.FREEZE_EPOCHS is not None:  # the optimizer will have slots of all weights
        slots = math.ceil(slots * network / size_of(trainer.trainable_variables))
    needed = (keep + 1) * (2 * network + slots) + RESERVE
    for path in (companion_path(weights, STATE), weights):
        needed -= sum(version.stat().st_size for version in list_versions(path))
    key = "CALLBACKS.MODEL_CHECKPOINT.PATH"
    advice = f"Free some space, set another path, or lower CALLBACKS.MODEL_CHECKPOINT.KEEP={keep}."
    check_space(weights.parent, needed, key, advice)


def is_finite(array: np.ndarray) -> bool:
    """Whether an array holds neither inf nor NaN."""
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


def size_of(variables: Sequence[keras.Variable]) -> int:
    """Bytes of all variables together."""
    return sum(math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in variables)
