"""LiTS scans -> pictures that every loader reads: `image_<volume>_<slice>.png` and `mask_<volume>_<slice>.png`.

    python data_preparation/preprocess_data.py "DATA_PREPARATION.SCANS_TRAIN_DATA_PATH='/data/Training Batch 2/'"

An image holds three slices as its red, green and blue channel: the one below, the one itself, the one above; at the
ends the last is repeated. The pixel value of a mask is the class. Slices count from the feet to the head.

Beside the images a folder `manifest` tells for each volume what it was made from, which files it consists of and
their spacing in mm. A volume whose sources and settings have not changed is skipped.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import cv2
import numpy as np
from tqdm import tqdm

from data_generators.files.volumes import read_manifest
from data_generators.reading.decoding import resize_image
from data_generators.reading.masks import resize_mask
from data_preparation.common.parallel import run_parallel
from data_preparation.scans.cases import Case, find_cases, read_case
from data_preparation.scans.slices import crop_or_pad, label_slice, window_slice
from utils.base.errors import UserError
from utils.base.files import check_writable, is_list_file, new_folders, resolve_path, write_whole
from utils.config.command import entry


@dataclass(frozen=True)
class Settings:
    """What decides how a picture looks; a change makes every volume anew.

    height, width None: as stored; low, high None: what the lowest and the highest half percent of a volume lie beyond.
    """

    height: int | None
    width: int | None
    resize_method: str
    low: float | None
    high: float | None
    scaling: str
    labels: str
    modality: int | None = None

    @classmethod
    def from_config(cls, cfg):
        keys = cfg.DATA_PREPARATION
        return cls(
            height=keys.RESIZED_HEIGHT,
            width=keys.RESIZED_WIDTH,
            resize_method=keys.RESIZE_METHOD,
            low=keys.SCAN_MIN_VALUE,
            high=keys.SCAN_MAX_VALUE,
            scaling=keys.INTENSITY_SCALING,
            labels=keys.LABELS,
        )


class Job(NamedTuple):
    """One volume to prepare, and where its pictures and its manifest go."""

    split: str
    case: Case
    images: Path
    masks: Path
    settings: Settings

    @property
    def manifest(self):
        return self.images.parent / "manifest" / f"volume-{self.case.name}.json"


def preprocess_data(cfg):
    """Prepare the scans of `DATA_PREPARATION.SCANS_TRAIN_DATA_PATH` and `SCANS_VAL_DATA_PATH`.

    Returns:
        `{"train": {...}, "val": {...}}` with `written` and `skipped` (volumes), `slices`, `slices_with_liver` (of all
        volumes, the skipped ones too), `images` and `masks` (folders).

    Raises:
        UserError: names the folder or file that is missing or unfit. Volumes that were done by then stay.
    """
    jobs = plan_jobs(cfg, "train") + plan_jobs(cfg, "val")
    return prepare_volumes(jobs, cfg.DATA_PREPARATION.WORKERS, cfg.VERBOSE == 0)


def prepare_volumes(jobs, workers, silent):
    """Prepare the volumes that are not done yet; returns and raises as `preprocess_data`."""
    check_destinations(jobs)
    notes = retire_moved(jobs)
    done = {job: read_manifest(job.manifest) for job in jobs if is_done(job)}
    todo = [job for job in jobs if job not in done]
    summary = {}
    for job in jobs:
        counts = {"written": 0, "skipped": 0, "slices": 0, "slices_with_liver": 0}
        summary.setdefault(job.split, {**counts, "images": str(job.images), "masks": str(job.masks)})
        summary[job.split]["skipped" if job in done else "written"] += 1
    folders = [folder for job in jobs for folder in (job.images, job.masks)]
    progress = tqdm(run_jobs(todo, workers), "volumes", len(todo), disable=silent or not todo)
    with new_folders(folders), progress as bar:
        for note in notes:
            bar.write(f"Note: {note}")
        for job, manifest, note in bar:
            done[job] = manifest
            if note:
                bar.write(f"Note: {note}")
    for job, manifest in done.items():
        summary[job.split]["slices"] += manifest["slices"]
        summary[job.split]["slices_with_liver"] += manifest["slices_with_liver"]
    return summary


def plan_jobs(cfg, split):
    """One job for each case of a split, in the order of their numbers."""
    paths = cfg.DATASET[split.upper()]
    if cfg.DATA_PREPARATION.RESIZED_HEIGHT is None or cfg.DATA_PREPARATION.RESIZED_WIDTH is None:
        raise UserError("DATA_PREPARATION.RESIZED_HEIGHT and RESIZED_WIDTH must be set: the size of the slices.")
    for name in ("IMAGES_PATH", "MASK_PATH"):
        if not isinstance(paths[name], str) or is_list_file(paths[name]):
            raise UserError(f"DATASET.{split.upper()}.{name}={paths[name]} must be one folder, to write pictures to.")
        check_writable(cfg, paths[name], f"DATASET.{split.upper()}.{name}")
    cases = find_cases(cfg, f"SCANS_{split.upper()}_DATA_PATH")
    images, masks = resolve_path(cfg, paths.IMAGES_PATH), resolve_path(cfg, paths.MASK_PATH)
    return [Job(split, case, images, masks, Settings.from_config(cfg)) for case in cases]


def check_destinations(jobs):
    """Two volumes of one number must not write the same files."""
    taken = {}
    for job in jobs:
        other = taken.setdefault(job.manifest, job)
        if other is not job:
            raise UserError(
                f"{other.case.volume} and {job.case.volume} would both be written as {job.manifest.stem} in "
                f"{job.images.parent}. Give DATASET.TRAIN and DATASET.VAL separate folders, or rename a volume."
            )


def retire_moved(jobs):
    """Remove the slices of a volume from the split it was moved out of: training on validation data flatters.

    Returns:
        list of str, remarks for the user: what was removed, and which prepared volumes have no scan any more.
    """
    notes = []
    current = {job.manifest for job in jobs}
    names = {job.case.name: job for job in jobs}
    folders = {job.manifest.parent: job for job in jobs}
    for folder, neighbour in folders.items():
        for path in sorted(folder.glob("volume-*.json")):
            moved = names.get(path.stem.removeprefix("volume-"))
            if path in current:
                continue
            manifest = read_manifest(path)
            if moved and manifest.get("sources") == describe_sources(moved.case):
                for key, target in (("images", neighbour.images), ("masks", neighbour.masks)):
                    for name in manifest[key]:
                        (target / name).unlink(missing_ok=True)
                path.unlink()
                notes.append(
                    f"{path.stem} is now a scan of {moved.split}: its slices were removed from {folder.parent}."
                )
            else:
                notes.append(f"{folder.parent} also holds slices of {path.stem}, which is not among the scans.")
    return notes


def run_jobs(jobs, workers):
    """Yield `(job, manifest, note)` as volumes get done, in this process or in several."""
    for job, (manifest, note) in run_parallel(prepare_volume, jobs, workers, advice="DATA_PREPARATION.WORKERS"):
        yield job, manifest, note


def prepare_volume(job):
    """Write the pictures of one volume and its manifest; all of them or none.

    Returns:
        `(manifest, note)`: what the manifest file holds; a remark for the user or None.
    """
    parts = [folder / f".volume-{job.case.name}" for folder in (job.images, job.masks)]
    try:
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)  # of a run that was ended from outside
            part.mkdir(exist_ok=True)
        manifest, note = write_slices(job, *parts)
        publish(job, manifest, *parts)
    except OSError as error:
        raise UserError(f"{job.case.volume}: could not be prepared: {error}.") from None
    finally:
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)
    return manifest, note


def write_slices(job, images, masks):
    """Write the pictures of a volume into two folders and return `(manifest, note)`."""
    settings, name = job.settings, job.case.name
    sources = describe_sources(job.case)
    scan, segmentation, note = read_case(job.case, settings.modality)
    rows, columns, slices = scan.voxels.shape
    low, high = (settings.low, settings.high) if settings.low is not None else usual_range(scan)

    def picture(index):
        pixels = window_slice(scan.slice(index), low, high, settings.scaling)
        return fit(pixels, settings, resize_image)

    with_liver = 0
    below = this = picture(0)
    for index in range(slices):
        above = picture(index + 1) if index + 1 < slices else this
        write_png(images / f"image_{name}_{index}.png", cv2.merge([above, this, below]))  # OpenCV writes BGR
        mask = fit(label_slice(segmentation, index, settings.labels), settings, resize_mask)
        write_png(masks / f"mask_{name}_{index}.png", mask)
        with_liver += bool(mask.any())
        below, this = this, above

    spacing = list(scan.spacing)
    if settings.resize_method == "resize" and settings.height:
        spacing[0] *= rows / settings.height
        spacing[1] *= columns / settings.width
    return {
        "complete": True,
        "sources": sources,
        "settings": asdict(settings),
        "slices": slices,
        "slices_with_liver": with_liver,
        "spacing_mm": spacing,  # row, column, slice
        "images": sizes_of(images),
        "masks": sizes_of(masks),
    }, note


def usual_range(scan):
    """The values between which 99 percent of a volume's voxels lie, for images without a scale of their own (MRI)."""
    low, high = np.percentile(np.stack([scan.slice(index) for index in range(scan.voxels.shape[2])]), (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def fit(pixels, settings, resize):
    """Bring a slice to the size of the settings."""
    if settings.height is None:
        return pixels
    change = crop_or_pad if settings.resize_method == "crop_or_pad" else resize
    return change(pixels, settings.height, settings.width)


def write_png(path, pixels):
    # OpenCV's default (run-length strategy) was the fastest of 30 settings: a third of the time of zlib's level 1.
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path} could not be written; is the disk full?")


def publish(job, manifest, images, masks):
    """Move finished pictures into place, remove those of an earlier version, and sign with the manifest."""
    earlier = read_manifest(job.manifest)
    stale = {key: sorted(earlier.get(key, {}).keys() - manifest[key]) for key in ("images", "masks")}
    # Until the end the manifest says "not complete" and names old and new files: a run that is ended here is
    # repeated, and still knows what to remove.
    everything = {key: {**earlier.get(key, {}), **manifest[key]} for key in ("images", "masks")}
    write_manifest(job.manifest, {**manifest, **everything, "complete": False})
    for key, source, target in (("images", images, job.images), ("masks", masks, job.masks)):
        for name in manifest[key]:
            os.replace(source / name, target / name)
        for name in stale[key]:
            (target / name).unlink(missing_ok=True)
    write_manifest(job.manifest, manifest)


def is_done(job):
    """Whether a volume is there as its present sources and settings would make it."""
    manifest = read_manifest(job.manifest)
    return (
        manifest.get("complete", False)
        and manifest.get("sources") == describe_sources(job.case)
        and manifest.get("settings") == asdict(job.settings)
        and has_files(job.images, manifest["images"])
        and has_files(job.masks, manifest["masks"])
    )


def has_files(folder, sizes):
    try:
        return all(os.stat(folder / name).st_size == size for name, size in sizes.items())
    except FileNotFoundError:
        return False


def describe_sources(case):
    """Name, size and time of the two files (of a folder: all together): what tells that one has changed."""
    described = {}
    for kind in ("volume", "segmentation"):
        path = getattr(case, kind)
        states = [file.stat() for file in (path.iterdir() if path.is_dir() else [path])]
        described[kind] = {
            "name": path.name,
            "bytes": sum(state.st_size for state in states),
            "modified_ns": max(state.st_mtime_ns for state in states),
        }
    return described


def sizes_of(folder):
    """`{file name: bytes}` of a folder, sorted by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def write_manifest(path, manifest):
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1))


@entry
def main(cfg):
    start = time.perf_counter()
    for split, done in preprocess_data(cfg).items():
        print(
            f"{split}: {done['written']} volumes written, {done['skipped']} unchanged and skipped; "
            f"{done['slices']} slices, {done['slices_with_liver']} with liver, in {done['images']} and {done['masks']}"
        )
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
