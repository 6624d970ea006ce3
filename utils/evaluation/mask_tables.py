"""Masks in one file: run-length tables and COCO results."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_preparation.common.coco_files import read_id
from data_preparation.common.coco_segmentations import draw_segmentation
from data_preparation.common.dataset_writer import NewPair
from data_preparation.rle_csv import CLASS_HEADING, draw_mask, read_table
from utils.base.class_bits import bit_of
from utils.base.errors import UserError
from utils.base.files import resolve_path, where_looked
from utils.base.text_files import read_csv, read_json
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

    An image without objects has no entry, so a missing image cannot be told from an empty one.
    """

    def __init__(self, cfg: DictConfig, key: str, path: Path) -> None:
        super().__init__(cfg, key, stored=False)
        entries = read_json(path)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path}: is no list of COCO results, with image_id, category_id, segmentation and score.")
        self.path = path
        self.names: dict[str, list[tuple[float, int, Any, str]]] = {}
        for number, entry in enumerate(entries):
            where = f"{path}, entry {number}"
            category, score = read_id(entry, "category_id", where), entry.get("score", 1.0)
            if not isinstance(category, int) or not 0 < category < self.classes or not isinstance(score, (int, float)):
                raise UserError(
                    f"{where}: category_id is {category}, score {score}; they must be a class from 1 to "
                    f"{self.classes - 1} (OUTPUT.CLASSES) and a number."
                )
            if score < cfg.EVALUATION.COCO_SCORE:
                continue
            name = case_name(Path(str(read_id(entry, "image_id", where))).stem)
            self.names.setdefault(name, []).append((float(score), category, entry.get("segmentation"), where))

    def adopt(self, cases: Sequence[str]) -> None:
        """Give the numbers of images the names of cases that are those numbers (139 is 000000139); add the empty."""
        numbers = {str(int(name)): name for name in cases if name.isdigit()}
        self.names = {name if name in cases else numbers.get(name, name): found for name, found in self.names.items()}
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
        results = CocoMasks(cfg, key, path)
        results.adopt(cases)
        return results
    files = find_mask_files(cfg, value, key)
    if cfg.EVALUATION.OBJECTS:
        return ObjectMasks(cfg, key, False, files)
    stored = cfg.PREDICT.MASK_VALUES == "labels" and cfg.DATASET.CLASS_MASKS is None  # predictions are never planes
    return FolderMasks(cfg, key, stored, files)
