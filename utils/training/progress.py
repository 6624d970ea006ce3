"""Progress of training on the terminal, and the timing of steps."""

import resource
import sys
import time

import keras
import numpy as np
from tqdm import tqdm


class Progress(keras.callbacks.Callback):
    """One bar per epoch with loss and score; the validation scores when it is done."""

    def __init__(self, epochs, score):
        super().__init__()
        self.epochs = epochs
        self.score = score

    def on_epoch_begin(self, epoch, logs=None):
        self.bar = tqdm(total=self.params["steps"], desc=f"Epoch {epoch + 1}/{self.epochs}", unit="step", leave=True)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.set_postfix_str(f"loss {logs['loss']:.4f} {self.score} {logs[self.score]:.4f}", refresh=False)
        self.bar.update(batch + 1 - self.bar.n)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.set_postfix_str(describe(logs, self.score))
        self.bar.close()


class EpochLines(keras.callbacks.Callback):
    """One line per epoch, for logs in files."""

    def __init__(self, epochs, score):
        super().__init__()
        self.epochs = epochs
        self.score = score

    def on_epoch_end(self, epoch, logs=None):
        print(f"Epoch {epoch + 1}/{self.epochs}  {describe(logs, self.score)}", flush=True)


def describe(logs, score):
    return " | ".join(
        f"{name}loss {logs[f'{prefix}loss']:.4f} {score} {logs[prefix + score]:.4f}"
        for name, prefix in (("", ""), ("val ", "val_"))
    )


class StepTimer(keras.callbacks.Callback):
    """Time `bench_steps` steps after `warmup_steps`, stop training, print images/s, latency and peak memory.

    Where training ends before, it says so, and what the steps there were took.
    """

    def __init__(self, warmup_steps, bench_steps, batch_images):
        super().__init__()
        self.warmup_steps = warmup_steps
        self.bench_steps = bench_steps
        self.batch_images = batch_images
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self.begin)
        if len(self.seconds) >= self.warmup_steps + self.bench_steps:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        timed = np.array(self.seconds[self.warmup_steps :]) * 1000
        if len(timed) < self.bench_steps:
            print(
                f"Training ended after {len(self.seconds)} steps: {len(timed)} instead of "
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
            f"{len(timed)} steps: {images:.2f} images/s, latency p50 {p50:.1f} p90 {p90:.1f} p99 {p99:.1f} ms, "
            f"peak memory of the process {memory:.2f} GiB"
        )
