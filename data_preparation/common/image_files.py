"""List image files, pair them with masks, report problems."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from data_generators.files.channels import find_cases
from data_generators.files.found_files import ARRAY_SUFFIXES, IMAGE_SUFFIXES, STACK
from data_generators.files.image_file import ImageFile, ImageParts, composed
from data_generators.files.pages import page_pairs
from data_generators.files.pairing import MAX_LISTED, apart, find_mask, is_mask_name
from utils.base.errors import UserError, join_equal
from utils.base.files import is_list_file, read_list
from utils.base.listing import list_folder

STACK_SUFFIXES = (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES)
Skipped = tuple[object, str]  # a file or a name, and why it was skipped
HIDDEN = "hidden, or left behind by a system or a tool"


class NamedImage(Protocol):
    """Something that is written under a name and made from an image."""

    @property
    def name(self) -> str: ...

    @property
    def image(self) -> ImageFile: ...


AnyImage = TypeVar("AnyImage", bound=NamedImage)
Key = TypeVar("Key", bound=Hashable)


def list_images(
    folder: Path, recursive: bool = False, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> tuple[list[Path], list[Skipped]]:
    """Return `(images, skipped)` of a folder, sorted. Hidden files and other files are skipped, with the reason.

    A text file lists images itself, as `predict.py` writes them with PREDICT.SELECT.

    Raises:
        UserError: see `utils.base.listing.list_folder` and `utils.base.files.read_list`.
    """
    if is_list_file(folder):
        paths = read_list(folder)
        raise_problems([f"{folder} lists {path}, which does not exist." for path in paths if not path.is_file()])
        return paths, []
    found = list_folder(folder, suffixes, recursive)
    skipped: list[Skipped] = [(path, HIDDEN) for path in found.hidden]
    return found.files, sorted(skipped + [(path, "not an image") for path in found.others])


def list_pairs(
    images: Path, masks: Path, channels: Sequence[str] | None = None, class_masks: Sequence[str] | None = None
) -> list[tuple[Path | ImageParts, Path | ImageParts]]:
    """The pairs `(image, mask)` of two folders, which may be the same one, in the order of the names.

    Args:
        images, masks: the folders.
        channels: DATASET.CHANNELS, if an image is several files.
        class_masks: DATASET.CLASS_MASKS, if a mask has a plane for each class: see `class_names`.

    Raises:
        UserError: no images, an image without a mask, or without one of its channels or classes.
    """
    found_files, _ = list_images(images, recursive=channels is not None)
    image_files: list[Path | ImageParts] = [*found_files]
    mask_files = list_masks(masks, class_masks)
    if channels is not None:
        cases = find_cases(found_files, channels, images)
        raise_problems(cases.problems)
        image_files = [*cases.images]
        mask_files = [*cases.others] if images == masks and class_masks is None else mask_files
    elif images == masks and class_masks is not None:
        image_files, mask_files = map(list, apart(image_files, mask_files))
    elif image_files == mask_files:
        image_files = [path for path in mask_files if not is_mask_name(path.stem)]
        mask_files = [path for path in mask_files if is_mask_name(path.stem)]
    if not image_files:
        raise UserError(f"{images}: the folder contains no images.")
    by_stem: dict[str, list[Path | ImageParts]] = {}
    for path in mask_files:
        by_stem.setdefault(composed(path.stem), []).append(path)
    found = [(image, find_mask(image, by_stem)) for image in image_files]
    raise_problems([f"{image} has no mask in {masks}." for image, mask in found if mask is None])
    return [(image, mask) for image, mask in found if mask is not None]


def list_masks(folder: Path, class_masks: Sequence[str] | None) -> list[Path | ImageParts]:
    """The masks in a folder; see `list_pairs`.

    Raises:
        UserError: a mask lacks a class.
    """
    if class_masks is None or is_stack(class_masks):
        return [*list_images(folder, suffixes=IMAGE_SUFFIXES if class_masks is None else STACK_SUFFIXES)[0]]
    cases = find_cases(list_images(folder, recursive=True)[0], class_masks, folder, "DATASET.CLASS_MASKS")
    raise_problems(cases.problems)
    return [*cases.images]


def is_stack(class_masks: Sequence[str] | None) -> bool:
    """Whether a file holds the masks of all classes, as `stack liver tumour` says; without `stack` each has a file."""
    return class_masks is not None and class_masks[0] == STACK


def class_names(class_masks: Sequence[str] | None) -> Sequence[str] | None:
    """The names of the classes of masks with a plane for each.

    >>> class_names(["stack", "liver", "tumour"]), class_names(None)
    (['liver', 'tumour'], None)
    """
    return None if class_masks is None else list(class_masks)[is_stack(class_masks) :]


def page_pairs_of(
    pairs: Iterable[tuple[Path | ImageParts, Path | ImageParts]], stacks: bool = False
) -> list[tuple[ImageFile, ImageFile]]:
    """The pairs of the pages of all files, see `data_generators.files.pages.page_pairs`.

    Raises:
        UserError: names the files whose pages do not pair up.
    """
    found: list[tuple[ImageFile, ImageFile]] = []
    problems: list[str] = []
    for image, mask in pairs:
        try:
            found += [(page, part) for page, part in page_pairs(image, mask, stacks) if part is not None]
        except UserError as error:
            problems.append(str(error))
    raise_problems(problems)
    return found


def raise_problems(problems: list[str]) -> None:
    """Raise a UserError of one line with the first problems, equal ones together, if there are any."""
    found = join_equal(problems)
    if found:
        more = len(found) - MAX_LISTED
        raise UserError(" ".join(found[:MAX_LISTED]) + (f" ... and {more} more." if more > 0 else ""))


def unique_by(items: Iterable[AnyImage], key: Callable[[AnyImage], Key]) -> dict[Key, AnyImage]:
    """`{key(item): item}`.

    Raises:
        UserError: two items have the same key.
    """
    found: dict[Key, AnyImage] = {}
    for item in items:
        other = found.setdefault(key(item), item)
        if other is not item:
            raise UserError(f"{other.image} and {item.image} would both be written as {item.name}. Rename one.")
    return found
