"""Open scans in the radiological view.

pydicom is imported only where DICOM is read: NIfTI does without it.
"""

import contextlib
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.orientations import apply_orientation, inv_ornt_aff

from data_preparation.scans.file_kinds import is_dicom, is_gzip, is_nifti
from data_preparation.scans.geometry import affine_note, nifti_geometry, shear_angle, to_radiological, voxel_spacing
from utils.base.errors import UserError
from utils.base.files import refuse_unreadable
from utils.base.wording import counted

MAX_VOXELS = 4_000_000_000

MAX_SHEAR = 0.5  # degrees by which the axes of a scan may be off right angles without a note
MAX_COMPRESSION = 1100  # bytes that one byte of a .gz file can expand to at most


class Scan(NamedTuple):
    """Stored voxels in the radiological view, and how they become intensities.

    voxels: `(rows, columns, slices)`, usually mapped from the file; intensity = voxel * slope + intercept;
    affine: `(4, 4)`, to mm to the right, the front and the head, for the order of axes of the file;
    notes: what the user should know.
    """

    path: Path
    voxels: np.ndarray
    slope: float
    intercept: float
    affine: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm between voxels `(row, column, slice)`."""
        return voxel_spacing(voxel_affine(self))

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in the order of axes of the file, to which the affine belongs."""
        return tuple(self.voxels.shape[axis] for axis in to_radiological(self.affine)[:, 0].astype(int))

    def slice(self, index: int) -> np.ndarray:
        """Intensities of one slice `(rows, columns)`, contiguous: integers of up to 16 bits if unscaled, else float32.

        Raises:
            UserError: NaN or infinite values.
        """
        pixels = self.voxels[:, :, index]
        if self.slope == 1 and self.intercept == 0 and pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
            return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
        pixels = np.ascontiguousarray(pixels, np.float32) * np.float32(self.slope) + np.float32(self.intercept)
        if not np.isfinite(pixels).all():
            raise UserError(f"{self.path}: slice {index} contains NaN or infinite values. Replace them and try again.")
        return pixels


def read_scan(path: Path, modality: int | None = None) -> Scan:
    """Open a NIfTI file, a DICOM file or a folder with a DICOM series in the radiological view. Voxels keep their type.

    Args:
        path: file or folder.
        modality: which image of a 4-D file; None requires files with one.

    Raises:
        UserError: not NIfTI, truncated, another number of axes, more than 4e9 voxels, voxels that are not numbers, or
            a geometry that is none, see `data_preparation.scans.geometry.nifti_geometry`;
            for DICOM see `data_preparation.scans.dicom.read_series`.
    """
    if path.is_dir() or (not is_nifti(path) and is_dicom(path)):
        from data_preparation.scans.dicom import read_series

        return orient(path, *read_series(path))
    return read_stored(path, modality).scan(modality or 0)


def read_images(path: Path, names: Sequence[str]) -> list[Scan]:
    """All images of a file with four axes, or the one of another, in the order stored.

    Args:
        path: see `read_scan`.
        names: of the images, of which there must be as many.

    Raises:
        UserError: as `read_scan`, or the file has another number of images.
    """
    if path.is_dir() or (not is_nifti(path) and is_dicom(path)):
        scans = [read_scan(path)]
    else:
        stored = read_stored(path, modality=0)
        scans = [stored.scan(index) for index in range(stored.images)]
    if len(scans) != len(names):
        raise UserError(
            f"{path}: has {counted(len(scans), 'image')}, but {len(names)} channels are named: {', '.join(names)}."
        )
    return scans


class StoredImages(NamedTuple):
    """What a NIfTI file holds, as stored; voxels: `(i, j, k)` or `(i, j, k, images)`; for the others see `orient`."""

    path: Path
    voxels: np.ndarray
    affine: np.ndarray
    slope: float
    intercept: float
    notes: tuple[str, ...]

    @property
    def images(self) -> int:
        return self.voxels.shape[3] if self.voxels.ndim == 4 else 1

    def scan(self, index: int) -> Scan:
        """One of the images."""
        voxels = self.voxels[..., index] if self.voxels.ndim == 4 else self.voxels
        return orient(self.path, voxels, self.affine, self.slope, self.intercept, self.notes)


def read_stored(path: Path, modality: int | None) -> StoredImages:
    """The voxels of a NIfTI file."""
    with refuse_damaged(path):
        image, affine = open_nifti(path, modality)
        notes = affine_note(path, image)
        stored = stored_voxels(path, image)
    return StoredImages(path, stored, affine, float(image.dataobj.slope), float(image.dataobj.inter), notes)


def open_nifti(path: Path, modality: int | None) -> tuple[Any, np.ndarray]:
    """A NIfTI image whose header was checked, no voxel read, and its affine in mm."""
    check_compression(path)
    image: Any = nib.load(path)  # nibabel declares its most general class here
    check_scan(path, image, modality)
    return image, nifti_geometry(path, image)


@contextlib.contextmanager
def refuse_damaged(path: Path) -> Iterator[None]:
    """Turn whatever a damaged header makes nibabel do into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refuse_unreadable(path, error)
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: is not a complete NIfTI file ({cause}). Copy it again.") from None


def read_grid(path: Path) -> tuple[tuple[int, int, int], np.ndarray]:
    """`(rows, columns, slices)` of a NIfTI file in the radiological view and its `voxel_affine`, from the header alone.

    Raises:
        UserError: as `read_scan`.
    """
    with refuse_damaged(path):
        image, affine = open_nifti(path, modality=0)
    change, stored = to_radiological(affine), image.shape[:3]
    shape = [0, 0, 0]
    for axis, target in enumerate(change[:, 0].astype(int)):
        shape[target] = stored[axis]
    return (shape[0], shape[1], shape[2]), affine @ inv_ornt_aff(change, stored)


def stored_voxels(path: Path, image: Any) -> np.ndarray:
    """The voxels of a NIfTI image in their stored type: mapped from an uncompressed file, else decoded once.

    A compressed file is read to its end, where its checksum is; nibabel stops after the last voxel.
    """
    if not is_gzip(path):
        return image.dataobj.get_unscaled()
    with gzip.open(path) as file:
        opened = type(image).from_file_map({**image.file_map, "image": FileHolder(fileobj=file)})
        stored = opened.dataobj.get_unscaled()
        while file.read(1 << 20):
            pass
    return stored


def orient(
    path: Path,
    stored: np.ndarray,
    affine: np.ndarray,
    slope: float,
    intercept: float,
    notes: tuple[str, ...] = (),
) -> Scan:
    """The `Scan` of voxels as stored.

    Args:
        path: of the file or folder, for messages.
        stored: voxels `(i, j, k)`.
        affine: `(4, 4)`, from voxel indices to mm to the right, the front and the head.
        slope, intercept: intensity = voxel * slope + intercept.
        notes: of the reader.
    """
    angle = shear_angle(affine)
    if angle > MAX_SHEAR:
        notes = (
            *notes,
            f"{path}: its slices are shifted against each other by {angle:.1f} degrees (gantry tilt). Every slice is "
            "used where it lies; a program without sheared grids shows label volumes displaced.",
        )
    return Scan(path, apply_orientation(stored, to_radiological(affine)), slope, intercept, affine, notes)


def voxel_affine(scan: Scan) -> np.ndarray:
    """The affine of the voxels in the radiological view: files of one scan agree in it, however each is stored."""
    return scan.affine @ inv_ornt_aff(to_radiological(scan.affine), scan.stored_shape)


def check_compression(path: Path) -> None:
    """Raise a UserError for a name that says gzip where the file is not, or the other way round."""
    compressed = is_gzip(path)
    if path.name.lower().endswith(".gz") != compressed and path.stat().st_size:
        state, ending = ("compressed with gzip", ".nii.gz") if compressed else ("not compressed with gzip", ".nii")
        raise UserError(
            f"{path}: is {state}, against its name. Rename it to {ending}, or copy it again if it is damaged."
        )


def check_offset(path: Path, image: Any) -> None:
    """Raise a UserError if the voxels of a NIfTI file would begin within its header, which some programs state as 0."""
    header = image.header
    if header.is_single and image.dataobj.offset < header.single_vox_offset:
        raise UserError(
            f"{path}: vox_offset={image.dataobj.offset} in its header lies within the header itself; voxels begin at "
            f"{header.single_vox_offset} or later. Correct it, or export the file again."
        )


def check_scan(path: Path, image: Any, modality: int | None) -> None:
    """Raise a UserError for a header that this program cannot read."""
    if not isinstance(image, nib.Nifti1Pair):
        raise UserError(f"{path}: is {type(image).__name__}, not NIfTI.")
    check_offset(path, image)
    if len(image.shape) == 4 and image.shape[3] > 1 and modality is None:
        raise UserError(
            f"{path}: has {image.shape[3]} images on a fourth axis. Choose one, from 0: --modality of volumes.py, "
            "DATA_PREPARATION.MODALITY in prediction; or take all as channels: --channels of volumes.py."
        )
    if len(image.shape) not in (3, 4):
        raise UserError(f"{path}: has the shape {image.shape}; a scan has three axes.")
    if len(image.shape) == 4 and modality is not None and not 0 <= modality < image.shape[3]:
        raise UserError(f"{path}: has {image.shape[3]} modalities, 0 to {image.shape[3] - 1}, not {modality}.")
    if min(image.shape) < 1:
        raise UserError(f"{path}: has the shape {image.shape} and contains no voxels.")
    if np.prod(image.shape, dtype=float) > MAX_VOXELS:
        raise UserError(f"{path}: declares {image.shape} voxels, more than {MAX_VOXELS:,}, and is not read.")
    declared = np.prod(image.shape, dtype=float) * image.get_data_dtype().itemsize
    if declared > path.stat().st_size * (MAX_COMPRESSION if path.name.lower().endswith(".gz") else 1):
        raise UserError(
            f"{path}: is not a complete NIfTI file: its header declares {declared:,.0f} bytes of voxels. Copy it again."
        )
    if image.get_data_dtype().kind not in "iuf":
        raise UserError(f"{path}: contains {image.get_data_dtype()} voxels; they must be integers or floats.")
