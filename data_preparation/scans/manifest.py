"""The manifest of a prepared volume: `manifest/volume-<name>.json` beside the images.

It tells what the slices were made from (sources and settings), which files they are, and their spacing in mm. A volume
whose manifest still matches is not prepared again.
"""

import json
import os
from pathlib import Path

from data_generators.reading.volume_intensities import INTENSITIES
from data_preparation.scans.labelled_scans import LabelledScan
from data_preparation.scans.slices import SliceSettings
from utils.base.files import atomic_write
from utils.base.listing import list_folder


def write_manifest(path: Path, manifest: dict) -> None:
    """Write a manifest as JSON, all or nothing."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1))


def is_current(manifest: dict, scan: LabelledScan, settings: SliceSettings, images: Path, masks: Path) -> bool:
    """Whether a manifest describes exactly what these sources and settings give, and all its files exist."""
    return (
        manifest.get("complete", False)
        and manifest.get("sources") == describe_sources(scan)
        and manifest.get("settings") == settings.described()
        and INTENSITIES in manifest  # earlier versions left them out
        and has_files(images, manifest["images"])
        and has_files(masks, manifest["masks"])
    )


def describe_sources(scan: LabelledScan) -> dict[str, dict]:
    """Name, size and time of the scan and its segmentation (of a folder: of all its files), to notice changes."""
    described = {}
    files = {"volume": scan.volume, "segmentation": scan.segmentation}
    files |= {f"volume{number}": path for number, path in enumerate(scan.others, start=2)}
    for kind, path in files.items():
        states = [file.stat() for file in (list_folder(path).files if path.is_dir() else [path])]
        described[kind] = {
            "name": path.name,
            "bytes": sum(state.st_size for state in states),
            "modified_ns": max(state.st_mtime_ns for state in states),
        }
    return described


def file_sizes(folder: Path) -> dict[str, int]:
    """`{file name: bytes}` of a folder, sorted by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def has_files(folder: Path, sizes: dict[str, int]) -> bool:
    """Whether a folder has all these files, with these sizes."""
    try:
        return all(os.stat(folder / name).st_size == size for name, size in sizes.items())
    except FileNotFoundError:
        return False
