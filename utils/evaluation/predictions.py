"""Score masks that any tool wrote: EVALUATION.PREDICTIONS against the masks of a split. No model, no Keras."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from data_generators.files.found_files import list_images
from data_generators.files.image_file import ImageFile
from data_generators.files.object_files import find_objects
from data_generators.files.pairing import Pair, list_problems
from data_generators.files.volume_slices import VolumeSlice, find_volumes
from data_generators.reading.samples import ReadSettings, read_image_as
from data_preparation.scans.file_kinds import is_nifti, scan_name
from data_preparation.scans.geometry import voxel_spacing
from losses import DEFAULT_METRICS, IMAGE_METRICS, averaging
from losses.count_scores import COUNT_METRICS, Scoring, confusion_of_masks, scores_of_counts
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.ignored_classes import plain
from utils.base.listing import list_folder
from utils.base.progress import Task
from utils.base.registry import load_object
from utils.base.wording import counted
from utils.config.class_names import has_background
from utils.evaluation.binary_masks import BinaryMasks
from utils.evaluation.consensus import find_consensus
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.gallery import Gallery
from utils.evaluation.mask_files import FolderMasks, Grid, MaskSet, case_name, open_truth
from utils.evaluation.mask_tables import open_predictions
from utils.evaluation.raters import Raters
from utils.evaluation.split_data import SplitData
from utils.evaluation.split_result import SplitResult

GREY = 0.5  # of the picture below masks without an image


@dataclass(frozen=True)
class NamedFile:
    """A file under the name of its case: scores and volumes are called after images, not after masks."""

    file: Path
    name: str

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> Path:
        return self.file.parent

    def read_bytes(self) -> bytes:
        """Those of the file."""
        return self.file.read_bytes()

    def __str__(self) -> str:
        return str(self.file)


@dataclass(frozen=True)
class Cases:
    """What is scored: the cases that have a true and a predicted mask.

    Attributes:
        truths: of each rater, the first of DATASET.<SPLIT>.MASK_PATH.
        predictions: the masks to score.
        grids: {case: where its pixels are}, in the order of the true masks.
        images: {case: its image}, as far as there are any.
    """

    truths: Sequence[FolderMasks]
    predictions: MaskSet
    grids: dict[str, Grid]
    images: dict[str, ImageFile]


def find_cases(cfg: DictConfig, split: str) -> Cases:
    """Match predictions with true masks by name, and check sizes and grids, before any pixel is read.

    Raises:
        UserError: no masks, a case without a prediction or without the mask of a rater, other grids; lists 20 problems.
    """
    truth = open_truth(cfg, cfg.DATASET[split.upper()].MASK_PATH, f"DATASET.{split.upper()}.MASK_PATH")
    raters = [
        open_truth(cfg, folder, f"EVALUATION.RATERS[{number}]")
        for number, folder in enumerate(cfg.EVALUATION.RATERS or ())
    ]
    predictions = open_predictions(cfg, list(truth.names))
    if truth.volumes and not isinstance(predictions, FolderMasks | BinaryMasks):
        raise UserError("EVALUATION.PREDICTIONS: tables hold masks of images; the true masks are volumes.")
    grids, problems = {name: truth.grid(name) for name in truth.names}, []
    for masks in (predictions, *raters):
        missing = [name for name in grids if name not in masks.names]
        problems += [f"{truth.names[name]}: has no mask in {masks.key}." for name in missing]
        problems += [
            problem
            for name, grid in grids.items()
            if name not in missing and (problem := masks.problem(name, grid)) is not None
        ]
        more = [name for name in masks.names if name not in grids]
        if more and len(missing) < len(grids):
            print(
                f"Note: {masks.key} has {counted(len(more), 'mask')} without a true one, such as {more[0]}.",
                file=sys.stderr,
            )
    if problems:
        raise UserError(f"these masks cannot be scored:\n{list_problems(problems)}")
    return Cases([truth, *raters], predictions, grids, find_images(cfg, split, truth))


def find_images(cfg: DictConfig, split: str, truth: FolderMasks) -> dict[str, ImageFile]:
    """`{case: image}` for the pictures of the report; where there is none, they are grey.

    Raises:
        UserError: images were asked for on the command line, and are not there.
    """
    key = f"DATASET.{split.upper()}.IMAGES_PATH"
    value, typed = OmegaConf.select(cfg, key), any(text.startswith(f"{key}=") for text in cfg.OVERRIDES)
    folder = None if value is None or not isinstance(value, str) else resolve_path(cfg, value)
    if folder is not None and folder.is_dir() and truth.volumes:
        return {case_name(scan_name(path)): path for path in list_folder(folder).files if is_nifti(path)}
    files, _, problems = list_images(cfg, value, key)
    if problems and typed and value is not None:
        raise UserError(list_problems(problems))
    return {case_name(file.stem): file for file in files}


def describe_split(cfg: DictConfig, split: str, cases: Cases) -> SplitData:
    """The images of the split: a mask each, or a slice of a volume each."""
    truth = cases.truths[0]
    if not truth.volumes:
        pairs = []
        for name in cases.grids:
            mask = truth.names[name]
            image: ImageFile = cases.images.get(name) or NamedFile(Path(str(mask)), f"{name}{mask.suffix}")
            pairs.append(Pair(image, mask))
        objects = find_objects(cfg, split, pairs)
        found = [cases.predictions.names[name] for name in cases.grids] if cfg.EVALUATION.OBJECTS else []
        return SplitData(split, len(pairs), 0, pairs, *find_volumes(cfg, pairs), objects=objects, found=found)
    slices = [(name, index) for name, grid in cases.grids.items() for index in range(grid.shape[0])]
    files = {name: Path(str(truth.names[name])) for name in cases.grids}
    pairs = [Pair(NamedFile(files[name], f"{name}_{index}"), files[name]) for name, index in slices]
    spacings = {}
    for name, grid in cases.grids.items():
        assert grid.affine is not None
        row, column, along = voxel_spacing(grid.affine)
        spacings[name] = (along, row, column) if cfg.EVALUATION.SPACING_MM is None else cfg.EVALUATION.SPACING_MM
    places = None if cfg.EVALUATION.VOLUMES is False else [VolumeSlice(*entry) for entry in slices]
    return SplitData(split, len(pairs), 0, pairs, places, spacings)


def without_probabilities(cfg: DictConfig) -> tuple[DictConfig, list[str]]:
    """The config with only the metrics that masks have, and the names of those left out.

    >>> from utils.config import load_config
    >>> cfg, left_out = without_probabilities(load_config(["EVALUATION.METRICS=[confusion,objects,curves]"]))
    >>> list(cfg.EVALUATION.METRICS), left_out
    (['confusion', 'objects'], ['loss', 'curves'])
    """
    chosen, changed = cfg.EVALUATION.METRICS, cfg.copy()
    left_out = [name for name in chosen or DEFAULT_METRICS if needs_probabilities(name)]
    if chosen is not None:
        changed.EVALUATION.METRICS = [name for name in chosen if name not in left_out]
    return changed, ["loss", *left_out]


def needs_probabilities(name: str) -> bool:
    """Whether masks alone do not have a metric."""
    if name in IMAGE_METRICS:
        return load_object(IMAGE_METRICS[name]).needs_probabilities
    return name not in COUNT_METRICS


def score_predictions(cfg: DictConfig, split: str, gallery: Gallery) -> SplitResult:
    """Score the masks of EVALUATION.PREDICTIONS.

    Args:
        cfg: of `without_probabilities`.
        split: whose masks are the truth.
        gallery: is offered every picture.

    Raises:
        UserError: see `find_cases`, `MaskSet.read` and `without_ignored`.
    """
    cases = find_cases(cfg, split)
    data = describe_split(cfg, split, cases)
    multi_label, ignore_label, classes = is_multi_label(cfg), cfg.DATASET.IGNORE_LABEL, number_of_classes(cfg)

    def count(masks: np.ndarray, predicted: np.ndarray) -> list[np.ndarray]:
        return [
            confusion_of_masks(truth, found, classes, ignore_label, multi_label)
            for truth, found in zip(masks[..., 0], predicted, strict=True)
        ]

    evaluator, begin = Evaluator(cfg, data, count, gallery, of_masks=True), time.perf_counter()
    raters = Raters(cfg, cases.truths) if len(cases.truths) > 1 else None
    with Task(f"score {split}", data.images, quiet=not cfg.VERBOSE) as task:
        for name, grid in cases.grids.items():
            votes = np.stack([masks.read(name, grid) for masks in cases.truths])
            found = cases.predictions.read(name, grid)
            if raters:
                raters.add(name, votes, found, data.places is not None)
            kind = cfg.EVALUATION.TRUTH
            truth = votes[0] if kind == "mask" else find_consensus(kind, votes, classes, ignore_label, multi_label)
            found = without_ignored(found, truth, ignore_label, cases.predictions.names[name])
            image = read_picture(cfg, cases.images.get(name), grid)
            for index in range(grid.shape[0]):
                one = slice(index, index + 1)
                evaluator.add(image[one], truth[one, ..., np.newaxis], found[one])
            task.update(grid.shape[0])
    result = SplitResult(split, data.images, 0, seconds=time.perf_counter() - begin)
    result.add_cases(evaluator)
    rows = [row for row in cfg.EVALUATION.METRICS or COUNT_METRICS if row in COUNT_METRICS]
    found_scores = scores_of_counts(
        np.stack([case.confusion for case in evaluator.images]), Scoring.from_config(cfg), rows
    )
    result.scores = {**found_scores, **result.scores}
    result.rules = {name: averaging(name, has_background(cfg)) or name for name in found_scores}
    result.raters = raters.result() if raters else None
    return result


def without_ignored(predicted: np.ndarray, truth: np.ndarray, ignore_label: int | None, file: object) -> np.ndarray:
    """A predicted mask with class 0 where both it and the true one, of its shape, hold DATASET.IGNORE_LABEL.

    Raises:
        UserError: it holds that value where the true mask does not; `file` names it.

    >>> without_ignored(np.uint8([1, 255]), np.uint8([1, 255]), 255, "mask.png").tolist()
    [1, 0]
    """
    ignored = plain(predicted) == ignore_label
    wrong = int(np.count_nonzero(ignored & (plain(truth) != ignore_label)))
    if wrong:
        raise UserError(
            f"{file}: holds {ignore_label} (DATASET.IGNORE_LABEL) in {counted(wrong, 'pixel')} that the true mask does "
            "not ignore. Give these pixels a class in the prediction, or ignore them in the true mask."
        )
    return np.where(ignored, 0, predicted).astype(predicted.dtype)


def read_picture(cfg: DictConfig, path: ImageFile | None, grid: Grid) -> np.ndarray:
    """What to draw masks on: float32 `(slices, rows, columns, channels)` in [0, 1]; grey without an image that fits."""
    blank = np.full((*grid.shape, 1), GREY, np.float32)
    if path is None:
        return blank
    if isinstance(path, Path) and is_nifti(path):
        from data_preparation.scans.nifti import read_scan

        scan = read_scan(path, 0)
        voxels = np.stack([scan.slice(index) for index in range(scan.voxels.shape[2])]).astype(np.float32)
        low, high = np.percentile(voxels, (0.5, 99.5))
        picture = np.clip((voxels - low) / max(high - low, 1e-6), 0, 1)[..., np.newaxis]
    else:
        settings = ReadSettings.from_config(cfg)
        slices = 2 * settings.around + 1
        image = read_image_as(path, replace(settings, channels=settings.channels // slices))
        picture = image[np.newaxis] / np.float32(np.iinfo(image.dtype).max)
    return picture if picture.shape[:3] == grid.shape else blank
