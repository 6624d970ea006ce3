"""Open NIfTI scans in the radiological view."""

import zlib
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError

from utils.base.errors import UserError

MAX_VOXELS = 4_000_000_000

# Rows run to the back, columns to the patient's left, slices to the head: the radiological view, liver on the left.
VIEW = ("P", "L", "S")

DEFLATE = 1100  # no compressed byte can stand for more


class Scan(NamedTuple):
    """Stored voxels, seen in the radiological view, and what turns them into values.

    voxels `(rows, columns, slices)`, usually a view of the file; value = voxel * slope + intercept;
    spacing in mm `(row, column, slice)`; affine as in the file.
    """

    path: Path
    voxels: np.ndarray
    slope: float
    intercept: float
    spacing: tuple
    affine: np.ndarray

    @property
    def stored_shape(self):
        """The number of voxels along the axes as they are stored, to which the affine belongs."""
        return tuple(self.voxels.shape[axis] for axis in to_view(self.affine)[:, 0].astype(int))

    def slice(self, index):
        """The values of one slice, contiguous: small integers as stored where nothing scales them, else float32."""
        pixels = self.voxels[:, :, index]
        if self.slope == 1 and self.intercept == 0 and pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
            return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
        pixels = np.ascontiguousarray(pixels, np.float32) * np.float32(self.slope) + np.float32(self.intercept)
        if not np.isfinite(pixels).all():
            raise UserError(f"{self.path}: slice {index} holds NaN or infinite values. Replace them and try again.")
        return pixels


def read_scan(path, modality=None):
    """Open a NIfTI file, or a folder with a DICOM series, in the radiological view, without scaling it.

    Args:
        modality: int, which of several images on a fourth axis; None where there are three axes.

    Raises:
        UserError: not NIfTI, truncated, not of that many axes, more than 4e9 voxels, or voxels that are no numbers;
            as `data_preparation.scans.dicom.read_series`.
    """
    if path.is_dir():
        from data_preparation.scans.dicom import read_series

        return view(path, *read_series(path))
    try:
        image = nib.load(path)
        check_scan(path, image, modality)
        # Uncompressed files are mapped, compressed ones decoded once; both keep the stored type.
        stored = image.dataobj.get_unscaled()
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: is not a whole NIfTI file ({cause}). Copy it again.") from None
    stored = stored if modality is None or stored.ndim == 3 else stored[..., modality]
    spacing = image.header.get_zooms()[:3]
    return view(path, stored, image.affine, spacing, float(image.dataobj.slope), float(image.dataobj.inter))


def view(path, stored, affine, spacing, slope, intercept):
    """The `Scan` of stored voxels `(i, j, k)`; the affine leads to millimetres to the right, the front and the head."""
    transform = to_view(affine)
    spacing = np.array(spacing, float)[np.argsort(transform[:, 0])]
    return Scan(path, apply_orientation(stored, transform), slope, intercept, tuple(spacing.tolist()), affine)


def to_view(affine):
    """How nibabel turns voxels that are stored with this affine into the radiological view."""
    return ornt_transform(io_orientation(affine), axcodes2ornt(VIEW))


def view_affine(scan):
    """The affine of the voxels as they are seen: two files of one scan agree in it, however each is stored."""
    return scan.affine @ inv_ornt_aff(to_view(scan.affine), scan.stored_shape)


def check_scan(path, image, modality):
    """Raise a UserError for what the header promises and this program does not take."""
    if not isinstance(image, nib.Nifti1Pair):
        raise UserError(f"{path}: is {type(image).__name__}, not NIfTI.")
    several = len(image.shape) == 4 and modality is not None
    if len(image.shape) != 3 and not several:
        raise UserError(f"{path}: has the shape {image.shape}; a scan has three axes.")
    if several and not 0 <= modality < image.shape[3]:
        raise UserError(f"{path}: has {image.shape[3]} modalities, 0 to {image.shape[3] - 1}, not {modality}.")
    if min(image.shape) < 1:
        raise UserError(f"{path}: has the shape {image.shape} and holds nothing.")
    if np.prod(image.shape, dtype=float) > MAX_VOXELS:
        raise UserError(f"{path}: promises {image.shape} voxels, more than {MAX_VOXELS:,}, and is not read.")
    promised = np.prod(image.shape, dtype=float) * image.get_data_dtype().itemsize
    if promised > path.stat().st_size * (DEFLATE if path.name.lower().endswith(".gz") else 1):
        raise UserError(f"{path}: is not a whole NIfTI file: promises {promised:,.0f} bytes of voxels. Copy it again.")
    if image.get_data_dtype().kind not in "iuf":
        raise UserError(f"{path}: holds {image.get_data_dtype()} voxels; integers or floats are read.")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise UserError(f"{path}: the affine of the header is not usable, so its orientation is unknown.")
