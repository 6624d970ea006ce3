"""LiTS scans: find `volume-N.nii[.gz]` with its `segmentation-N.nii[.gz]`, and cut them into oriented slices."""

import re
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError

from utils.errors import UserError
from utils.files import resolve_path

MAX_VOXELS = 4_000_000_000
# Rows run to the back, columns to the patient's left, slices to the head: the radiological view, liver on the left.
VIEW = ("P", "L", "S")
LABELS = (0, 1, 2)  # background, liver, tumour


class Case(NamedTuple):
    """One patient: the number in the file names, and the two files."""

    number: int
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
    return [Case(number, volumes[number], segmentations[number]) for number in sorted(volumes)]


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


def read_scan(path):
    """Open a NIfTI file in the radiological view, without scaling it or copying it.

    Raises:
        UserError: not NIfTI, truncated, not three-dimensional, more than 4e9 voxels, or voxels that are no numbers.
    """
    try:
        image = nib.load(path)
        check_scan(path, image)
        # Uncompressed files are mapped, compressed ones decoded once; both keep the stored type.
        stored = image.dataobj.get_unscaled()
        transform = ornt_transform(io_orientation(image.affine), axcodes2ornt(VIEW))
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: is not a whole NIfTI file ({cause}). Copy it again.") from None
    spacing = np.array(image.header.get_zooms(), float)[np.argsort(transform[:, 0])]
    return Scan(
        path=path,
        voxels=apply_orientation(stored, transform),
        slope=float(image.dataobj.slope),
        intercept=float(image.dataobj.inter),
        spacing=tuple(spacing.tolist()),
        affine=image.affine,
    )


def check_scan(path, image):
    """Raise a UserError for what the header promises and this program does not take."""
    if not isinstance(image, nib.Nifti1Pair):
        raise UserError(f"{path}: is {type(image).__name__}, not NIfTI.")
    if len(image.shape) != 3:
        raise UserError(f"{path}: has the shape {image.shape}; a scan has three axes.")
    if min(image.shape) < 1:
        raise UserError(f"{path}: has the shape {image.shape} and holds nothing.")
    if np.prod(image.shape, dtype=float) > MAX_VOXELS:
        raise UserError(f"{path}: promises {image.shape} voxels, more than {MAX_VOXELS:,}, and is not read.")
    if image.get_data_dtype().kind not in "iuf":
        raise UserError(f"{path}: holds {image.get_data_dtype()} voxels; integers or floats are read.")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise UserError(f"{path}: the affine of the header is not usable, so its orientation is unknown.")


def read_case(case):
    """Return `(scan, segmentation, note)`: two `Scan` of one shape, and a remark or None.

    Raises:
        UserError: as `read_scan`; the two have different shapes.
    """
    scan, segmentation, note = read_scan(case.volume), read_scan(case.segmentation), None
    if not np.allclose(scan.affine, segmentation.affine, rtol=0, atol=1e-2):
        # Some LiTS segmentations carry another orientation in the header; their voxels still lie on the volume's.
        note = f"{case.segmentation.name}: its affine differs from the volume's, which is used for both."
        segmentation = view_like(segmentation, scan)
    if scan.voxels.shape != segmentation.voxels.shape:
        raise UserError(
            f"{case.segmentation}: is {segmentation.voxels.shape}, {case.volume.name} {scan.voxels.shape} "
            "(rows, columns, slices). They must have the same shape."
        )
    return scan, segmentation, note


def view_like(segmentation, scan):
    """The segmentation turned as the scan was, whatever its own header says."""
    back = ornt_transform(axcodes2ornt(VIEW), io_orientation(segmentation.affine))
    forth = ornt_transform(io_orientation(scan.affine), axcodes2ornt(VIEW))
    return segmentation._replace(voxels=apply_orientation(apply_orientation(segmentation.voxels, back), forth))


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
    """The labels of one slice as uint8 classes; `labels` is "merge_tumour" or "liver_and_tumour".

    Raises:
        UserError: a value other than 0, 1 and 2.
    """
    values = segmentation.slice(index)
    with np.errstate(invalid="ignore"):  # what does not fit is found by the comparison
        classes = values.astype(np.uint8)
    if not np.array_equal(classes, values) or classes.max() > LABELS[-1]:
        unknown = sorted(set(np.unique(values).tolist()) - set(LABELS))
        raise UserError(
            f"{segmentation.path}: slice {index} holds the labels {', '.join(f'{value:g}' for value in unknown[:10])}; "
            "0 (background), 1 (liver) and 2 (tumour) are known."
        )
    return np.minimum(classes, 1) if labels == "merge_tumour" else classes


def crop_or_pad(pixels, height, width):
    """Cut or fill up `(rows, columns)` around the centre; new pixels are 0."""
    rows, columns = pixels.shape
    top, left = max(rows - height, 0) // 2, max(columns - width, 0) // 2
    cut = pixels[top : top + height, left : left + width]
    above, before = (height - cut.shape[0]) // 2, (width - cut.shape[1]) // 2
    framed = np.zeros((height, width), pixels.dtype)
    framed[above : above + cut.shape[0], before : before + cut.shape[1]] = cut
    return framed
