"""What to type where images and masks do not fit because an image, or a mask, is several files or several planes."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_generators.files.channels import SEPARATORS, find_cases
from data_generators.files.found_files import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from data_generators.files.pairing import mask_stems
from data_generators.reading.tiff_pages import split_pages
from data_preparation.common.image_files import class_names, is_stack
from utils.base.errors import UserError
from utils.base.files import is_list_file
from utils.base.listing import list_folder

MOST_NAMES = 16  # of channels or classes
MOST_FILES = 20_000  # that are looked at
Reading = tuple[list[str] | None, set[str]]  # names of the files of a case, None for a single file, and the cases


def advise(images: str, masks: str, channels: Sequence[str] | None, classes: Sequence[str] | None) -> str:
    """A line with the --channels, or --class-masks, with which every image has a mask; empty if there are none.

    Args:
        images, masks: the folders.
        channels, classes: of --channels and --class-masks, if they are typed.
    """
    if is_list_file(images) or is_list_file(masks):
        return ""
    with contextlib.suppress(UserError):  # of folders that cannot be listed, which the first message says
        if classes is None and (number := planes_of(Path(masks))) is not None:
            return f"\nIf a mask holds a plane for each class, name the classes: {stack_option(number)}"
        of_masks = list(readings(Path(masks), None if is_stack(classes) else class_names(classes)))
        for names, cases in readings(Path(images), channels):
            for parts, there in of_masks:
                new = {"--channels": None if channels else names, "--class-masks": None if classes else parts}
                options = [f"{option} {' '.join(found)}" for option, found in new.items() if found]
                if options and cases and all(there.intersection(mask_stems(case)) for case in cases):
                    return f"\nIf an image or a mask is several files, as these names look: {' '.join(options)}"
    return ""


def readings(folder: Path, given: Sequence[str] | None) -> Iterator[Reading]:
    """The ways to read the files of a folder: one for each case, or several that names tell apart.

    Args:
        folder: of images or masks.
        given: the names, if they are known.
    """
    files = list_folder(folder, IMAGE_SUFFIXES, recursive=True).files[: MOST_FILES + 1]
    if len(files) > MOST_FILES:
        return
    if given is None:
        yield None, {file.stem for file in files if file.parent == folder}
    parts = f"[{re.escape(SEPARATORS)}]"
    below = [file.relative_to(folder) for file in files]
    candidates = [given] if given else [
        {part for place in below for part in place.parts[:-1]},
        {place.stem for place in below if len(place.parts) > 1},
        {re.split(parts, place.stem)[-1] for place in below},
        {re.split(parts, place.stem)[0] for place in below},
    ]  # fmt: skip
    for candidate in candidates:
        names = sorted(candidate) if given is None else list(candidate)
        if not 1 < len(names) <= MOST_NAMES or (given is None and any(name.isdigit() for name in names)):
            continue
        found = find_cases(files, names, folder)
        if not found.problems and not found.others:
            yield names, {image.stem for image in found.images}


def stack_option(planes: int) -> str:
    """What to type for masks with so many planes.

    >>> stack_option(2)
    '--class-masks stack NAME1 NAME2'
    """
    return " ".join(["--class-masks stack", *(f"NAME{number}" for number in range(1, planes + 1))])


def planes_of(folder: Path) -> int | None:
    """How many planes the masks of a folder have, 2 for arrays, which are not read; None if a mask is one plane."""
    files = list_folder(folder, (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES)).files
    if not files:
        return None
    if files[0].suffix in ARRAY_SUFFIXES:
        return 2
    pages = len(split_pages(files[0]))
    return pages if pages > 1 else None
