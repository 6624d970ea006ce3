"""Write and run Keras's own format, on either backend."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from omegaconf import DictConfig

from utils.export.formats import Run, output_name


@dataclass(frozen=True)
class KerasJob:
    """See `utils.export.formats.Job`."""

    model: keras.Model
    settings: DictConfig

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        return self.model.output_shape

    def run(self, images: np.ndarray) -> np.ndarray:
        return self.model.predict_on_batch(images)


def make_job(
    model: keras.Model, images: np.ndarray, settings: DictConfig, multi_label: bool, metadata: Mapping[str, str]
) -> KerasJob:
    """What `write_keras` writes: the model as it is, float32 images in [0, 1] -> probabilities."""
    return KerasJob(model, settings)


def write_keras(job: KerasJob, path: Path) -> None:
    """Keras's own format."""
    output = keras.layers.Identity(dtype="float32", name=output_name(job.settings))(job.model.output)
    keras.Model(job.model.input, output, name=job.model.name).save(path)


def run_keras(path: Path) -> Run:
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda image: model.predict_on_batch(image)
