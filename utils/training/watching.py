"""Callbacks that watch a training: what goes wrong while it runs, and how long its steps take."""

import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence

import keras
import numpy as np

from losses.learnt import NOT_FOUND, dice_of_logs, explain_unfound
from utils.base.terminal import say
from utils.base.wording import counted

Logs = dict[str, float]


class DivergenceWarning(keras.callbacks.Callback):
    """Say once that the loss has grown a thousandfold since its lowest value: such a training seldom recovers."""

    FACTOR = 1000

    def __init__(self) -> None:
        super().__init__()
        self.lowest = np.inf
        self.warned = False

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        loss = logs["loss"]
        self.lowest = min(self.lowest, loss)
        if not self.warned and 0 < self.lowest < loss / self.FACTOR:
            self.warned = True
            print(
                f"\nWarning: the loss has grown from {self.lowest:.3g} to {loss:.3g}: the training diverges. Lower "
                "HYPER_PARAMETERS.LEARNING_RATE, or set OPTIMIZER.CLIP_NORM=1.",
                file=sys.stderr,
            )


class NothingFound(keras.callbacks.Callback):
    """Say once, while training runs, that a score was 0 in three epochs in a row, and what helps; the same of classes.

    Args:
        score: name in the logs of a score where more is better.
        counts: of the validation masks, as in `losses.constant_answer.best_constant`; None: no class is watched.
        names: of the classes from 0 on.
    """

    EPOCHS = 3

    def __init__(self, score: str, counts: np.ndarray | None = None, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.score, self.counts, self.names = score, counts, names
        self.zeros = 0
        self.unfound: Counter[int] = Counter()
        self.warned = self.warned_of_classes = False

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.zeros = self.zeros + 1 if logs[self.score] == 0 else 0
        dices = {} if self.counts is None else dice_of_logs(logs, self.counts)
        low = [index for index, dice in dices.items() if dice < NOT_FOUND]
        self.unfound = Counter({index: self.unfound[index] + 1 for index in low})
        if self.zeros == self.EPOCHS and not self.warned:
            self.warned = self.warned_of_classes = True
            say(
                f"Warning: {self.score} was 0 for {self.EPOCHS} epochs: the network finds nothing in the validation "
                "data. If it goes on, try loss=bce_dice, DATASET.FOREGROUND_FRACTION=0.5 or another "
                "HYPER_PARAMETERS.LEARNING_RATE; see docs/how-to/imbalanced-classes.md.",
                "stderr",
            )
        lasting = {index: dices[index] for index, epochs in self.unfound.items() if epochs >= self.EPOCHS}
        if not self.warned_of_classes and not self.zeros and (sentence := explain_unfound(lasting, self.names)):
            self.warned_of_classes = True
            say(
                f"Warning: for {self.EPOCHS} epochs {sentence} If it goes on, see docs/how-to/imbalanced-classes.md.",
                "stderr",
            )


class StepTimer(keras.callbacks.Callback):
    """Time `bench_steps` steps after `warmup_steps`, stop training, and print images/s, latency and peak memory.

    If training ends earlier, it says so and reports the steps that were taken.

    Args:
        warmup_steps: steps that do not count.
        bench_steps: steps to time.
        batch_images: images of a step, on all devices together.
    """

    def __init__(self, warmup_steps: int, bench_steps: int, batch_images: int) -> None:
        super().__init__()
        self.warmup_steps = warmup_steps
        self.bench_steps = bench_steps
        self.batch_images = batch_images
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.seconds.append(time.perf_counter() - self.begin)
        if len(self.seconds) >= self.warmup_steps + self.bench_steps:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        timed = np.array(self.seconds[self.warmup_steps :]) * 1000
        if len(timed) < self.bench_steps:
            print(
                f"Training ended after {counted(len(self.seconds), 'step')}: {len(timed)} instead of "
                f"bench_steps={self.bench_steps} were timed after warmup_steps={self.warmup_steps}. "
                "Raise HYPER_PARAMETERS.EPOCHS."
            )
        if not len(timed):
            return
        images = self.batch_images / (timed.mean() / 1000)
        p50, p90, p99 = np.percentile(timed, (50, 90, 99))
        # In kilobytes on Linux, in bytes on macOS.
        unit = 2**30 if sys.platform == "darwin" else 2**20
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        print(
            f"{counted(len(timed), 'step')}: {images:.2f} images/s, latency p50 {p50:.1f} p90 {p90:.1f} p99 {p99:.1f} "
            f"ms, peak memory of the process {memory:.2f} GiB"
        )
