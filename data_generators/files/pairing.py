"""Which image goes with which mask, and which volume and slice a name stands for."""

import re
from pathlib import Path
from typing import NamedTuple

from omegaconf import ListConfig

from data_generators.files.tfrecord_index import ENDING, find_shards, read_shard
from utils.base.errors import UserError
from utils.base.files import is_list_file, read_list, resolve_path

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
SHOWN = 20  # problems listed in one message; the rest are counted


class Pair(NamedTuple):
    """An image file and its mask file, or None where the split has no masks; paths, or entries of shards."""

    image: Path
    mask: Path | None


def find_pairs(cfg, split):
    """Return the pairs of a split, images in the order of their names, or of the list in the config.

    Args:
        cfg: the config; reads `DATASET.<SPLIT>.IMAGES_PATH` and `MASK_PATH`.
        split: "train" | "val" | "test".

    Returns:
        list of Pair, not empty. Every mask is None where MASK_PATH is null.

    Raises:
        UserError: folder missing or empty, image without a mask, two images with one mask; lists up to 20.
    """
    pairs, problems = match_pairs(cfg, split)
    if problems:
        raise UserError(f"DATASET.{split.upper()} does not pair up:\n{list_problems(problems)}")
    return pairs


def match_pairs(cfg, split):
    """Return `(pairs, problems)`: the pairs that are sound, and one message for each thing that is not."""
    key = f"DATASET.{split.upper()}"
    paths = cfg.DATASET[split.upper()]
    try:
        shards = find_shards(cfg, paths.IMAGES_PATH)
    except UserError as error:
        return [], [f"{key}.IMAGES_PATH: {error}"]
    if shards is not None:
        return pairs_of_shards(shards, f"{key}.IMAGES_PATH={paths.IMAGES_PATH}", paths.MASK_PATH is not None)
    if cfg.DATA_GENERATOR_TYPE == "TFRECORD" and split == "train":
        return [], [
            f"{key}.IMAGES_PATH={paths.IMAGES_PATH}: DATA_GENERATOR_TYPE=TFRECORD needs a folder, a pattern or a list "
            f"of {ENDING} files, and there are none. Write some: python data_preparation/tfrecord.py --help."
        ]
    images, problems = list_files(cfg, paths.IMAGES_PATH, f"{key}.IMAGES_PATH")
    if paths.MASK_PATH is None:
        return [Pair(image, None) for image in images], problems

    masks, mask_problems = list_files(cfg, paths.MASK_PATH, f"{key}.MASK_PATH")
    problems = problems + mask_problems
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
    pairs, image_of = [], {}
    for image, mask in zip(images, found, strict=True):
        if mask is None:
            names = ", ".join(mask_stems(image.stem))
            problems.append(f"{image}: no mask in {key}.MASK_PATH; looked for {names} with any picture ending.")
        elif mask in image_of:
            problems.append(f"{mask}: is the mask of two images, {image_of[mask]} and {image}. Rename or remove one.")
        else:
            image_of[mask] = image
            pairs.append(Pair(image, mask))
    return pairs, problems


def pairs_of_shards(shards, key, with_masks):
    """`match_pairs` for shards: their pairs in the order of the names, whichever shards they are in."""
    pairs, problems, shard_of = [], [], {}
    if not shards:
        problems.append(f"{key}: there are no {ENDING} files.")
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


def match_masks(images, masks, in_given_order):
    """Return for each image its mask or None: by name, or by position where lists have no names in common."""
    same_length = in_given_order and len(images) == len(masks)
    # Lists over several folders repeat names; where each position fits by name, the order says it all.
    if same_length and all(mask.stem in mask_stems(image.stem) for image, mask in zip(images, masks, strict=True)):
        return masks
    by_stem = {}
    for mask in masks:
        by_stem.setdefault(mask.stem, []).append(mask)
    found = [find_mask(image, by_stem) for image in images]
    return masks if same_length and not any(found) else found


def find_mask(image, by_stem):
    """The mask of an image among `{stem: [paths]}`, the same ending first; None where there is none."""
    for stem in mask_stems(image.stem):
        candidates = by_stem.get(stem, [])
        for mask in sorted(candidates, key=lambda path: path.suffix != image.suffix):
            return mask
    return None


def mask_stems(stem):
    """The names a mask of image `stem` may have, the likeliest first."""
    return list(dict.fromkeys([stem.replace("image", "mask"), stem, f"{stem}_mask"]))


def is_mask_name(stem):
    return stem.startswith("mask_") or stem.endswith("_mask")


def list_files(cfg, value, key):
    """Return `(files, problems)` of a config value: a folder (sorted by name), a list or a list file (in its order)."""
    if value is None:
        return [], [f"{key} is not set: give a folder or a list of files."]
    if isinstance(value, ListConfig):
        return existing_files([resolve_path(cfg, entry) for entry in value], key)
    if is_list_file(value):
        try:
            return existing_files(read_list(resolve_path(cfg, value)), f"{key}={value}")
        except UserError as error:
            return [], [f"{key}: {error}"]

    folder = resolve_path(cfg, value)
    if not folder.is_dir():
        looked = dict.fromkeys([str(folder), str(value)] if Path(value).is_absolute() else [str(folder)])
        return [], [
            f"{key}={value}: there is no such folder (looked at {' and '.join(looked)}). "
            f"Set {key}, or WORK_DIR, below which paths are looked up."
        ]
    try:
        names = sorted(path for path in folder.iterdir() if is_picture(path))
    except OSError as error:
        return [], [f"{key}: cannot read the folder {folder}: {error.strerror}."]
    if not names:
        return [], [f"{key}: the folder {folder} holds no pictures ({' '.join(ENDINGS)})."]
    return names, []


def existing_files(files, key):
    """Return `(files that exist, problems)`."""
    problems = [f"{key}: the file {path} does not exist." for path in files if not path.is_file()]
    if not files:
        problems = [f"{key} is an empty list."]
    return [path for path in files if path.is_file()], problems


def is_picture(path):
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def list_problems(problems):
    """The first problems, one a line, and how many more there are."""
    lines = [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    return "\n".join(lines)


def volume_and_slice(path):
    """Return `(volume, slice)` from a name such as `image_28_5.png` -> `("28", 5)`, or None without a number.

    The number after the last underscore is the slice; what stands before it, less a leading `image_`, the volume.
    """
    match = re.fullmatch(r"(?:image_)?(.+)_(\d+)", Path(path).stem)
    return (match.group(1), int(match.group(2))) if match else None
