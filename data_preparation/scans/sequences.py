"""Scans of several sequences, which become the channels of one image: a file for each, or a fourth axis."""

import numpy as np

from data_preparation.scans.geometry import SAME_GRID, corner_distance, outside_share, resample_linear
from data_preparation.scans.labelled_scans import LabelledScan, place_labels
from data_preparation.scans.nifti import Scan, read_images, read_scan, voxel_affine
from data_preparation.scans.slices import SliceSettings
from utils.base.errors import UserError

MOST_OUTSIDE = 0.5  # share of the grid that a sequence may leave open


def read_labelled(paths: LabelledScan, settings: SliceSettings) -> tuple[list[Scan], Scan, str | None]:
    """Return `(scans, segmentation, note)`, all on the grid of the first scan; see `read_scans`, `place_labels`."""
    scans = read_scans(paths, settings)
    segmentation, note = place_labels(paths, scans[0], settings.label_grid)
    notes = [note, *(of_scan for scan in scans[1:] for of_scan in scan.notes)]
    return scans, segmentation, "\nNote: ".join(dict.fromkeys(filter(None, notes))) or None


def read_scans(paths: LabelledScan, settings: SliceSettings) -> list[Scan]:
    """The scans that become the channels of an image: one, or with `settings.channels` one for each of the names.

    Raises:
        UserError: see `read_scan`; another number of images than names; a sequence on another grid than the first.
    """
    if settings.channels is None:
        return [read_scan(paths.volume, settings.modality)]
    files = (paths.volume, *paths.others)
    scans = [read_scan(file) for file in files] if len(files) > 1 else read_images(paths.volume, settings.channels)
    return [scans[0], *(on_grid(scans[0], scan, settings.resample_channels) for scan in scans[1:])]


def on_grid(first: Scan, scan: Scan, resample: bool) -> Scan:
    """A scan with voxels where those of the first are, interpolated linearly if it must be.

    What it does not cover has its lowest intensity.

    Raises:
        UserError: it lies on another grid and `resample` is false, or it leaves half of that of the first open.
    """
    shape, other = first.voxels.shape, scan.voxels.shape
    target, affine = voxel_affine(first), voxel_affine(scan)
    same = shape == other
    voxels, mm = corner_distance(target, affine, shape, None if same else other)
    if same and voxels <= SAME_GRID:
        return scan
    if not resample:
        raise UserError(
            f"{scan.path}: is not on the grid of {first.path.name}: it is {other}, that one {shape} (rows, columns, "
            f"slices), with corners up to {mm:.2f} mm apart. Resample it: --resample-channels, or in prediction "
            "DATA_PREPARATION.RESAMPLE_CHANNELS=True."
        )
    outside = outside_share(other, affine, target, shape)
    if outside > MOST_OUTSIDE:
        raise UserError(
            f"{scan.path}: leaves {outside:.0%} of the space of {first.path.name} open; the two do not show the same "
            "part of the body. Register them first."
        )
    intensities = np.stack([scan.slice(index).astype(np.float32) for index in range(other[2])], axis=-1)
    note = f"{scan.path.name}: {other}, resampled to {shape}, the grid of {first.path.name}"
    note += f"; {outside:.0%} of it is not covered." if outside else "."
    resampled = resample_linear(intensities, affine, target, shape, float(intensities.min()))
    return Scan(scan.path, resampled, 1.0, 0.0, first.affine, (*scan.notes, note))
