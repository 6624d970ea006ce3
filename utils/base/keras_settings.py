"""Keras as this project needs it, whatever `~/.keras/keras.json` of other projects and KERAS_BACKEND say."""

import os
import sys
import traceback
from pathlib import Path

from utils.base.errors import UserError

BACKEND = "tensorflow"
NEEDED = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}

READS_FILE = "keras/src/backend/config.py"  # the module of Keras that reads keras.json


def choose_backend() -> None:
    """Choose the backend before Keras is imported.

    Raises:
        UserError: KERAS_BACKEND names another.
    """
    wanted = os.environ.setdefault("KERAS_BACKEND", BACKEND)
    if wanted != BACKEND:
        raise UserError(f"KERAS_BACKEND={wanted!r}: the commands need {BACKEND}. Unset KERAS_BACKEND, or set it so.")


def set_keras() -> None:
    """Import Keras and set for this process what keras.json has otherwise; a line says so.

    Raises:
        UserError: Keras runs on another backend, or refuses keras.json.
    """
    choose_backend()
    file = Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
    try:
        import keras
    except Exception as error:  # of many types, where Keras takes the values of the file for granted
        if not any(frame.filename.endswith(READS_FILE) for frame in traceback.extract_tb(error.__traceback__)):
            raise
        raise UserError(f"Keras cannot be imported with {file} ({error}). Mend the file, or remove it.") from None

    if keras.backend.backend() != BACKEND:
        raise UserError(
            f"Keras runs on {keras.backend.backend()}, training needs {BACKEND}: set KERAS_BACKEND={BACKEND}."
        )
    for name, needed in NEEDED.items():
        found = getattr(keras.config, name)()
        if found != needed:
            getattr(keras.config, f"set_{name}")(needed)
            print(f"Note: {file} sets {name}={found}; this run uses {needed}.", file=sys.stderr)
