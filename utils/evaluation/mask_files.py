"""Masks that any tool wrote, by the name of their case: pictures, TIFF stacks and NIfTI volumes of a folder.

A case is an image or a whole volume; masks are read one at a time.
"""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig, ListConfig

from data_generators.files.found_files import IMAGE_SUFFIXES, existing_files, list_masks
from data_generators.files.image_file import ImageFile, ImageParts, composed
from data_generators.files.pages import split_parts
from data_generators.files.pairing import list_problems
from data_generators.reading.headers import picture_size
from data_generators.reading.masks import read_mask_as, to_classes
from data_generators.reading.samples import ReadSettings
from data_generators.reading.tiff_pages import split_pages
from data_preparation.scans.file_kinds import NIFTI_SUFFIXES, is_nifti, scan_name
from data_preparation.scans.geometry import SAME_GRID, corner_distance
from data_preparation.scans.nifti import read_grid, read_scan
from data_preparation.scans.slices import label_slice
from utils.base.class_bits import pack
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.errors import UserError
from utils.base.files import is_list_file, read_list, resolve_path, where_looked
from utils.base.ignored_classes import plain
from utils.base.listing import list_folder

SUFFIXES = (*IMAGE_SUFFIXES, *NIFTI_SUFFIXES)
# What tools add to the name of an image for its mask.
ADDED = re.compile(r"[ _-](mask|seg|segmentation|label|labels|pred|prediction)$", re.IGNORECASE)


class Grid(NamedTuple):
    """Where the pixels of a case are: `(slices, rows, columns)`, one slice for an image; of a volume also the affine
    `(4, 4)` of its voxels `(rows, columns, slices)` in the radiological view, in mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray | None = None


def case_name(stem: str) -> str:
    """What a case is called, whatever was added for its mask.

    >>> case_name("mask_28_5"), case_name("case_1_mask"), case_name("segmentation-7")
    ('image_28_5', 'case_1', 'volume-7')
    """
    name = ADDED.sub("", composed(stem)).replace("mask", "image")
    return re.sub(r"^segmentation(?=[-_])", "volume", name)


class MaskSet(ABC):
    """Masks by the name of their case.

    Args:
        cfg: checked config; OUTPUT and, for stored values, DATASET and PREPROCESS_DATA are read.
        key: what the user set, for messages.
        stored: whether the values are those of the masks of the data set; else class indices.
    """

    def __init__(self, cfg: DictConfig, key: str, stored: bool) -> None:
        self.key, self.multi_label, self.classes = key, is_multi_label(cfg), number_of_classes(cfg)
        settings = ReadSettings.from_config(cfg, whole_images=True)
        self.true_values_differ = settings.divide_mask_by != 1 or settings.label_values is not None
        if not stored:
            as_written = dict.fromkeys(("ignore_label", "label_values", "label_sets", "class_masks"))
            settings = dataclasses.replace(settings, divide_mask_by=1, **as_written)  # type: ignore[arg-type]
        self.stored, self.settings = stored, settings
        self.names: Mapping[str, Any] = {}

    def problem(self, name: str, grid: Grid) -> str | None:
        """Why the mask of a case does not fit a grid, as far as can be told without reading its pixels; or None."""
        return None

    @abstractmethod
    def read(self, name: str, grid: Grid) -> np.ndarray:
        """The mask of a case on a grid: uint8 `(slices, rows, columns)`, class indices, or bits of overlapping classes.

        Raises:
            UserError: it cannot be read, or holds a class too many.
        """

    def checked(self, labels: np.ndarray, file: object) -> np.ndarray:
        """The labels, if they are classes that there are; `file` names the mask."""
        most = 2 ** (self.classes - 1) - 1 if self.multi_label else self.classes - 1
        table = np.bincount(plain(labels).ravel(), minlength=256)
        if self.settings.ignore_label is not None:
            table[self.settings.ignore_label] = 0
        values = np.flatnonzero(table).tolist()
        extra = [value for value in values if value > most]
        if extra:
            raise UserError(
                f"{file}: holds the value {', '.join(map(str, extra[:5]))}, but OUTPUT.CLASSES has the values 0 to "
                f"{most}. {self.advice(values)}"
            )
        return labels

    def advice(self, values: Sequence[int]) -> str:
        """What to do about the values of a mask, ascending, of which the last is a class too many."""
        if not self.multi_label and set(values) <= {0, 255}:
            as_true = [] if self.true_values_differ else ["PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True"]
            as_true += [] if self.stored else ["PREDICT.MASK_VALUES=labels"]
            return (
                "Divide these masks by 255, so that they hold class indices; or, if both true and predicted masks hold "
                f"0 and 255, set {' '.join(as_true)}."
            )
        classes = values[-1].bit_length() if self.multi_label else values[-1] + 1
        if not self.multi_label and values[-1] == 255:
            named = "DATASET.LABEL_VALUES with the value of each class" if self.stored else "PREDICT.MASK_VALUES=labels"
            return f"If 255 means 'not labelled', set DATASET.IGNORE_LABEL=255; if it is a class, {named}."
        if self.stored:
            return f"Set OUTPUT.CLASSES={classes}, or DATASET.LABEL_VALUES to the value of each class."
        return (
            f"Set OUTPUT.CLASSES={classes}; if predictions hold the values of the true masks: "
            "PREDICT.MASK_VALUES=labels."
        )


class FolderMasks(MaskSet):
    """Pictures, pages of TIFF files, or NIfTI volumes.

    Args:
        files: of one kind; with DATASET.CLASS_MASKS those of a case together.
    """

    def __init__(self, cfg: DictConfig, key: str, stored: bool, files: Sequence[Path | ImageParts]) -> None:
        super().__init__(cfg, key, stored)
        self.volumes = bool(files) and is_volume(files[0])
        other = next((path for path in files if is_volume(path) != self.volumes), None)
        if other is not None:
            raise UserError(
                f"{key}: {files[0].name} and {other.name} are pictures and volumes; name files of one kind."
            )
        found: dict[str, ImageFile] = {}
        for path in files:
            pages = [path] if self.volumes else pages_of(path, self.settings)
            for page in pages:
                name = case_name(scan_name(Path(str(path))) if self.volumes else page.stem)
                if name in found:
                    raise UserError(f"{key}: {found[name]} and {page} are of one case, {name}. Rename or remove one.")
                found[name] = page
        self.names: Mapping[str, ImageFile] = found

    def grid(self, name: str) -> Grid:
        """Where the pixels of a mask are."""
        file = self.names[name]
        if not self.volumes and self.settings.class_masks is not None:
            rows, columns = read_mask_as(file, self.settings).shape
            return Grid((1, rows, columns))
        if not self.volumes:
            return Grid((1, *picture_size(file)))
        (rows, columns, slices), affine = read_grid(Path(str(file)))
        return Grid((slices, rows, columns), affine)

    def problem(self, name: str, grid: Grid) -> str | None:
        own = self.grid(name)
        if own.shape != grid.shape:
            what = "(slices, rows, columns)" if self.volumes else "(height, width)"
            one, other = (shape if self.volumes else shape[1:] for shape in (own.shape, grid.shape))
            return f"{self.names[name]}: is {one} {what}, the true mask {other}. Bring it to the grid of the truth."
        if own.affine is None or grid.affine is None:
            return None
        slices, rows, columns = grid.shape
        voxels, mm = corner_distance(grid.affine, own.affine, (rows, columns, slices))
        if voxels <= SAME_GRID:
            return None
        return (
            f"{self.names[name]}: by the two headers its voxels are up to {mm:.2f} mm ({voxels:.2f} voxels) from those "
            "of the true mask. Resample it to the grid of the truth, or correct its header."
        )

    def read(self, name: str, grid: Grid) -> np.ndarray:
        file = self.names[name]
        if not self.volumes:
            return self.checked(read_mask_as(file, self.settings)[np.newaxis], file)
        path = Path(str(file))
        channels = read_channels(path) if self.multi_label else 1
        # A mask for each class has 0 and 1, whatever values the masks of all classes have.
        settings = dataclasses.replace(self.settings, label_sets=None) if channels > 1 else self.settings
        maps = [read_volume(path, index, settings) for index in range(channels)]
        return self.checked(pack(np.stack(maps, axis=-1)) if channels > 1 else maps[0], file)


def read_volume(path: Path, modality: int, settings: ReadSettings) -> np.ndarray:
    """One image of a NIfTI file: uint8 `(slices, rows, columns)`."""
    scan = read_scan(path, modality)
    slices = [label_slice(scan, index, "as_stored") for index in range(scan.voxels.shape[2])]
    return np.stack([to_classes(path, entry, settings) for entry in slices])


def is_volume(file: Path | ImageParts) -> bool:
    """Whether a mask is of a volume."""
    return isinstance(file, Path) and is_nifti(file)


def pages_of(file: Path | ImageParts, settings: ReadSettings) -> Sequence[ImageFile]:
    """The masks in a file: its pages, unless these are of the classes of one mask."""
    if isinstance(file, ImageParts):
        return split_parts(file)
    return [file] if settings.class_masks is not None else split_pages(file)


def read_channels(path: Path) -> int:
    """How many masks a NIfTI file has on a fourth axis."""
    import nibabel as nib

    shape = nib.load(path).shape  # type: ignore[attr-defined]  # nibabel declares its most general class
    return shape[3] if len(shape) == 4 else 1


def open_truth(cfg: DictConfig, value: Any, key: str) -> FolderMasks:
    """The true masks that a key names: a folder, a list of files, or a list file."""
    if cfg.DATASET.CLASS_MASKS is not None and not names_volumes(cfg, value):
        masks, problems = list_masks(cfg, value, key)
        if problems:
            raise UserError(f"{key}:\n{list_problems(problems)}")
        return FolderMasks(cfg, key, True, masks)
    return FolderMasks(cfg, key, True, find_mask_files(cfg, value, key))


def names_volumes(cfg: DictConfig, value: Any) -> bool:
    """Whether a folder holds NIfTI volumes, whose fourth axis is that of the classes."""
    folder = resolve_path(cfg, value) if isinstance(value, str) and not is_list_file(value) else None
    return folder is not None and folder.is_dir() and bool(list_folder(folder, NIFTI_SUFFIXES).files)


def find_mask_files(cfg: DictConfig, value: Any, key: str) -> list[Path]:
    """The mask files of a folder (of predict.py: its folder `masks`), a list, or a list file.

    Raises:
        UserError: there are none.
    """
    if value is None:
        raise UserError(f"{key} is not set: name the folder of the masks.")
    if isinstance(value, ListConfig) or is_list_file(value):
        paths = [resolve_path(cfg, path) for path in value] if isinstance(value, ListConfig) else None
        files, problems = existing_files(read_list(resolve_path(cfg, value)) if paths is None else paths, key)
        if problems:
            raise UserError(f"{key}:\n{list_problems(problems)}")
        return files
    folder = resolve_path(cfg, value)
    if not folder.is_dir():
        raise UserError(f"{key}={value}: there is no such folder ({where_looked(cfg, value)}).")
    if (folder / "masks").is_dir() and not list_folder(folder, SUFFIXES).files:
        folder /= "masks"
    files = list_folder(folder, SUFFIXES).files
    if not files:
        raise UserError(f"{key}: the folder {folder} holds no masks ({' '.join(SUFFIXES)}).")
    return files
