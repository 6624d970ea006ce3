"""Write TIFF files of any number of bands."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile


def write_tiff(file: Path | BinaryIO, pixels: np.ndarray) -> None:
    """Write an array `(height, width, bands)` of any type with a band for each channel, none of which is a colour."""
    tifffile.imwrite(file, pixels, photometric="minisblack", planarconfig="contig", metadata=None, compression="zlib")
