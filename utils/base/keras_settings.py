"""Keras as this project needs it, whatever `~/.keras/keras.json` of other projects and KERAS_BACKEND say."""

import os
import sys
import traceback
from pathlib import Path

from utils.base.errors import UserError

BACKENDS = ("tensorflow", "jax")
NEEDED = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}

READS_FILE = "keras/src/backend/config.py"  # the module of Keras that reads keras.json


def default_backend() -> str:
    """What BACKEND=null stands for: the backend that KERAS_BACKEND names, or TensorFlow.

    Raises:
        UserError: KERAS_BACKEND names one that the commands do not run on.
    """
    named = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if named not in BACKENDS:
        raise UserError(
            f"KERAS_BACKEND={named!r}: the commands run on {' or '.join(BACKENDS)}. Set it so, or unset it."
        )
    return named


def choose_backend(wanted: str) -> None:
    """Choose the backend before Keras is imported.

    Raises:
        UserError: KERAS_BACKEND names another, or Keras already runs on another.
    """
    named = os.environ.setdefault("KERAS_BACKEND", wanted)
    if named != wanted:
        raise UserError(
            f"KERAS_BACKEND={named!r} contradicts BACKEND={wanted}. Unset KERAS_BACKEND, or leave BACKEND out."
        )
    if "keras" in sys.modules:
        import keras

        if keras.backend.backend() != wanted:
            raise UserError(
                f"Keras runs on {keras.backend.backend()} in this process, BACKEND is {wanted}. Start a new process."
            )


def set_keras() -> None:
    """Import Keras and set for this process what keras.json has otherwise; a line says so.

    Raises:
        UserError: Keras refuses keras.json.
    """
    choose_backend(default_backend())
    file = Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
    try:
        import keras
    except Exception as error:  # of many types, where Keras takes the values of the file for granted
        if not any(frame.filename.endswith(READS_FILE) for frame in traceback.extract_tb(error.__traceback__)):
            raise
        raise UserError(f"Keras cannot be imported with {file} ({error}). Mend the file, or remove it.") from None

    for name, needed in NEEDED.items():
        found = getattr(keras.config, name)()
        if found != needed:
            getattr(keras.config, f"set_{name}")(needed)
            print(f"Note: {file} sets {name}={found}; this run uses {needed}.", file=sys.stderr)
