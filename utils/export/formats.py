"""The table of export formats. Imports nothing heavy: the config takes its choices from here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from omegaconf import DictConfig

from utils.base.errors import UserError

if TYPE_CHECKING:
    import numpy as np


Run = Callable[["np.ndarray"], "np.ndarray"]


class Job(Protocol):
    """The model that is exported, as a format wraps it."""

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the output, the batch first; None where it is open."""

    def run(self, images: "np.ndarray") -> "np.ndarray":
        """The output for a batch of images."""


@dataclass(frozen=True)
class ExportFormat:
    """A row of FORMATS.

    Attributes:
        file_name: of the exported file or folder.
        make_job: "module:function", a function (model, images to calibrate with, EXPORT of the config, multi_label,
            metadata) -> `Job`.
        write: "module:function", a function (job, path) that writes it.
        run: "module:function", a function (path) -> (images -> outputs) that runs it.
        code: Python lines for the model card that turn `image`, a batch, into OUTPUT with nothing but the file.
        quantizes: values of EXPORT.QUANTIZE that it can do.
        any_size: whether EXPORT.SIZE=dynamic is possible.
        backends: values of BACKEND that write it.
    """

    file_name: str
    make_job: str
    write: str
    run: str
    code: str
    quantizes: tuple[str, ...] = ()
    any_size: bool = True
    backends: tuple[str, ...] = ("tensorflow",)


ONNX_CODE = """\
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
OUTPUT = session.run(["OUTPUT"], {"image": image})[0]"""
TFLITE_CODE = """\
import tensorflow as tf
run = tf.lite.Interpreter("model.tflite").get_signature_runner()  # TensorFlow notes that it moves to ai_edge_litert
OUTPUT = run(image=image)["OUTPUT"]"""
SAVED_MODEL_CODE = """\
import tensorflow as tf
model = tf.saved_model.load("saved_model")
OUTPUT = model.signatures["serving_default"](image=tf.constant(image))["OUTPUT"].numpy()"""
KERAS_CODE = """\
import keras, models.layers  # of this application: PYTHONPATH is its folder
model = keras.models.load_model("model.keras")
OUTPUT = model.predict(image)"""

# EXPORT.FORMAT -> its row
FORMATS = {
    "onnx": ExportFormat(
        "model.onnx",
        "utils.export.exporters:make_job",
        "utils.export.exporters:write_onnx",
        "utils.export.exporters:run_onnx",
        ONNX_CODE,
    ),
    "tflite": ExportFormat(
        "model.tflite",
        "utils.export.exporters:make_job",
        "utils.export.exporters:write_tflite",
        "utils.export.exporters:run_tflite",
        TFLITE_CODE,
        quantizes=("float16", "int8"),
    ),
    "saved_model": ExportFormat(
        "saved_model",
        "utils.export.exporters:make_job",
        "utils.export.exporters:write_saved_model",
        "utils.export.exporters:run_saved_model",
        SAVED_MODEL_CODE,
    ),
    "keras": ExportFormat(
        "model.keras",
        "utils.export.keras_format:make_job",
        "utils.export.keras_format:write_keras",
        "utils.export.keras_format:run_keras",
        KERAS_CODE,
        backends=("tensorflow", "jax"),
    ),
}


def output_name(settings: DictConfig) -> str:
    """The name of the output in the file, by EXPORT of the config.

    >>> from utils.config import load_config
    >>> output_name(load_config(["EXPORT.PREPROCESS=True"]).EXPORT)
    'classes'
    """
    return settings.OUTPUT or ("classes" if settings.PREPROCESS else "probabilities")


def check_export(cfg: DictConfig) -> ExportFormat:
    """Return the row of EXPORT.FORMAT.

    Args:
        cfg: restored config.

    Raises:
        UserError: EXPORT asks for what the format or the model cannot do; names the formats that can.
    """
    settings, row = cfg.EXPORT, FORMATS[cfg.EXPORT.FORMAT]
    if cfg.BACKEND not in row.backends:
        raise UserError(
            f"EXPORT.FORMAT={settings.FORMAT} is written with TensorFlow, which reads the same weights: type "
            "BACKEND=tensorflow, without KERAS_BACKEND in the environment, where requirements.txt is installed. Or set "
            "EXPORT.FORMAT=keras."
        )
    if settings.QUANTIZE is not None and settings.QUANTIZE not in row.quantizes:
        able = [name for name, other in FORMATS.items() if settings.QUANTIZE in other.quantizes]
        raise UserError(f"EXPORT.QUANTIZE={settings.QUANTIZE} needs EXPORT.FORMAT={' or '.join(able)}.")
    preprocessing = cfg.PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE
    if settings.QUANTIZE == "int8" and preprocessing not in ("normalize", "window"):
        raise UserError(
            f"EXPORT.QUANTIZE=int8 cannot hold PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE={preprocessing} of these "
            "weights: its values need more than 8 bits. Use EXPORT.QUANTIZE=float16."
        )
    if settings.PREPROCESS and cfg.PREPROCESS_DATA.SCOPE == "volume":
        raise UserError(
            "EXPORT.PREPROCESS=True takes one image, these weights the statistics of its volume "
            "(PREPROCESS_DATA.SCOPE=volume). Leave it out, and scale volumes first as the model card says."
        )
    stored_as_floats = cfg.DATA_PREPARATION.DEPTH == 16 or cfg.PREPROCESS_DATA.VALUE_RANGE is not None
    if settings.PREPROCESS and settings.QUANTIZE == "int8" and stored_as_floats:
        raise UserError(
            "EXPORT.QUANTIZE=int8 cannot hold the stored values of these weights (16 bit, or VALUE_RANGE), which "
            "EXPORT.PREPROCESS=True takes. Use EXPORT.QUANTIZE=float16, or leave EXPORT.PREPROCESS out."
        )
    if settings.SIZE == "dynamic" and not row.any_size:
        able = [name for name, other in FORMATS.items() if other.any_size]
        raise UserError(f"EXPORT.SIZE=dynamic needs EXPORT.FORMAT={' or '.join(able)}.")
    if settings.SIZE == "fixed" and cfg.INPUT.HEIGHT is None:
        raise UserError("EXPORT.SIZE=fixed needs a size: set INPUT.HEIGHT and INPUT.WIDTH, or EXPORT.SIZE=dynamic.")
    if settings.SIZE == "dynamic" and cfg.MODEL.PADDING == "valid":
        raise UserError("EXPORT.SIZE=dynamic cannot be combined with MODEL.PADDING=valid: use EXPORT.SIZE=fixed.")
    return row
