"""Masks in one file: run-length tables and COCO results."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_preparation.common.coco_files import Id, annotation_lists, image_file, number_by_id, read_id
from data_preparation.common.coco_segmentations import draw_segmentation
from data_preparation.common.dataset_writer import NewPair
from data_preparation.rle_csv import CLASS_HEADING, draw_mask, read_table
from utils.base.class_bits import bit_of
from utils.base.errors import UserError
from utils.base.files import resolve_path, where_looked
from utils.base.text_files import read_csv, read_json
from utils.evaluation.binary_masks import BinaryMasks
from utils.evaluation.mask_files import FolderMasks, Grid, MaskSet, case_name, find_mask_files
from utils.evaluation.object_masks import ObjectMasks


class RleMasks(MaskSet):
    """A run-length table as on Kaggle: a row per object with the name of its image, perhaps its class, and its runs."""

    def __init__(self, cfg: DictConfig, key: str, path: Path) -> None:
        super().__init__(cfg, key, stored=False)
        rows = read_csv(path)
        named = [heading for heading in (rows[0].cells if rows else []) if CLASS_HEADING.fullmatch(heading)]
        options = Namespace(
            id_column=None, rle_column=None, class_column=named[0] if named else None, multi_label=self.multi_label
        )
        table, _ = read_table(path, options)
        self.path, self.names = path, {case_name(name): found for name, found in table.items()}

    def read(self, name: str, grid: Grid) -> np.ndarray:
        pair = NewPair(None, self.path, name, name, (self.names[name], "column", self.multi_label))
        return self.checked(draw_mask(pair, *grid.shape[1:])[np.newaxis], f"{self.path} ({name})")


class CocoMasks(MaskSet):
    """COCO results: an entry per object; where objects overlap, the one of the highest score is on top.

    A list of results has no entry for an image without objects: there a missing image cannot be told from an empty one.
    A whole COCO file can tell them, and which file an image_id is.

    Args:
        cases: the names of the true masks.

    Raises:
        UserError: neither form; no image at all; image ids that are no case while cases are without an entry.
    """

    def __init__(self, cfg: DictConfig, key: str, path: Path, cases: Sequence[str]) -> None:
        super().__init__(cfg, key, stored=False)
        data = read_json(path)
        if isinstance(data, dict):
            lists = annotation_lists(path, data)
            entries, names = lists["annotations"], file_names(lists["images"], path)
        else:
            entries = result_list(data, path)
            names = names_of_ids(entries, cases, path)
        self.names: dict[str, list[tuple[float, int, Any, str]]] = {name: [] for name in names.values()}
        for number, entry in enumerate(entries):
            where = f"{path}, entry {number}"
            category, score = read_id(entry, "category_id", where), entry.get("score", 1.0)
            if not isinstance(category, int) or not 0 < category < self.classes or not isinstance(score, (int, float)):
                raise UserError(
                    f"{where}: category_id is {category}, score {score}; they must be a class from 1 to "
                    f"{self.classes - 1} (OUTPUT.CLASSES) and a number."
                )
            image = read_id(entry, "image_id", where)
            if image not in names:
                raise UserError(f"{where}: image_id {image} is not listed in images.")
            if score >= cfg.EVALUATION.COCO_SCORE:
                self.names[names[image]].append((float(score), category, entry.get("segmentation"), where))
        if isinstance(data, list):
            self.names |= {name: [] for name in cases if name not in self.names}

    def read(self, name: str, grid: Grid) -> np.ndarray:
        height, width = grid.shape[1:]
        mask = np.zeros((height, width), np.uint8)
        for _, category, segmentation, where in sorted(self.names[name], key=lambda entry: entry[0]):
            region = draw_segmentation(segmentation, height, width, where)
            rows, columns = region.pixels.shape
            part = mask[region.top : region.top + rows, region.left : region.left + columns]
            where_drawn = region.pixels > 0
            part[where_drawn] = part[where_drawn] | bit_of(category, where) if self.multi_label else category
        return mask[np.newaxis]


def result_list(data: Any, path: Path) -> list[dict]:
    """The entries of COCO results.

    Raises:
        UserError: `data` is something else, or has none, as of a tool that failed.
    """
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise UserError(
            f"{path}: is no list of COCO results, with image_id, category_id, segmentation and score, and no COCO file."
        )
    if not data:
        raise UserError(
            f"{path}: the list of COCO results is empty. If no image holds an object, give a COCO file with images, "
            "annotations (none) and categories."
        )
    return data


def names_of_ids(entries: Sequence[dict], cases: Sequence[str], path: Path) -> dict[Id, str]:
    """`{image_id: case}` of COCO results: an id is the name of a file, or the number that a name is (139: 000000139).

    Raises:
        UserError: ids are no case while cases are without an entry: these may be missing, or be called otherwise.
    """
    by_text = {str(int(name)): name for name in cases if name.isdecimal()} | {name: name for name in cases}
    names: dict[Id, str] = {}
    for number, entry in enumerate(entries):
        image = read_id(entry, "image_id", f"{path}, entry {number}")
        name = case_name(Path(str(image)).stem)
        names[image] = by_text.get(name, name)
    strange = [image for image, name in names.items() if name not in by_text]
    missing = sorted(set(cases).difference(names.values()))
    if strange and missing:
        raise UserError(
            f"{path}: {len(strange)} of {len(names)} image ids match no true mask, such as {strange[0]}, and "
            f"{len(missing)} true masks have no entry, such as {missing[0]}. image_id must be the file name without "
            "ending, or the number that this name is; or give a COCO file with images, annotations and "
            "categories, whose file_name says which image an id is."
        )
    return names


def file_names(images: Sequence[dict], path: Path) -> dict[Id, str]:
    """`{id: case}` of the images of a COCO file.

    Raises:
        UserError: an id is there twice, a file_name is missing, or two images are one case.
    """
    names: dict[Id, str] = {}
    of_case: dict[str, Id] = {}
    for number, image in number_by_id(images, f"{path}, image").items():
        name = case_name(image_file(Path(), image, f"{path}, image {number}").stem)
        other = of_case.setdefault(name, number)
        if other != number:
            raise UserError(f"{path}: images {other} and {number} are of one case, {name}. Rename or remove one.")
        names[number] = name
    return names


def open_predictions(cfg: DictConfig, cases: Sequence[str]) -> MaskSet:
    """The masks that EVALUATION.PREDICTIONS names: a folder, a run-length table or COCO results.

    Args:
        cfg: checked config.
        cases: the names of the true masks.
    """
    value, key = cfg.EVALUATION.PREDICTIONS, "EVALUATION.PREDICTIONS"
    path = resolve_path(cfg, value)
    if path.suffix.lower() in (".csv", ".json") and cfg.EVALUATION.OBJECTS:
        raise UserError(f"{key}={value}: is a table; EVALUATION.OBJECTS=True takes a folder of label images.")
    if path.suffix.lower() in (".csv", ".json"):
        if not path.is_file():
            raise UserError(f"{key}={value}: there is no such file ({where_looked(cfg, value)}).")
        if path.suffix.lower() == ".csv":
            return RleMasks(cfg, key, path)
        return CocoMasks(cfg, key, path, cases)
    if cfg.PREDICT.MASK_VALUES == "binary":
        return BinaryMasks(cfg, key, value)
    files = find_mask_files(cfg, value, key)
    if cfg.EVALUATION.OBJECTS:
        return ObjectMasks(cfg, key, False, files)
    stored = cfg.PREDICT.MASK_VALUES == "labels" and cfg.DATASET.CLASS_MASKS is None  # predictions are never planes
    return FolderMasks(cfg, key, stored, files)
