"""Write and run Keras's own format, on either backend."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops
from omegaconf import DictConfig

from models.layers.host_draws import drawing_on_host
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
    """What `write_keras` writes: the model, its output named and turned into that of EXPORT.OUTPUT."""
    name = output_name(settings)
    output = model.output if name == "probabilities" else class_values(model.output, multi_label)
    named = keras.layers.Identity(dtype=output.dtype, name=name)(output)
    return KerasJob(keras.Model(model.input, named, name=model.name), settings)


def class_values(probabilities: keras.KerasTensor, multi_label: bool) -> keras.KerasTensor:
    """Class indices as `utils.export.exporters` gives them, of Keras's own parts: its argmax has no form in ONNX."""
    if multi_label:
        bits = [2**index for index in range(probabilities.shape[-1])]
        return ops.sum(ops.cast(probabilities > 0.5, "int32") * bits, axis=-1)
    if probabilities.shape[-1] == 1:
        return ops.cast(ops.squeeze(probabilities, -1) > 0.5, "int32")
    return ops.argmax(probabilities, axis=-1)


def write_keras(job: KerasJob, path: Path) -> None:
    """Keras's own format."""
    job.model.save(path)


def run_keras(path: Path) -> Run:
    with drawing_on_host():  # see `fuse_batch_norm`
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda image: model.predict_on_batch(image)
