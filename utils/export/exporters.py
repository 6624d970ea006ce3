"""Write a Keras model in other formats, and run what was written.

Packages of a format are imported inside its functions: only the format that is asked for needs them.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import tensorflow as tf
from omegaconf import DictConfig

from utils.base.errors import UserError

OPSET = 17

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ExportJob:
    """What an exporter writes.

    Attributes:
        model: inference model in float32.
        function: tf.function images -> outputs, with what EXPORT.PREPROCESS adds.
        signature: its inputs.
        images: uint8 `(count, height, width, channels)` to calibrate with.
        settings: EXPORT of the config.
    """

    model: keras.Model
    function: tf.types.experimental.PolymorphicFunction
    signature: list[tf.TensorSpec]
    images: np.ndarray
    settings: DictConfig


def make_job(model: keras.Model, images: np.ndarray, settings: DictConfig, multi_label: bool = False) -> ExportJob:
    """Wrap an inference model for export.

    With EXPORT.PREPROCESS=False it takes float32 images in [0, 1] and returns probabilities. With True it takes uint8
    images and returns class indices, int32 without the axis of the classes (one class: probability above 0.5 is 1).

    Args:
        model: image -> probabilities.
        images: uint8 `(count, height, width, channels)`.
        settings: EXPORT of the config.
        multi_label: whether classes overlap: class indices are then bits, see `utils.base.class_bits`.
    """
    _, *shape = model.input_shape
    preprocess = settings.PREPROCESS
    signature = [tf.TensorSpec([None, *shape], tf.uint8 if preprocess else tf.float32, name="image")]

    @tf.function(input_signature=signature)
    def function(image):
        if not preprocess:
            return model(image, training=False)
        output = model(tf.cast(image, tf.float32) / 255.0, training=False)
        if multi_label:
            bits = tf.constant([2**index for index in range(output.shape[-1])])
            return tf.reduce_sum(tf.cast(output > 0.5, tf.int32) * bits, axis=-1)
        if output.shape[-1] == 1:
            return tf.cast(output[..., 0] > 0.5, tf.int32)
        return tf.argmax(output, axis=-1, output_type=tf.int32)

    return ExportJob(model, function, signature, images, settings)


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
    """ONNX, by tf2onnx."""
    for package in ("onnxruntime", "onnx"):
        import_package(package, "onnx")
    tf2onnx = import_package("tf2onnx", "onnx")
    tf2onnx.convert.from_function(job.function, input_signature=job.signature, opset=OPSET, output_path=str(path))


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
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    quantize = job.settings.QUANTIZE
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        images = job.images if job.settings.PREPROCESS else job.images / np.float32(255)
        converter.representative_dataset = lambda: ([image[None]] for image in images)
    path.write_bytes(converter.convert())


def run_tflite(path: Path) -> Run:
    interpreter = tf.lite.Interpreter(model_path=str(path))
    take, give = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(take, image.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(take, image)
        interpreter.invoke()
        return interpreter.get_tensor(give)

    return run


def write_keras(job: ExportJob, path: Path) -> None:
    """Keras's own format."""
    job.model.save(path)


def run_keras(path: Path) -> Run:
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda image: model.predict_on_batch(image)
