"""Write what TensorBoard reads: with TensorFlow where it is the backend, else with tensorboardX."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import keras
import numpy as np


class Writer(Protocol):
    """Writes into one folder. What cannot be written is an OSError."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a number."""

    def image(self, tag: str, image: np.ndarray, step: int) -> None:
        """Add a picture, uint8 `(height, width, 3)` RGB."""

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Add the distribution of an array."""

    def flush(self) -> None:
        """Write what was added."""

    def close(self) -> None:
        """Write what was added, and close the file."""


def open_writer(folder: Path) -> Writer:
    """The writer of a folder."""
    return TensorFlowWriter(folder) if keras.backend.backend() == "tensorflow" else PythonWriter(folder)


class TensorFlowWriter:
    """See `Writer`."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.tf = tf
        self.writer = tf.summary.create_file_writer(str(folder))

    def scalar(self, tag: str, value: float, step: int) -> None:
        with self.explained(), self.writer.as_default(step):
            self.tf.summary.scalar(tag, value)

    def image(self, tag: str, image: np.ndarray, step: int) -> None:
        with self.explained(), self.writer.as_default(step):
            self.tf.summary.image(tag, image[np.newaxis])

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        with self.explained(), self.writer.as_default(step):
            self.tf.summary.histogram(tag, values)

    def flush(self) -> None:
        with self.explained():
            self.writer.flush()

    def close(self) -> None:
        with self.explained():
            self.writer.close()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """TensorFlow reports a full disk as it reports too little memory."""
        try:
            yield
        except self.tf.errors.OpError as error:
            raise OSError(None, error.message.splitlines()[0]) from None


class PythonWriter:
    """See `Writer`."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX.writer import FileWriter

        self.writer = FileWriter(str(folder))

    def scalar(self, tag: str, value: float, step: int) -> None:
        from tensorboardX.summary import scalar

        self.writer.add_summary(scalar(tag, value), step)

    def image(self, tag: str, image: np.ndarray, step: int) -> None:
        from tensorboardX.summary import image as picture

        self.writer.add_summary(picture(tag, image, dataformats="HWC"), step)

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        from tensorboardX.summary import histogram

        self.writer.add_summary(histogram(tag, values, "tensorflow"), step)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
