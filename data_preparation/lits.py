"""Scans and their segmentations: find those of LiTS, read NIfTI and DICOM, and cut them into oriented slices."""

import re
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError

from utils.errors import UserError
from utils.files import resolve_path

MAX_VOXELS = 4_000_000_000
# Rows run to the back, columns to the patient's left, slices to the head: the radiological view, liver on the left.
VIEW = ("P", "L", "S")
DEFLATE = 1100  # no compressed byte can stand for more
LABELS = (0, 1, 2)  # background, liver, tumour


class Case(NamedTuple):
    """One patient: what its pictures are called (LiTS: the number in the file names), and the two files or folders."""

    name: str
    volume: Path
    segmentation: Path


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


def find_cases(cfg, key):
    """Return the cases of the folder that `DATA_PREPARATION.<key>` names, ordered by number.

    Raises:
        UserError: no such folder, no volumes in it, or a volume or segmentation without its partner.
    """
    value = cfg.DATA_PREPARATION[key]
    folder = resolve_path(cfg, value)
    if not folder.is_dir():
        raise UserError(
            f"DATA_PREPARATION.{key}={value}: there is no folder {folder}. It should hold volume-N.nii and "
            "segmentation-N.nii."
        )
    volumes, segmentations = number_files(folder, "volume"), number_files(folder, "segmentation")
    if not volumes and not segmentations:
        raise UserError(f"DATA_PREPARATION.{key}: the folder {folder} holds no volume-N.nii or volume-N.nii.gz.")
    alone = [f"volume-{number} has no segmentation-{number}" for number in sorted(volumes.keys() - segmentations)]
    alone += [f"segmentation-{number} has no volume-{number}" for number in sorted(segmentations.keys() - volumes)]
    if alone:
        raise UserError(f"DATA_PREPARATION.{key}: in {folder} {'; '.join(alone)}. Add or remove files.")
    return [Case(str(number), volumes[number], segmentations[number]) for number in sorted(volumes)]


def number_files(folder, kind):
    """`{number: path}` of the files `<kind>-N.nii` and `<kind>-N.nii.gz`."""
    files = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(rf"{kind}-(\d+)\.nii(\.gz)?", path.name)
        if not match:
            continue
        number = int(match.group(1))
        if number in files:
            raise UserError(f"{path}: the same {kind} is there as {files[number].name}. Remove one of them.")
        files[number] = path
    return files


def read_scan(path, modality=None):
    """Open a NIfTI file, or a folder with a DICOM series, in the radiological view, without scaling it.

    Args:
        modality: int, which of several images on a fourth axis; None where there are three axes.

    Raises:
        UserError: not NIfTI, truncated, not of that many axes, more than 4e9 voxels, or voxels that are no numbers;
            as `data_preparation.dicom.read_series`.
    """
    if path.is_dir():
        from data_preparation.dicom import read_series

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


def read_case(case, modality=None):
    """Return `(scan, segmentation, note)`: two `Scan` of one shape, and a remark or None.

    Raises:
        UserError: as `read_scan`; the two have different shapes.
    """
    scan, note = read_scan(case.volume, modality), None
    segmentation = read_segmentation(case.segmentation, scan)
    if not np.allclose(view_affine(scan), view_affine(segmentation), rtol=0, atol=1e-2):
        # Some LiTS segmentations carry another orientation in the header; their voxels still lie on the volume's.
        note = f"{case.segmentation.name}: its affine differs from the volume's, which is used for both."
        segmentation = view_like(segmentation, scan)
    if scan.voxels.shape != segmentation.voxels.shape:
        raise UserError(
            f"{case.segmentation}: is {segmentation.voxels.shape}, {case.volume.name} {scan.voxels.shape} "
            "(rows, columns, slices). They must have the same shape."
        )
    return scan, segmentation, note


def read_segmentation(path, scan):
    """The labels of a scan: as `read_scan`, or a file in the format DICOM SEG, whose frames are placed on the scan."""
    if path.is_dir() or path.name.lower().endswith((".nii", ".nii.gz")):
        return read_scan(path)
    from data_preparation.dicom import read_seg

    return view(path, *read_seg(path, scan.affine, scan.stored_shape))


def view_like(segmentation, scan):
    """The segmentation turned as the scan was, whatever its own header says."""
    back = ornt_transform(axcodes2ornt(VIEW), io_orientation(segmentation.affine))
    stored = apply_orientation(segmentation.voxels, back)
    return segmentation._replace(voxels=apply_orientation(stored, to_view(scan.affine)))


def window_slice(pixels, low, high, scaling):
    """Map HU to uint8: `window` takes low..high to 0..255, `slice_min_max` the range the slice has within them."""
    if scaling == "slice_min_max":
        low, high = max(low, float(pixels.min())), min(high, float(pixels.max()))
        if low >= high:
            return np.zeros(pixels.shape, np.uint8)
    factor = 255 / (high - low)
    # One pass: scales, shifts, rounds, and saturates to 0..255, which is the clipping.
    return cv2.addWeighted(pixels, factor, pixels, 0, -low * factor, dtype=cv2.CV_8U)


def label_slice(segmentation, index, labels):
    """The labels of one slice as uint8 classes.

    Args:
        labels: of LiTS "merge_tumour" (liver and tumour are class 1) or "liver_and_tumour"; of other scans
            "foreground" (all above 0 is class 1) or "as_stored".

    Raises:
        UserError: a value other than 0, 1 and 2 of LiTS; one that is no whole number from 0 to 255 of others.
    """
    values = segmentation.slice(index)
    with np.errstate(invalid="ignore"):  # what does not fit is found by the comparison
        classes = values.astype(np.uint8)
    is_lits = labels in ("merge_tumour", "liver_and_tumour")
    known = LABELS if is_lits else range(256)
    if not np.array_equal(classes, values) or classes.max() > known[-1]:
        unknown = sorted(set(np.unique(values).tolist()) - set(known))
        meaning = (
            "0 (background), 1 (liver) and 2 (tumour) are known" if is_lits else "whole numbers to 255 are classes"
        )
        raise UserError(
            f"{segmentation.path}: slice {index} holds the labels {', '.join(f'{value:g}' for value in unknown[:10])}; "
            f"{meaning}."
        )
    return np.minimum(classes, 1) if labels in ("merge_tumour", "foreground") else classes


def crop_or_pad(pixels, height, width):
    """Cut or fill up `(rows, columns)` around the centre; new pixels are 0."""
    rows, columns = pixels.shape
    top, left = max(rows - height, 0) // 2, max(columns - width, 0) // 2
    cut = pixels[top : top + height, left : left + width]
    above, before = (height - cut.shape[0]) // 2, (width - cut.shape[1]) // 2
    framed = np.zeros((height, width), pixels.dtype)
    framed[above : above + cut.shape[0], before : before + cut.shape[1]] = cut
    return framed
