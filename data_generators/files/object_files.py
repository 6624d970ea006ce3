"""Which label image of objects goes with which image: DATASET.<SPLIT>.OBJECTS_PATH."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from data_generators.files.found_files import list_files
from data_generators.files.image_file import ImageFile
from data_generators.files.pairing import Pair, find_mask, list_problems
from data_generators.reading.tiff_pages import split_pages
from utils.base.errors import UserError


def find_objects(cfg: DictConfig, split: str, pairs: Sequence[Pair]) -> list[ImageFile]:
    """The label image of each pair, by the names that its mask may have; empty if OBJECTS_PATH is null.

    Raises:
        UserError: the folder is missing or empty, or a pair has no label image; lists 20 problems.
    """
    key = f"DATASET.{split.upper()}.OBJECTS_PATH"
    value = cfg.DATASET[split.upper()].OBJECTS_PATH
    if value is None:
        return []
    files, problems = list_files(cfg, value, key)
    by_stem: dict[str, list[ImageFile]] = {}
    for file in files:
        for page in split_pages(Path(file)):
            by_stem.setdefault(page.stem, []).append(page)
    found = [find_mask(pair.image, by_stem) for pair in pairs]
    if files:
        problems += [
            f"{pair.image}: no label image in {key}." for pair, file in zip(pairs, found, strict=True) if file is None
        ]
    if problems:
        raise UserError(f"label images of objects are missing:\n{list_problems(problems)}")
    return [file for file in found if file is not None]
