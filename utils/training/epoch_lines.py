"""One line per epoch: time, loss and score of training and validation, the learning rate when it changed."""

import time

import keras

from utils.base.progress import Task, clock_time
from utils.base.terminal import say
from utils.training.saving import BestWeights

HEADER_EVERY = 20  # lines
TIMED_FROM = 10  # steps after which the time left is told

Logs = dict[str, float]


class EpochLines(keras.callbacks.Callback):
    """Print a line per epoch and, while it runs, how far it is.

    Place it after the callbacks that write files and change the logs.

    Args:
        epochs: the number of the last epoch.
        score: name in the logs.
        best: knows which epoch is the best so far; None in a run that only measures time.
        live: show the progress within an epoch.
    """

    def __init__(self, epochs: int, score: str, best: BestWeights | None, live: bool) -> None:
        super().__init__()
        self.epochs, self.score, self.best, self.live = epochs, score, best, live
        self.lines = 0
        self.rate: float | None = None
        self.compiled = False
        self.steps_end = 0.0
        self.between: float | None = None  # seconds from the last step of an epoch to its end

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch, self.begin = epoch, time.monotonic()
        self.task = Task(
            self.name(epoch),
            self.params["steps"],
            quiet=not self.live,
            leave=False,
            announce=not self.compiled,
            settle=TIMED_FROM,
            compiles=not self.compiled,
        )
        self.task.__enter__()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.task.done = batch + 1
        if not self.compiled:
            self.compiled = True
            self.task.time_from_here()
        steps = self.params["steps"]
        text = [f"loss {number(logs['loss'])}", f"{self.score} {number(logs[self.score])}"]
        if (pace := self.task.seconds_a_step(time.monotonic())) is not None and self.epoch + 1 < self.epochs:
            epochs = self.epochs - self.epoch - 1
            left = pace * (steps - batch - 1 + epochs * steps) + (self.between or 0) * (epochs + 1)
            text.insert(0, f"run {clock_time(left)}")
        if batch + 1 == steps:
            self.steps_end = time.monotonic()
            text = ["validating"]
        self.task.update(0, text)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.task.__exit__()
        now = time.monotonic()
        if self.lines:  # the first validation compiles, too
            self.between = now - self.steps_end
        if self.lines % HEADER_EVERY == 0:
            say(self.header())
        self.lines += 1
        say(self.line(epoch, now - self.begin, logs))

    def name(self, epoch: int) -> str:
        """Which epoch it is, as wide for all of them."""
        return f"Epoch {epoch + 1}/{self.epochs}".ljust(len(f"Epoch {self.epochs}/{self.epochs}"))

    def header(self) -> str:
        """The names of the columns."""
        score = max(len(self.score), 7)
        titles = f"{'time':>5}  {'loss':>7}  {'val':>7}  {self.score:>{score}}  {'val':>7}  {'lr':>7}"
        width = len(self.name(0))
        line = f"{'':{width}}  {titles}  * best so far"
        return line if len(line) < 80 else f"{'* best':{width}}  {titles}"

    def line(self, epoch: int, seconds: float, logs: Logs) -> str:
        """The line of an epoch: at most 79 columns."""
        rate = logs.get("learning_rate")
        changed, self.rate = rate is not None and rate != self.rate, rate
        score = max(len(self.score), 7)
        values = (
            f"{clock_time(seconds):>5}  {number(logs['loss']):>7}  {number(logs['val_loss']):>7}  "
            f"{number(logs[self.score]):>{score}}  {number(logs['val_' + self.score]):>7}"
        )
        best = self.best is not None and self.best.best_epoch == epoch + 1
        marks = f"{f'{rate:.3g}' if changed else '':>7}{'  *' if best else ''}"
        return f"{self.name(epoch)}  {values}  {marks}".rstrip()


def number(value: float) -> str:
    """A loss or a score in seven characters.

    >>> number(0.51234), number(12345.6)
    ('0.5123', '12345.6')
    """
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.2g}" if abs(value) >= 1e5 else f"{value:.1f}"
