"""Which image goes with which mask, and which volume and slice a name stands for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from omegaconf import DictConfig, ListConfig

from data_generators.files.cloud import is_remote
from data_generators.files.found_files import STACK, list_images, list_masks
from data_generators.files.image_file import ImageFile, ImageParts, composed, parts_of
from data_generators.files.neighbours import with_neighbours
from data_generators.files.pages import page_pairs
from data_generators.files.tfrecord_index import SHARD_SUFFIX, find_shards, read_shard
from utils.base.errors import UserError, join_equal
from utils.base.files import is_list_file

AnyMask = TypeVar("AnyMask", bound=ImageFile)
MAX_LISTED = 20  # kinds of problems in one message; the others are counted


class Pair(NamedTuple):
    """An image and its mask, or None if the split has no masks."""

    image: ImageFile
    mask: ImageFile | None


def find_pairs(cfg: DictConfig, split: str) -> list[Pair]:
    """Return the pairs of a split, images in the order of their names, or of the list in the config.

    Args:
        cfg: checked config; `DATASET.<SPLIT>.IMAGES_PATH` and `MASK_PATH` are read.
        split: "train", "val" or "test".

    Returns:
        The pairs, at least one. All masks are None if MASK_PATH is null.

    Raises:
        UserError: a folder is missing or empty, an image has no mask, two images have the same mask; lists up to 20
            problems.
    """
    pairs, problems = match_pairs(cfg, split)
    if problems:
        raise UserError(f"DATASET.{split.upper()} has images or masks without a partner:\n{list_problems(problems)}")
    return pairs


def match_pairs(cfg: DictConfig, split: str) -> tuple[list[Pair], list[str]]:
    """Return `(pairs, problems)`: the pairs that are complete, and a message for each problem."""
    pairs, problems = match_files(cfg, split)
    images, gaps = with_neighbours([pair.image for pair in pairs], cfg.DATASET.SLICES_AROUND)
    found = [Pair(image, pair.mask) for image, pair in zip(images, pairs, strict=True)]
    return found, problems or gaps  # a slice whose mask is missing is a gap, too


def match_files(cfg: DictConfig, split: str) -> tuple[list[Pair], list[str]]:
    """`match_pairs`, of slices without their neighbours."""
    key = f"DATASET.{split.upper()}"
    paths = cfg.DATASET[split.upper()]
    try:
        shards = find_shards(cfg, paths.IMAGES_PATH)
    except UserError as error:
        return [], [f"{key}.IMAGES_PATH: {error}"]
    if shards is not None:
        of_shards, problems = pairs_of_shards(
            shards, f"{key}.IMAGES_PATH={paths.IMAGES_PATH}", paths.MASK_PATH is not None
        )
        return of_shards, problems + refused_of_shards(cfg, key)
    if cfg.DATA_GENERATOR_TYPE == "TFRECORD" and split == "train":
        return [], [
            f"{key}.IMAGES_PATH={paths.IMAGES_PATH}: DATA_GENERATOR_TYPE=TFRECORD needs a folder, a pattern or a list "
            f"of {SHARD_SUFFIX} files, and there are none. Write some: python data_preparation/tfrecord.py --help."
        ]
    images, others, problems = list_images(cfg, paths.IMAGES_PATH, f"{key}.IMAGES_PATH")
    if paths.MASK_PATH is None:
        return expand_pages([(image, None) for image in images], problems)

    masks: Sequence[Path | ImageParts] = others
    in_one_folder = paths.MASK_PATH == paths.IMAGES_PATH
    if not (others and in_one_folder and cfg.DATASET.CLASS_MASKS is None):
        masks, mask_problems = list_masks(cfg, paths.MASK_PATH, f"{key}.MASK_PATH")
        problems = problems + mask_problems
        if in_one_folder and cfg.DATASET.CLASS_MASKS is not None:
            images, masks = apart(images, masks)
    if not images or not masks:
        return [], problems
    # Images and masks in one folder: the names tell them apart.
    if images == masks:
        images = [path for path in images if not is_mask_name(path.stem)]
        masks = [path for path in masks if is_mask_name(path.stem)]
        if not images:
            problems.append(f"{key}: {masks[0].parent} holds masks only, no images.")

    in_given_order = isinstance(paths.MASK_PATH, ListConfig) or is_list_file(paths.MASK_PATH)
    found = match_masks(images, masks, in_given_order)
    pairs: list[tuple[Path | ImageParts, Path | ImageParts | None]] = []
    image_of: dict[ImageFile, ImageFile] = {}
    for image, mask in zip(images, found, strict=True):
        if mask is None:
            names = ", ".join(mask_stems(image.stem))
            problems.append(f"{image}: no mask in {key}.MASK_PATH; looked for {names} with any picture ending.")
        elif mask in image_of:
            problems.append(f"{mask}: is the mask of two images, {image_of[mask]} and {image}. Rename or remove one.")
        else:
            image_of[mask] = image
            pairs.append((image, mask))
    return expand_pages(pairs, problems, stacks=cfg.DATASET.CLASS_MASKS == STACK)


def apart(
    images: Sequence[Path | ImageParts], masks: Sequence[Path | ImageParts]
) -> tuple[list[Path | ImageParts], Sequence[Path | ImageParts]]:
    """Images and masks of one folder: files of classes are no images, arrays are masks."""
    if any(isinstance(mask, ImageParts) for mask in masks):
        taken = {part for mask in masks for part in parts_of(mask)}
        return [image for image in images if image not in taken], masks
    return [*images], [mask for mask in masks if mask not in images] or masks


def expand_pages(
    files: Sequence[tuple[Path | ImageParts, Path | ImageParts | None]], problems: list[str], stacks: bool = False
) -> tuple[list[Pair], list[str]]:
    """`(pairs, problems)`, a pair for each page of files with several pages."""
    pairs: list[Pair] = []
    several: list[tuple[Path | ImageParts, list[Pair]]] = []
    for image, mask in files:
        try:
            found = [Pair(*pair) for pair in page_pairs(image, mask, stacks)]
        except UserError as error:
            problems = [*problems, str(error)]
            continue
        pairs += found
        several += [(image, found)] if len(found) > 1 else []
    named = {(image.parent, image.stem): image for image, _ in files} if several else {}
    for image, found in several:
        same = [named[key] for page in found if (key := (image.parent, page.image.stem)) in named]
        problems = [*problems, *(f"{image}: one of its pages has the name of {other}. Rename one." for other in same)]
    return pairs, problems


def pairs_of_shards(shards: Sequence[str], key: str, with_masks: bool) -> tuple[list[Pair], list[str]]:
    """`match_pairs` for shards: their pairs in the order of names, whichever shards they are in."""
    pairs: list[Pair] = []
    problems: list[str] = []
    shard_of: dict[str, str] = {}
    if not shards:
        where = " In cloud storage images are read from shards only." if is_remote(key) else ""
        problems.append(f"{key}: there are no {SHARD_SUFFIX} files.{where}")
    for shard in shards:
        try:
            found = read_shard(shard)
        except UserError as error:
            problems.append(str(error))
            continue
        for image, mask in found:
            if image.name in shard_of:
                problems.append(f"{image}: is in {shard_of[image.name]} too. Leave one out.")
            elif with_masks and mask is None:
                problems.append(f"{image}: the record has no mask.")
            else:
                shard_of[image.name] = shard
                pairs.append(Pair(image, mask if with_masks else None))
    if shards and not pairs and not problems:
        problems.append(f"{key}: the shards hold no records, such as {shards[0]}. Write them again.")
    return sorted(pairs, key=lambda pair: pair.image.name), problems


def match_masks(
    images: Sequence[ImageFile], masks: Sequence[AnyMask], in_given_order: bool
) -> Sequence[AnyMask | None]:
    """Find the mask of each image, or None: by name, or by position if two lists have no names in common."""
    same_length = in_given_order and len(images) == len(masks)
    # Lists over several folders may repeat names: if the names at each position match, the order decides.
    if same_length and all(
        composed(mask.stem) in mask_stems(image.stem) for image, mask in zip(images, masks, strict=True)
    ):
        return masks
    by_stem: dict[str, list[AnyMask]] = {}
    for mask in masks:
        by_stem.setdefault(composed(mask.stem), []).append(mask)
    found = [find_mask(image, by_stem) for image in images]
    return masks if same_length and not any(found) else found


def find_mask(image: ImageFile, by_stem: Mapping[str, list[AnyMask]]) -> AnyMask | None:
    """The mask of an image among `{stem: [paths]}`, the same suffix first; None if there is none."""
    for stem in mask_stems(image.stem):
        if candidates := by_stem.get(stem):
            return min(candidates, key=lambda path: path.suffix != image.suffix)
    return None


def mask_stems(stem: str) -> list[str]:
    """The names that a mask of image `stem` may have, the first match counts.

    >>> mask_stems("image_28_5")
    ['mask_28_5', 'image_28_5', 'image_28_5_mask']
    """
    stem = composed(stem)
    return list(dict.fromkeys([stem.replace("image", "mask"), stem, f"{stem}_mask"]))


def is_mask_name(stem: str) -> bool:
    return stem.startswith("mask_") or stem.endswith("_mask")


def refused_of_shards(cfg: DictConfig, key: str) -> list[str]:
    """What shards, whose images hold the channels of all files, do not go with."""
    if cfg.DATASET.CHANNELS is None or cfg.DATASET.BANDS is None:
        return []
    return [
        f"{key}.IMAGES_PATH: the images in shards hold all of DATASET.CHANNELS, and DATASET.BANDS chooses from each "
        "file. Leave DATASET.BANDS out, or read the files with DATA_GENERATOR_TYPE=TF_DATA."
    ]


def list_problems(problems: Sequence[str]) -> str:
    """The first problems, one a line, equal ones together (`join_equal`), and the number of the other lines."""
    lines = [f"  {problem}" for problem in join_equal(problems)]
    more = [f"  ... and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return "\n".join(lines[:MAX_LISTED] + more)
