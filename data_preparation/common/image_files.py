"""List image files, pair them with masks, report problems."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from data_generators.files.channels import find_cases
from data_generators.files.image_file import ImageFile, ImageParts, composed
from data_generators.files.pages import page_pairs
from data_generators.files.pairing import IMAGE_SUFFIXES, MAX_LISTED, find_mask, is_mask_name
from utils.base.errors import UserError, join_equal
from utils.base.listing import list_folder

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


def list_images(folder: Path, recursive: bool = False) -> tuple[list[Path], list[Skipped]]:
    """Return `(images, skipped)` of a folder, sorted. Hidden files and other files are skipped, with the reason.

    Raises:
        UserError: see `utils.base.listing.list_folder`.
    """
    found = list_folder(folder, IMAGE_SUFFIXES, recursive)
    skipped: list[Skipped] = [(path, HIDDEN) for path in found.hidden]
    return found.files, sorted(skipped + [(path, "not an image") for path in found.others])


def list_pairs(
    images: Path, masks: Path, channels: Sequence[str] | None = None
) -> list[tuple[Path | ImageParts, Path]]:
    """The pairs `(image, mask)` of two folders, which may be the same one, in the order of the names.

    Args:
        images, masks: the folders.
        channels: DATASET.CHANNELS, if an image is several files.

    Raises:
        UserError: no images, an image without a mask, or without one of its channels.
    """
    found_files, _ = list_images(images, recursive=channels is not None)
    image_files: list[Path | ImageParts] = [*found_files]
    mask_files, _ = list_images(masks)
    if channels is not None:
        cases = find_cases(found_files, channels, images)
        raise_problems(cases.problems)
        image_files = [*cases.images]
        mask_files = cases.others if images == masks else mask_files
    elif image_files == mask_files:
        image_files = [path for path in mask_files if not is_mask_name(path.stem)]
        mask_files = [path for path in mask_files if is_mask_name(path.stem)]
    if not image_files:
        raise UserError(f"{images}: the folder contains no images.")
    by_stem: dict[str, list[Path]] = {}
    for path in mask_files:
        by_stem.setdefault(composed(path.stem), []).append(path)
    found = [(image, find_mask(image, by_stem)) for image in image_files]
    raise_problems([f"{image} has no mask in {masks}." for image, mask in found if mask is None])
    return [(image, mask) for image, mask in found if mask is not None]


def page_pairs_of(pairs: Iterable[tuple[Path | ImageParts, Path]]) -> list[tuple[ImageFile, ImageFile]]:
    """The pairs of the pages of all files, see `data_generators.files.pages`.

    Raises:
        UserError: names the files whose pages do not pair up.
    """
    found: list[tuple[ImageFile, ImageFile]] = []
    problems: list[str] = []
    for image, mask in pairs:
        try:
            found += [(page, part) for page, part in page_pairs(image, mask) if part is not None]
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
