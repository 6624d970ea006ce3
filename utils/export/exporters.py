"""Write a Keras model in other formats with TensorFlow, and run what was written.

Packages of a format are imported inside its functions: only the format that is asked for needs them.
"""

import importlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import tensorflow as tf
from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.export.formats import Run, output_name

OPSET = 17


@dataclass(frozen=True)
class ExportJob:
    """What an exporter writes.

    Attributes:
        model: inference model in float32.
        function: tf.function images -> {name: output}, of EXPORT.OUTPUT.
        signature: its inputs.
        images: `(count, height, width, channels)` to calibrate with, as the model takes them.
        settings: EXPORT of the config.
        metadata: what the model is, {name: text}, for formats that can hold it.
    """

    model: keras.Model
    function: tf.types.experimental.PolymorphicFunction
    signature: list[tf.TensorSpec]
    images: np.ndarray
    settings: DictConfig
    metadata: Mapping[str, str]

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the output, the batch first; None where it is open."""
        return tuple(self.function.get_concrete_function().structured_outputs[output_name(self.settings)].shape)

    def run(self, images: np.ndarray) -> np.ndarray:
        """The output for a batch of images."""
        return self.function(images)[output_name(self.settings)].numpy()


def make_job(
    model: keras.Model,
    images: np.ndarray,
    settings: DictConfig,
    multi_label: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> ExportJob:
    """Wrap an inference model for export.

    It takes what the model takes, and returns its probabilities, or class indices, int32 without the axis of the
    classes (one class: probability above 0.5 is 1), as `output_name` says.

    Args:
        model: image -> probabilities.
        images: `(count, height, width, channels)`, as the model takes them.
        settings: EXPORT of the config.
        multi_label: whether classes overlap: class indices are then bits, see `utils.base.class_bits`.
        metadata: of `utils.export.interface.describe_interface`.
    """
    _, *shape = model.input_shape
    signature = [tf.TensorSpec([None, *shape], model.input.dtype, name="image")]

    def outputs(image: tf.Tensor) -> tf.Tensor:
        output = model(image, training=False)
        if output_name(settings) == "probabilities":
            return output
        if multi_label:
            bits = tf.constant([2**index for index in range(output.shape[-1])])
            return tf.reduce_sum(tf.cast(output > 0.5, tf.int32) * bits, axis=-1)
        if output.shape[-1] == 1:
            return tf.cast(output[..., 0] > 0.5, tf.int32)
        return tf.argmax(output, axis=-1, output_type=tf.int32)

    @tf.function(input_signature=signature, autograph=False)
    def function(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output_name(settings): outputs(image)}  # the formats name their output after the key

    return ExportJob(model, function, signature, images, settings, metadata or {})


def import_package(package: str, format_name: str) -> ModuleType:
    """Import a package that a format needs.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"EXPORT.FORMAT={format_name} needs the package {package}: pip install -r requirements-export.txt"
        ) from None


def write_saved_model(job: ExportJob, path: Path) -> None:
    """TensorFlow's SavedModel, a folder."""
    module = tf.Module()
    module.model, module.serve = job.model, job.function
    tf.saved_model.save(module, str(path), signatures={"serving_default": job.function})


def run_saved_model(path: Path) -> Run:
    loaded = tf.saved_model.load(str(path))
    return lambda image: next(iter(loaded.signatures["serving_default"](image=tf.constant(image)).values())).numpy()


def write_onnx(job: ExportJob, path: Path) -> None:
    """ONNX, by tf2onnx; what the model is stands in its metadata."""
    import_package("onnxruntime", "onnx")
    onnx = import_package("onnx", "onnx")
    tf2onnx = import_package("tf2onnx", "onnx")
    model, _ = tf2onnx.convert.from_function(job.function, input_signature=job.signature, opset=OPSET)
    onnx.helper.set_model_props(model, dict(job.metadata))
    model.doc_string = job.metadata.get("model", "")
    onnx.save(model, str(path))


def run_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def write_tflite(job: ExportJob, path: Path) -> None:
    """LiteRT, formerly TensorFlow Lite. float16 halves the weights; int8 computes with integers."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # As variables the weights would be left out, and reading them would give undefined values.
    frozen = convert_variables_to_constants_v2(job.function.get_concrete_function())

    @tf.function(input_signature=job.signature, autograph=False)
    def with_names(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output_name(job.settings): frozen(image)[0]}

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": with_names})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        quantize = job.settings.QUANTIZE
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            converter.representative_dataset = lambda: ({"image": image[None]} for image in job.images)
        path.write_bytes(converter.convert())


def run_tflite(path: Path) -> Run:
    runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()
    return lambda image: next(iter(runner(image=image).values()))
