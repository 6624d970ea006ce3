"""Write TIFF files of any number of bands."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile


def write_tiff(file: Path | BinaryIO, pixels: np.ndarray) -> None:
    """Write an array `(height, width, bands)` of any type with a band for each channel, none of which is a colour."""
    one = pixels.shape[2] == 1  # of which tifffile would make a page for each row
    pixels, planes = (pixels[:, :, 0], None) if one else (pixels, "contig")
    tifffile.imwrite(file, pixels, photometric="minisblack", planarconfig=planes, metadata=None, compression="zlib")
