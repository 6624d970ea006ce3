"""Images with class labels instead of masks: a folder per class, or a CSV table."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from data_generators.files.found_files import IMAGE_SUFFIXES
from data_generators.files.label_tables import LabelledImage, read_label_table
from data_generators.files.pairing import list_problems
from utils.base.errors import UserError
from utils.base.files import resolve_path, where_looked
from utils.base.listing import list_folder


def find_labelled_images(cfg: DictConfig, split: str) -> list[LabelledImage]:
    """Find the images of a split and their labels.

    `DATASET.<SPLIT>.IMAGES_PATH` is a folder with a folder of images for each class, or a CSV file, see
    `data_generators.files.label_tables.read_label_table`.

    Raises:
        UserError: there are no images, some do not exist, or classes do not fit OUTPUT; lists up to 20 problems.
    """
    samples, problems = match_labels(cfg, split)
    if problems:
        raise UserError(f"DATASET.{split.upper()} has missing or invalid labels:\n{list_problems(problems)}")
    return samples


def match_labels(cfg: DictConfig, split: str) -> tuple[list[LabelledImage], list[str]]:
    """Return `(samples, problems)` of a split, a message for each problem."""
    key = f"DATASET.{split.upper()}.IMAGES_PATH"
    value = cfg.DATASET[split.upper()].IMAGES_PATH
    if not isinstance(value, str):
        return [], [
            f"{key}={value} must be a folder with one folder per class, or a CSV file, for MODEL.TYPE=classifier."
        ]
    path = resolve_path(cfg, value)
    problems: list[str] = []
    if path.is_dir():
        try:
            samples = read_folders(path)
        except UserError as error:
            return [], [f"{key}: {error}"]
    elif path.is_file():
        try:
            samples, problems = read_label_table(path)
        except UserError as error:
            return [], [f"{key}: {error}"]
    else:
        return [], [f"{key}={value}: there is no such folder or CSV file ({where_looked(cfg, value)})."]
    if not samples and not problems:
        problems = [f"{key}: {path} holds no images. It needs one folder of images per class."]
    return samples, problems + check_labels(cfg, samples, key)


def read_folders(path: Path) -> list[LabelledImage]:
    """The images in the folders of the classes, in the order of names."""
    return [
        LabelledImage(image, (folder.name,))
        for folder in list_folder(path).folders
        for image in list_folder(folder, IMAGE_SUFFIXES).files
    ]


def image_list(cfg: DictConfig, split: str) -> Any:
    """IMAGES_PATH of a split; the list of its images if it names class folders or a CSV file."""
    value = cfg.DATASET[split.upper()].IMAGES_PATH
    path = resolve_path(cfg, value) if isinstance(value, str) else None
    if path is None or (path.is_dir() and list_folder(path, IMAGE_SUFFIXES).files):
        return value
    samples, _ = match_labels(cfg, split)
    return [str(sample.image) for sample in samples] or value


def classifier_class_names(cfg: DictConfig) -> list[str]:
    """The classes of a classifier in order: OUTPUT.CLASS_NAMES, else the sorted names in the training data."""
    if cfg.OUTPUT.CLASS_NAMES is not None:
        return list(cfg.OUTPUT.CLASS_NAMES)
    samples, problems = match_labels(cfg, "train")
    if not samples:
        raise UserError(f"OUTPUT.CLASS_NAMES is not set, and the training data has none: {problems[0]}")
    return sorted({label for sample in samples for label in sample.labels})


def check_labels(cfg: DictConfig, samples: list[LabelledImage], key: str) -> list[str]:
    """Problems with labels that OUTPUT.CLASSES, OUTPUT.CLASS_NAMES or the activation do not allow."""
    found = sorted({label for sample in samples for label in sample.labels})
    known = cfg.OUTPUT.CLASS_NAMES
    wanted = max(cfg.OUTPUT.CLASSES, 2)  # one class: absent or present
    problems = []
    if known is not None and set(found) - set(known):
        problems.append(f"{key} holds classes that are not in OUTPUT.CLASS_NAMES: {sorted(set(found) - set(known))}.")
    elif len(known or found) != wanted:
        found = known or found
        problems.append(f"{key} holds {len(found)} classes ({', '.join(found[:10])}); set OUTPUT.CLASSES={len(found)}.")
    several = next((sample for sample in samples if len(sample.labels) > 1), None)
    if several is not None and cfg.MODEL.CLASSIFIER_ACTIVATION != "sigmoid":
        problems.append(f"{several.image} has several labels: set MODEL.CLASSIFIER_ACTIVATION=sigmoid.")
    return problems
