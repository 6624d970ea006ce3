"""Write whole volumes as slices: `images/image_<volume>_<slice>.png` and `mask/mask_<volume>_<slice>.png`.

With several sequences `image_<volume>_<slice>.tif`, whose bands are these.

The red, green and blue channel of an image are the slice below, the slice itself and the slice above; at both ends the
last slice is repeated. The pixel value of a mask is the class. Slices count from the feet to the head.
"""

import contextlib
import os
import shutil
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data_generators.files.preparation import write_preparation
from data_generators.files.volume_slices import read_manifest
from data_generators.reading.decoding import resize_image
from data_generators.reading.masks import resize_mask
from data_generators.reading.volume_intensities import INTENSITIES, VolumeCounts
from data_preparation.common.parallel import run_parallel
from data_preparation.common.png import write_png
from data_preparation.common.tiff import write_tiff
from data_preparation.scans.geometry import shear_angle
from data_preparation.scans.labelled_scans import LabelledScan
from data_preparation.scans.manifest import describe_sources, file_sizes, is_current, write_manifest
from data_preparation.scans.nifti import Scan
from data_preparation.scans.sequences import read_labelled
from data_preparation.scans.slices import (
    SliceSettings,
    fit_slice,
    intensity_window,
    label_slice,
    spacing_of_slices,
    window_slice,
)
from utils.base.errors import UserError
from utils.base.files import new_folders
from utils.base.locks import locked_output
from utils.base.progress import track
from utils.base.terminal import say


class VolumeJob(NamedTuple):
    """One volume to prepare, and the folders of its images and masks."""

    split: str
    scan: LabelledScan
    images: Path
    masks: Path
    settings: SliceSettings
    prepared_by: str
    class_names: tuple[str, ...] | None = None

    @property
    def manifest(self) -> Path:
        """Path of the manifest."""
        return self.images.parent / "manifest" / f"volume-{self.scan.name}.json"

    @property
    def record(self) -> dict[str, Any]:
        """What is left beside the images, see `data_generators.files.preparation.write_preparation`."""
        return self.settings.record(self.prepared_by, self.class_names)


def prepare_volumes(jobs: list[VolumeJob], workers: int | None, quiet: bool) -> dict[str, dict]:
    """Prepare the volumes that are new or have changed.

    Args:
        jobs: all volumes.
        workers: processes; None is one per core.
        quiet: no progress bar.

    Returns:
        `{split: {...}}` with `written` and `skipped` (volumes), `slices` and `slices_with_liver` (slices with
        foreground; both of all volumes, also the skipped ones), `images` and `masks` (folders).

    Raises:
        UserError: names the file that cannot be used. Volumes that are finished by then stay. Or another process writes
            into the same folder.
    """
    check_destinations(jobs)
    with locked_output(job.images.parent for job in jobs):
        return prepare_locked(jobs, workers, quiet)


def prepare_locked(jobs: list[VolumeJob], workers: int | None, quiet: bool) -> dict[str, dict]:
    """`prepare_volumes` while no other process writes into the same folders."""
    check_other_volumes(jobs)
    notes = remove_moved_volumes(jobs)
    done = {job: read_manifest(job.manifest) for job in jobs if is_done(job)}
    todo = [job for job in jobs if job not in done]
    summary = count_volumes(jobs, done)
    folders = [folder for job in jobs for folder in (job.images, job.masks)]
    results = run_parallel(prepare_volume, todo, workers, advice="DATA_PREPARATION.WORKERS")
    progress = track(results, "prepare volumes", len(todo), quiet=quiet or not todo)
    with new_folders(folders), contextlib.closing(progress):
        for note in notes:
            say(f"Note: {note}")
        for job, (manifest, volume_note) in progress:
            done[job] = manifest
            if volume_note:
                say(f"Note: {volume_note}")
    for folder, record in {job.images.parent: job.record for job in jobs}.items():
        write_preparation(folder, record)
    for job, manifest in done.items():
        summary[job.split]["slices"] += manifest["slices"]
        summary[job.split]["slices_with_liver"] += manifest["slices_with_liver"]
    return summary


def check_other_volumes(jobs: Sequence[VolumeJob]) -> None:
    """Raise a UserError if a folder has slices of a volume that is not among the jobs, made with other settings."""
    names, settings = {job.scan.name for job in jobs}, {job.manifest.parent: job.settings for job in jobs}
    for folder, wanted in settings.items():
        for path in sorted(folder.glob("volume-*.json")):
            stored, now = read_manifest(path).get("settings"), wanted.described()
            differ = isinstance(stored, dict) and any(
                stored.get(key) != now.get(key) for key in (stored.keys() & now.keys()) | {"channels", "depth"}
            )
            if differ and path.stem.removeprefix("volume-") not in names:
                raise UserError(
                    f"{folder.parent} has slices of {path.stem}, which is not among the scans, prepared with other "
                    "settings. Remove that folder, or choose another."
                )


def is_done(job: VolumeJob) -> bool:
    """Whether a volume has been prepared from its present sources and settings."""
    return is_current(read_manifest(job.manifest), job.scan, job.settings, job.images, job.masks)


def count_volumes(jobs: list[VolumeJob], done: Container[VolumeJob]) -> dict[str, dict]:
    """The summary that `prepare_volumes` returns, without slices."""
    summary: dict[str, dict] = {}
    for job in jobs:
        counts = {"written": 0, "skipped": 0, "slices": 0, "slices_with_liver": 0}
        summary.setdefault(job.split, {**counts, "images": str(job.images), "masks": str(job.masks)})
        summary[job.split]["skipped" if job in done else "written"] += 1
    return summary


def check_destinations(jobs: list[VolumeJob]) -> None:
    """Raise a UserError if two volumes would be written to the same files."""
    seen: dict[Path, VolumeJob] = {}
    for job in jobs:
        other = seen.setdefault(job.manifest, job)
        if other is not job:
            raise UserError(
                f"{other.scan.volume} and {job.scan.volume} would both be written as {job.manifest.stem} in "
                f"{job.images.parent}. Give DATASET.TRAIN and DATASET.VAL separate folders, or rename a volume."
            )


def remove_moved_volumes(jobs: list[VolumeJob]) -> list[str]:
    """Remove the slices of a volume from the split it was moved out of, so that no volume is in two splits.

    Returns:
        Notes for the user: what was removed, and which prepared volumes no longer have a scan.
    """
    notes = []
    current = {job.manifest for job in jobs}
    by_name = {job.scan.name: job for job in jobs}
    by_folder = {job.manifest.parent: job for job in jobs}
    for folder, neighbour in by_folder.items():
        for path in sorted(folder.glob("volume-*.json")):
            moved = by_name.get(path.stem.removeprefix("volume-"))
            if path in current:
                continue
            manifest = read_manifest(path)
            if moved and manifest.get("sources") == describe_sources(moved.scan):
                for key, target in (("images", neighbour.images), ("masks", neighbour.masks)):
                    for name in manifest.get(key, {}):
                        (target / name).unlink(missing_ok=True)
                path.unlink()
                notes.append(
                    f"{path.stem} is now a scan of {moved.split}: its slices were removed from {folder.parent}."
                )
            else:
                notes.append(f"{folder.parent} also has slices of {path.stem}, which is not among the scans.")
    return notes


def prepare_volume(job: VolumeJob) -> tuple[dict, str | None]:
    """Write the slices of one volume and its manifest, all or nothing.

    Returns:
        `(manifest, note)`: the contents of the manifest file; a note for the user, or None.
    """
    temporary = [folder / f".volume-{job.scan.name}" for folder in (job.images, job.masks)]
    try:
        for folder in temporary:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
            folder.mkdir(exist_ok=True)
        manifest, note = write_slices(job, *temporary)
        move_into_place(job, manifest, *temporary)
    except OSError as error:
        raise UserError(f"{job.scan.volume}: could not be prepared: {error}.") from None
    finally:
        for folder in temporary:
            shutil.rmtree(folder, ignore_errors=True)
    return manifest, note


def write_slices(job: VolumeJob, images: Path, masks: Path) -> tuple[dict, str | None]:
    """Write the slices of a volume into two folders and return `(manifest, note)`."""
    settings, name = job.settings, job.scan.name
    sources = describe_sources(job.scan)
    scans, segmentation, note = read_labelled(job.scan, settings)
    scan, slices = scans[0], scans[0].voxels.shape[2]
    write_images = write_neighbours if settings.channels is None else write_bands
    counts = [VolumeCounts(settings.depth) for _ in scans]
    write_images(scans, settings, str(images / f"image_{name}_"), counts)
    with_foreground = 0
    for index in range(slices):
        mask = fit_slice(label_slice(segmentation, index, settings.labels, settings.values), settings, resize_mask)
        write_png(masks / f"mask_{name}_{index}.png", mask)
        with_foreground += bool(mask.any())
    return {
        "complete": True,
        "sources": sources,
        "settings": settings.described(),
        "slices": slices,
        "slices_with_liver": with_foreground,
        "spacing_mm": list(spacing_of_slices(scan, settings)),  # row, column, slice
        "shear_degrees": round(shear_angle(scan.affine), 2),  # of a tilted gantry; distances in mm need 0
        INTENSITIES: [count.measured() for count in counts],  # of each sequence
        "images": file_sizes(images),
        "masks": file_sizes(masks),
    }, note


def write_neighbours(
    scans: Sequence[Scan], settings: SliceSettings, start: str, counts: Sequence[VolumeCounts]
) -> None:
    """Write each slice of the only scan with the slices below and above it, and count its values."""
    (scan,) = scans
    slices, window = scan.voxels.shape[2], intensity_window(scan, settings)
    below = this = pixels_of(scan, 0, window, settings)
    for index in range(slices):
        above = pixels_of(scan, index + 1, window, settings) if index + 1 < slices else this
        write_png(Path(f"{start}{index}.png"), cv2.merge([above, this, below]))  # OpenCV writes BGR
        counts[0].add(this)
        below, this = this, above


def write_bands(scans: Sequence[Scan], settings: SliceSettings, start: str, counts: Sequence[VolumeCounts]) -> None:
    """Write the slices of several sequences, each a band of a TIFF file, and count their values."""
    windows = [intensity_window(scan, settings) for scan in scans]
    for index in range(scans[0].voxels.shape[2]):
        bands = [pixels_of(scan, index, window, settings) for scan, window in zip(scans, windows, strict=True)]
        write_tiff(Path(f"{start}{index}.tif"), np.stack(bands, axis=-1))
        for count, band in zip(counts, bands, strict=True):
            count.add(band)


def pixels_of(scan: Scan, index: int, window: tuple[float, float], settings: SliceSettings) -> np.ndarray:
    """A slice as it is written, uint8 or uint16 `(height, width)`."""
    pixels = window_slice(scan.slice(index), *window, settings.scaling, settings.depth)
    return fit_slice(pixels, settings, resize_image)


def move_into_place(job: VolumeJob, manifest: dict, images: Path, masks: Path) -> None:
    """Move finished files into place, remove those of an earlier version, and write the manifest last."""
    write_preparation(job.images.parent, job.record, finished=False)  # until all volumes are
    earlier = read_manifest(job.manifest)
    stale = {key: sorted(earlier.get(key, {}).keys() - manifest[key]) for key in ("images", "masks")}
    # Until the end the manifest says "not complete" and names old and new files: a run that is killed here is
    # repeated, and still knows what to remove.
    everything = {key: {**earlier.get(key, {}), **manifest[key]} for key in ("images", "masks")}
    write_manifest(job.manifest, {**manifest, **everything, "complete": False})
    for key, source, target in (("images", images, job.images), ("masks", masks, job.masks)):
        for name in manifest[key]:
            os.replace(source / name, target / name)
        for name in stale[key]:
            (target / name).unlink(missing_ok=True)
    write_manifest(job.manifest, manifest)
