"""The files that a key of the config names: images, masks, and cases of several files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from data_generators.files.channels import common_folder, find_cases
from data_generators.files.image_file import ImageParts
from utils.base.errors import UserError
from utils.base.files import is_list_file, read_list, resolve_path, where_looked
from utils.base.listing import Listing, list_folder

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ARRAY_SUFFIXES = (".npy", ".npz")  # of masks, too, where a file holds one for each class
STACK = "stack"  # of DATASET.CLASS_MASKS


def list_images(cfg: DictConfig, value: Any, key: str) -> tuple[list[Path | ImageParts], list[Path], list[str]]:
    """Return `(images, others, problems)` of a config value, as of `list_files`.

    With DATASET.CHANNELS an image is the files of a case, also of those in subfolders; others are files of no channel.
    """
    return list_cases(cfg, value, key, "DATASET.CHANNELS", cfg.DATASET.CHANNELS)


def list_masks(cfg: DictConfig, value: Any, key: str) -> tuple[list[Path | ImageParts], list[str]]:
    """Return `(masks, problems)` of a config value, as of `list_files`; with CLASS_MASKS arrays or cases, too."""
    if cfg.DATASET.CLASS_MASKS == STACK:
        files, problems = list_files(cfg, value, key, suffixes=(*IMAGE_SUFFIXES, *ARRAY_SUFFIXES))
        return [*files], problems
    masks, _, problems = list_cases(cfg, value, key, "DATASET.CLASS_MASKS", cfg.DATASET.CLASS_MASKS)
    return masks, problems


def list_cases(
    cfg: DictConfig, value: Any, key: str, names_key: str, names: Sequence[str] | None
) -> tuple[list[Path | ImageParts], list[Path], list[str]]:
    """`list_images` with the names of a key; the files themselves without names."""
    files, problems = list_files(cfg, value, key, recursive=names is not None)
    if names is None or not files:
        return [*files], [], problems
    in_folder = isinstance(value, str) and not is_list_file(value)
    folder = resolve_path(cfg, value) if in_folder else common_folder(files)
    if not in_folder and [folder.name] == list(names):  # of a single channel or class, whose folder tells it
        folder = folder.parent
    cases = find_cases(files, names, folder, names_key)
    if not (in_folder or cases.images):  # of a single case, whose folder has its name
        above = find_cases(files, names, folder.parent, names_key)
        cases = above if above.images else cases
    return [*cases.images], cases.others, problems + cases.problems


def list_files(
    cfg: DictConfig, value: Any, key: str, recursive: bool = False, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> tuple[list[Path], list[str]]:
    """Return `(files, problems)` of a config value: a folder (sorted by name), a list or a list file (in its order).

    recursive: of a folder those in subfolders, too. suffixes: of files in a folder.
    """
    if value is None:
        return [], [f"{key} is not set: give a folder or a list of files."]
    if isinstance(value, ListConfig):
        return existing_files([resolve_path(cfg, path) for path in value], key)
    if is_list_file(value):
        try:
            return existing_files(read_list(resolve_path(cfg, value)), f"{key}={value}")
        except UserError as error:
            return [], [f"{key}: {error}"]

    folder = resolve_path(cfg, value)
    if not folder.is_dir():
        return [], [
            f"{key}={value}: there is no such folder ({where_looked(cfg, value)}). "
            f"Set {key}, or WORK_DIR, below which paths are looked up."
        ]
    try:
        listing = list_folder(folder, suffixes, recursive)
    except UserError as error:
        return [], [f"{key}: {error}"]
    if not listing.files:
        return [], [f"{key}: the folder {folder} holds no pictures ({' '.join(suffixes)}).{instead(listing)}"]
    return listing.files, []


def instead(listing: Listing) -> str:
    """What a folder without pictures holds, and what to do; empty if nothing."""
    if listing.folders:
        names = ", ".join(path.name for path in listing.folders[:3]) + (", ..." if len(listing.folders) > 3 else "")
        return f" Subfolders are not searched ({names}): name one of them, or a list of files."
    if listing.others:
        return f" It holds files with other endings, such as {listing.others[0].name}."
    return ""


def existing_files(files: list[Path], key: str) -> tuple[list[Path], list[str]]:
    """Return `(files that exist, problems)`."""
    problems = [f"{key}: {missing(path)}" for path in files if not path.is_file()]
    if not files:
        problems = [f"{key} is an empty list."]
    return [path for path in files if path.is_file()], problems


def missing(path: Path) -> str:
    """Why there is no file at a path: none of that name, or a link to data that was not fetched."""
    if path.is_symlink():
        return f"the file {path} is a link to {os.readlink(path)}, which is not there. Fetch the data."
    return f"the file {path} does not exist."
