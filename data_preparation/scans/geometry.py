"""The geometry of scans: where each voxel lies, how far voxels are apart, whether two grids are one.

Everything that needs mm takes them from here, and they all follow from the affine: of a NIfTI header in its own units,
of a DICOM series from the positions of its slices.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from scipy.ndimage import affine_transform

from utils.base.errors import UserError

# Rows run to the back, columns to the patient's left, slices to the head: the radiological view, liver on the left.
RADIOLOGICAL = ("P", "L", "S")

MM_OF_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units of NIfTI: not told, metres, millimetres, micrometres
UNIT_NAMES = {0: "no unit", 1: "metres", 2: "millimetres", 3: "micrometres"}
SPACING_MM = (1e-6, 200.0)  # a voxel outside has the wrong unit; no slice is thicker
MAX_OFFSET_MM = 1e6
MIN_INDEPENDENCE = 0.1  # volume of a voxel / product of its edges: 1 for a box, 0 where two axes are one
SAME_GRID = 0.2  # voxels by which two grids of one scan may be apart: rounding, not another place


def voxel_spacing(affine: np.ndarray) -> tuple[float, float, float]:
    """mm between voxel centres along the three axes of voxels with this affine `(4, 4)`, in mm.

    Along the third axis it is the distance between the planes of two slices, so that the product of the three is the
    volume of a voxel also where the slices of a tilted gantry are shifted against each other.
    """
    first, second, third = affine[:3, :3].T
    normal = np.cross(first, second)
    return (
        float(np.linalg.norm(first)),
        float(np.linalg.norm(second)),
        float(abs(third @ normal) / np.linalg.norm(normal)),
    )


def shear_angle(affine: np.ndarray) -> float:
    """Degrees by which the axes of the voxels are off right angles, as with a tilted gantry."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosine = np.abs(directions.T @ directions - np.eye(3)).max()
    return float(np.degrees(np.arcsin(min(cosine, 1.0))))


def check_affine(path: Path, affine: np.ndarray, units: str = "millimetres") -> None:
    """Raise a UserError for an affine, in mm, that describes no scan.

    Args:
        path: of the scan.
        affine: `(4, 4)`.
        units: that the file states, for the message.
    """
    if not np.isfinite(affine).all():
        raise UserError(f"{path}: the affine in the header is invalid (not finite), so the orientation is unknown.")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = SPACING_MM
    if not lengths.all():
        raise UserError(
            f"{path}: the affine in the header is invalid (an axis of 0 mm), so the orientation is unknown."
        )
    if lengths.min() < low or lengths.max() > high or np.abs(affine[:3, 3]).max() > MAX_OFFSET_MM:
        raise UserError(
            f"{path}: the header states {units}, by which voxels are {' x '.join(f'{mm:g}' for mm in lengths)} mm and "
            f"the first lies at {', '.join(f'{mm:g}' for mm in affine[:3, 3])} mm. Correct the units or the affine."
        )
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < MIN_INDEPENDENCE:
        raise UserError(
            f"{path}: the affine in the header is invalid (two axes in one direction), so the orientation is unknown."
        )


def usable(affine: np.ndarray | None) -> bool:
    """Whether an affine of a NIfTI header has three axes; some programs leave an sform of zeros."""
    if affine is None or not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.all()) and abs(np.linalg.det(affine[:3, :3] / lengths)) >= MIN_INDEPENDENCE


def nifti_affine(image: Any) -> np.ndarray:
    """The affine `(4, 4)` of a NIfTI image in the units of its header: sform, else qform, else as nibabel has it.

    An sform that is no affine (zeros, two axes in one direction) does not count where there is a good qform.
    """
    if not usable(image.header.get_sform(coded=True)[0]):
        qform = image.header.get_qform(coded=True)[0]
        if qform is not None and usable(qform):
            return np.asarray(qform, float)
    return np.asarray(image.affine, float)


def affine_note(path: Path, image: Any) -> tuple[str, ...]:
    """A note if sform and qform disagree: the sform is no affine, or they are more than SAME_GRID voxels apart."""
    sform = image.header.get_sform(coded=True)[0]
    try:
        qform = image.header.get_qform(coded=True)[0]
    except (ValueError, HeaderDataError):  # quaternions that are no rotation: the sform alone is good, as it was read
        return ()
    if sform is None and qform is None:
        return (
            f"{path}: its header has neither an sform nor a qform, so where left, front and head are is not known; the "
            "first axis is taken to run to the left, the second to the front, the third to the head.",
        )
    if sform is None or not usable(qform):
        return ()
    if not usable(sform):
        return (f"{path}: the sform in its header is no affine (zeros, or axes in one direction); the qform is used.",)
    voxels, _ = corner_distance(sform, qform, image.shape[:3])
    if voxels <= SAME_GRID:
        return ()
    return (f"{path}: sform and qform in its header are up to {voxels:.2f} voxels apart; the sform is used.",)


def nifti_geometry(path: Path, image: Any) -> np.ndarray:
    """The affine `(4, 4)` of a NIfTI image in mm.

    Raises:
        UserError: units that NIfTI does not define, or an affine that describes no scan.
    """
    code = int(image.header["xyzt_units"]) & 7
    if code not in MM_OF_UNIT:
        raise UserError(f"{path}: xyzt_units={code} is no unit of NIfTI (1 metres, 2 mm, 3 micrometres). Correct it.")
    affine = nifti_affine(image)
    scale = np.diag([*[MM_OF_UNIT[code]] * 3, 1.0])
    with np.errstate(all="ignore"):
        in_mm = scale @ affine
    check_affine(path, in_mm, UNIT_NAMES[code])
    return in_mm


def to_radiological(affine: np.ndarray) -> np.ndarray:
    """The transform, as nibabel writes orientations, from voxels stored with this affine to the radiological view."""
    return ornt_transform(io_orientation(affine), axcodes2ornt(RADIOLOGICAL))


def from_radiological(affine: np.ndarray) -> np.ndarray:
    """The transform from the radiological view to the order of axes of voxels stored with this affine."""
    return ornt_transform(axcodes2ornt(RADIOLOGICAL), io_orientation(affine))


def corner_distance(
    one: np.ndarray, other: np.ndarray, shape: tuple[int, ...], other_shape: tuple[int, ...] | None = None
) -> tuple[float, float]:
    """The largest distance between the same corners of two grids.

    Args:
        one, other: their affines `(4, 4)`.
        shape: of the first grid.
        other_shape: of the other; None if both have one shape. Corners are then the centres of the first and last
            voxels, otherwise the outer corners of these voxels, so that grids of different voxels can agree.

    Returns:
        `(voxels, mm)`; voxels along that axis of the first grid along which it is largest, or of the other where its
        voxels are larger.
    """
    half = 0.0 if other_shape is None else 0.5
    edges = [corners(size, half) for size in (shape, other_shape or shape)]
    apart = edges[0] @ one[:3].T - edges[1] @ other[:3].T
    voxels = np.minimum(*(np.abs(apart @ np.linalg.inv(affine[:3, :3]).T) for affine in (one, other)))
    return float(voxels.max()), float(np.linalg.norm(apart, axis=1).max())


def corners(shape: tuple[int, ...], half: float) -> np.ndarray:
    """Homogeneous indices `(8, 4)` of the corners of a grid; half: 0 for the centres of voxels, 0.5 for their faces."""
    ends = [(-half, size - 1 + half) for size in shape]
    return np.array([[*corner, 1.0] for corner in itertools.product(*ends)])


def resample_linear(
    voxels: np.ndarray, affine: np.ndarray, target: np.ndarray, shape: tuple[int, ...], fill: float
) -> np.ndarray:
    """Intensities on another grid, between the nearest voxels; `fill` beyond them. See `resample_nearest`."""
    change = np.linalg.inv(affine) @ target
    return affine_transform(
        voxels, change[:3, :3], change[:3, 3], output_shape=shape, order=1, mode="constant", cval=fill
    )


def outside_share(
    size: tuple[int, ...], affine: np.ndarray, target: np.ndarray, shape: tuple[int, ...], points: int = 16
) -> float:
    """The share of the grid of `target` and `shape` outside a volume of a size, at some points along each axis.

    >>> outside_share((4, 4, 4), np.eye(4), np.diag([1.0, 1.0, 2.0, 1.0]), (4, 4, 4))
    0.5
    """
    axes = [np.unique(np.linspace(0, side - 1, points).round()) for side in shape]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    change = np.linalg.inv(affine) @ target
    places = indices @ change[:3, :3].T + change[:3, 3]
    inside = ((places >= -0.5) & (places <= np.array(size) - 0.5)).all(axis=1)
    return float(1 - inside.mean())


def resample_nearest(voxels: np.ndarray, affine: np.ndarray, target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Labels on another grid: each voxel takes the value of the nearest one.

    Args:
        voxels: `(i, j, k)` with the affine `affine`.
        target, shape: affine and shape of the grid wanted.
    """
    change = np.linalg.inv(affine) @ target
    if voxels.dtype.itemsize > 8:  # scipy has no long double
        voxels = voxels.astype(np.float64)
    # Beyond the outermost centres (half a voxel at most, see `corner_distance`) the outermost value goes on.
    return affine_transform(
        voxels.astype(voxels.dtype.newbyteorder("="), copy=False),
        change[:3, :3],
        change[:3, 3],
        output_shape=shape,
        order=0,
        mode="nearest",
    )
