"""PNG files that appear only when they are complete."""

from pathlib import Path

import cv2
import numpy as np

from utils.base.errors import UserError
from utils.base.files import atomic_write


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write `(height, width)` or `(height, width, 3)`, blue first; the disk may follow later.

    Raises:
        UserError: OpenCV cannot encode it.
    """
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise UserError(f"Cannot write {path}: OpenCV could not encode a picture of shape {picture.shape}.")
    with atomic_write(path, sync=False) as temporary:
        temporary.write_bytes(encoded.tobytes())
