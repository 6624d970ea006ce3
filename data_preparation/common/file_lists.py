"""List files: the images or masks of a split, one path per line, relative to the folder of the list."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_generators.files.image_file import ImageParts, parts_of
from utils.base.files import staging_folder
from utils.base.locks import locked
from utils.base.text_files import AS_ON_DISK
from utils.config.folds import list_name

Lists = dict[str, list[Path]]  # name of the list -> files


def name_lists(
    pairs: Sequence[tuple[Path | ImageParts, Path | ImageParts]], chosen: Mapping[str, np.ndarray], fold: int | None
) -> Lists:
    """The lists of images and masks of each split; empty splits get none.

    Args:
        pairs: (image, mask) files; an image or a mask of several files is as many lines.
        chosen: {split: bool `(pairs,)`}.
        fold: number of the fold, or None.
    """
    lists: Lists = {}
    for split, mask in chosen.items():
        for position, kind in enumerate(("images", "masks")):
            wanted = [pair[position] for pair, is_chosen in zip(pairs, mask, strict=True) if is_chosen]
            files = [Path(str(part)) for file in wanted for part in parts_of(file)]
            if files:
                lists[list_name(fold, split, kind)] = files
    return lists


def write_lists(output: Path, lists: Lists) -> None:
    """Write all lists, then move them into place together; other lists of an earlier split are removed."""
    output.mkdir(parents=True, exist_ok=True)
    with locked(output / ".split.lock", f"the lists in {output}"), staging_folder(output, "split") as temporary:
        for name, files in lists.items():
            lines = [os.path.relpath(os.path.abspath(path), os.path.abspath(output)) for path in files]
            (temporary / name).write_text("\n".join(lines) + "\n", encoding="utf-8", errors=AS_ON_DISK)
        for path in output.glob("*_*.txt"):
            if path.name not in lists and path.name.removesuffix(".txt").endswith(("_images", "_masks")):
                path.unlink()
        for name in lists:
            os.replace(temporary / name, output / name)
