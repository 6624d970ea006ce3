"""The callbacks that write what a run found: best weights, log and curves."""

import contextlib
import csv
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
from omegaconf import DictConfig
from pydantic import NonNegativeInt

from losses.monitor import Monitor
from utils.base.errors import UserError
from utils.base.files import atomic_write, warn_if_not_saved
from utils.base.learning_curves import plot_curves
from utils.checkpoints import companion_path, save_config, save_first_weights, save_weights
from utils.checkpoints.fingerprint import save_fingerprint
from utils.checkpoints.paths import previous_path
from utils.checkpoints.start_weights import Taken
from utils.checkpoints.training_log import RUN, read_rows
from utils.training.state import LogName, LogValues, StatefulCallback

EARLIER_MONITOR = "dice_coef"  # in states of versions that did not name it

PAUSE = 60  # seconds from one drawing of the curves to the next

Logs = dict[str, float]


class BestWeights(StatefulCallback):
    """Save weights and config whenever no earlier epoch is better, or after every epoch.

    The score decides, at equal scores the lower loss, at equal losses the later epoch. An epoch with a loss that is not
    finite is never saved. The first save renames the files of an earlier run, so that weights and config always belong
    together. An epoch that a full disk keeps from being saved is not the best.

    Args:
        network: the model.
        cfg: config; CALLBACKS.MODEL_CHECKPOINT says when to save, and whether to save the whole model too.
        path: of the weights.
        monitor: decides which epoch is better.
        fingerprint: of the training set, kept beside the weights.
        taken: what MODEL.INIT gave, kept beside the weights, or None.

    Attributes:
        best: score of the best epoch so far, or None.
        best_epoch: its epoch, counted from 1.
        best_logs: all losses and scores of that epoch; empty if a state of an earlier version did not hold them.
        failed: whether the last attempt to save failed.
    """

    state_key = "BestWeights"
    remembered: ClassVar = {
        "monitor": LogName,
        "best": float | None,
        "best_epoch": NonNegativeInt,
        "best_logs": LogValues,
    }

    def __init__(
        self,
        network: keras.Model,
        cfg: DictConfig,
        path: Path,
        monitor: Monitor,
        fingerprint: Mapping[str, Any] | None = None,
        taken: Taken | None = None,
    ) -> None:
        super().__init__()
        self.taken = taken
        self.network = network
        self.fingerprint = fingerprint
        self.cfg = cfg
        self.path = path
        self.monitor = monitor
        self.best: float | None = None
        self.best_epoch = 0
        self.best_logs: Logs = {}
        self.failed = False

    def state(self) -> dict[str, Any]:
        return {
            "monitor": self.monitor.name,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_logs": self.best_logs,
        }

    def restore(self, state: dict[str, Any]) -> None:
        if state["best"] is None:
            return
        self.best_epoch = int(state["best_epoch"])
        self.best_logs = {str(name): float(value) for name, value in state.get("best_logs", {}).items()}
        same = state.get("monitor", EARLIER_MONITOR) == self.monitor.name
        # Another score was watched before: what the saved weights reached in this one.
        self.best = float(state["best"]) if same else self.best_logs.get(self.monitor.log, math.nan)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
            return
        better = self.best is None or self.monitor.rank(logs) >= self.monitor.rank(
            {**self.best_logs, self.monitor.log: self.best}
        )
        if not better and self.cfg.CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY:
            return
        with warn_if_not_saved("the best weights" if better else "the newest weights") as errors:
            self.save()
        self.failed = bool(errors)
        if better and not self.failed:
            self.best, self.best_epoch = float(logs[self.monitor.log]), epoch + 1
            self.best_logs = {name: float(value) for name, value in logs.items()}

    def save(self) -> None:
        """Write the weights, and the model if it is wanted."""
        settings = self.cfg.CALLBACKS.MODEL_CHECKPOINT
        if self.best is None:
            save_first_weights(self.network, self.cfg, self.path)
            if self.taken is not None:
                self.taken.save(self.path)
        else:
            save_weights(self.network, self.path, settings.KEEP - 1)
            if not companion_path(self.path, ".yaml").exists():  # the folder was removed meanwhile
                save_config(self.cfg, self.path)
        save_fingerprint(self.path, self.fingerprint)
        if not settings.SAVE_WEIGHTS_ONLY:
            with atomic_write(companion_path(self.path, ".keras")) as temporary:
                self.network.save(temporary)

    def check_saved(self) -> None:
        """Raise a UserError if no weights were saved in the whole run, or if they are no longer there."""
        if self.best is None and self.failed:
            raise UserError(
                f"No weights could be written to {self.path.parent}. Free some space and run the same command again."
            )
        if self.best is None:
            raise UserError("The loss is not a number: nothing was saved. Lower HYPER_PARAMETERS.LEARNING_RATE.")
        missing = [path for path in (self.path, companion_path(self.path, ".yaml")) if not path.exists()]
        if missing:
            raise UserError(
                f"{missing[0]} was saved in epoch {self.best_epoch} and is no longer there: it was removed while the "
                "training ran. Start over with RESUME=never."
            )


class EpochLog(StatefulCallback):
    """After every epoch, write the logs of all epochs as a CSV table and draw them as curves.

    Drawing takes a second or two, so the curves are drawn once in PAUSE seconds; `draw_the_rest` draws in the end.

    Args:
        path: of the table.
        curves: path of the picture.
        append: keep the rows of other runs in the table, instead of renaming their table and curves.
        run: id of the run, which every row gets.
        pictures: of another callback, which are renamed with the curves of their run.
        title: of the curves.
        best: whose best epoch is marked; None: none is.
        class_names: of the classes from 0 on.

    Attributes:
        rows: `{log name: value}` of each epoch.
        seconds: `{epoch: its duration with validation}`, of those that this process went through from their first step;
            drawn, but kept out of log and state, which do not depend on interruptions.
    """

    state_key = "EpochLog"
    remembered: ClassVar = {"rows": list[LogValues]}

    def __init__(
        self,
        path: Path,
        curves: Path,
        append: bool,
        run: str,
        pictures: Sequence[Path] = (),
        title: str = "",
        best: BestWeights | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.path = path
        self.curves = curves
        self.append = append
        self.run = run
        self.pictures = pictures
        self.title, self.best, self.class_names = title, best, class_names
        self.seconds: dict[int, float] = {}
        self.begin: float | None = None
        self.undrawn: list[str] = []  # names of the logs
        self.drawn = -math.inf
        self.earlier: list[dict[str, str]] = []
        self.rows: list[dict[str, float]] = []

    def state(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def restore(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # Rows without an id, of an earlier version, are those of a run that continues, and else of another.
        unknown = self.run if self.rows else None
        self.earlier = [row for row in read_rows(self.path) if row.get(RUN, unknown) != self.run]

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if batch == 0:
            self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.begin is not None:
            self.seconds[epoch], self.begin = time.perf_counter() - self.begin, None
        self.rows.append({"epoch": epoch, **{name: float(value) for name, value in sorted(logs.items())}})
        with warn_if_not_saved("the log"):
            self.rename_earlier()
            with atomic_write(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, ["epoch", *sorted(logs), RUN], extrasaction="ignore", restval="")
                writer.writeheader()
                writer.writerows([*self.earlier, *({**row, RUN: self.run} for row in self.rows)])
            self.undrawn = list(logs)
            if time.perf_counter() - self.drawn >= PAUSE:
                self.draw()

    def draw(self) -> None:
        """Draw the curves, if there are epochs that they do not show yet."""
        if not self.undrawn:
            return
        history = {name: [row.get(name, math.nan) for row in self.rows] for name in self.undrawn}
        history["seconds"] = [self.seconds.get(int(row["epoch"]), math.nan) for row in self.rows]
        best = self.best.best_epoch if self.best is not None else None
        plot_curves(history, self.curves, self.title, best or None, self.class_names)
        self.undrawn, self.drawn = [], time.perf_counter()

    def rename_earlier(self) -> None:
        """Rename table and curves of an earlier run, unless its rows are kept."""
        if self.append or not self.earlier:
            return
        for path in (self.path, self.curves, *self.pictures):
            if path.exists():
                path.replace(previous_path(path))
        self.earlier = []


@contextlib.contextmanager
def draw_the_rest(callbacks: Sequence[keras.callbacks.Callback]) -> Iterator[None]:
    """After the block, however it ends, the curves show every epoch."""
    try:
        yield
    finally:
        for log in (callback for callback in callbacks if isinstance(callback, EpochLog)):
            with warn_if_not_saved("the log"):
                log.draw()


def find_best_weights(callbacks: Sequence[keras.callbacks.Callback]) -> BestWeights | None:
    """The callback that saved the best weights; None if another worker did, or the run only measured time.

    If a state of an earlier version did not hold the scores of the best epoch, they come from the log of the run.
    """
    best = next((callback for callback in callbacks if isinstance(callback, BestWeights)), None)
    if best is not None and not best.best_logs:
        rows = next((callback.rows for callback in callbacks if isinstance(callback, EpochLog)), [])
        found = next((row for row in rows if row["epoch"] == best.best_epoch - 1), {})
        best.best_logs = {name: value for name, value in found.items() if name != "epoch"}
    return best
