"""Keras as this project needs it, whatever `~/.keras/keras.json` of other projects and KERAS_BACKEND say."""

import os
import sys
from pathlib import Path

from utils.base.errors import UserError

BACKEND = "tensorflow"
NEEDED = {"image_data_format": "channels_last", "floatx": "float32"}


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
        UserError: Keras runs on another backend.
    """
    choose_backend()
    import keras

    if keras.backend.backend() != BACKEND:
        raise UserError(
            f"Keras runs on {keras.backend.backend()}, training needs {BACKEND}: set KERAS_BACKEND={BACKEND}."
        )
    for name, needed in NEEDED.items():
        found = getattr(keras.config, name)()
        if found != needed:
            getattr(keras.config, f"set_{name}")(needed)
            file = Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
            print(f"Note: {file} sets {name}={found}; this run uses {needed}.", file=sys.stderr)
