"""Files in the folders of a split that no pair takes: other endings, subfolders, masks without an image."""

from collections.abc import Collection, Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from data_generators.files.channels import KINDS
from data_generators.files.found_files import IMAGE_SUFFIXES
from data_generators.files.image_file import parts_of
from data_generators.files.pairing import Pair, is_mask_name
from data_generators.files.tfrecord_index import ShardEntry
from data_generators.reading.tiff_pages import path_of
from utils.base.errors import UserError
from utils.base.files import is_list_file, resolve_path
from utils.base.listing import list_folder
from utils.base.wording import counted


def left_out(cfg: DictConfig, split: str, pairs: Sequence[Pair]) -> list[str]:
    """One sentence for each kind of file that lies in the folders of a split and is not read.

    Args:
        cfg: checked config; `DATASET.<SPLIT>.IMAGES_PATH` and `MASK_PATH` are read.
        split: "train", "val" or "test".
        pairs: of the split.

    Returns:
        Nothing for shards and classifiers: they are found in other ways.
    """
    if not pairs or isinstance(parts_of(pairs[0].image)[0], ShardEntry) or cfg.MODEL.TYPE == "classifier":
        return []
    group, sentences = cfg.DATASET[split.upper()], []
    taken = {str(path_of(part)) for pair in pairs for file in pair if file is not None for part in parts_of(file)}
    same = group.IMAGES_PATH == group.MASK_PATH
    for name in ("IMAGES_PATH",) if same else ("IMAGES_PATH", "MASK_PATH"):
        key, value = f"DATASET.{split.upper()}.{name}", group[name]
        if value is not None and not isinstance(value, ListConfig) and not is_list_file(value):
            folder = resolve_path(cfg, value)
            of_cases = "CHANNELS" if name == "IMAGES_PATH" else "CLASS_MASKS"
            if isinstance(cfg.DATASET[of_cases], ListConfig):
                sentences += of_no_name(key, folder, taken, f"DATASET.{of_cases}")
            else:
                sentences += in_folder(key, folder, taken, masks=name == "MASK_PATH", mixed=same)
    return sentences


def in_folder(key: str, folder: Path, taken: Collection[str], masks: bool, mixed: bool) -> list[str]:
    """`left_out` for one folder. masks: it holds masks only; mixed: masks and images."""
    listing = list_folder(folder, IMAGE_SUFFIXES, besides=taken)
    below = [file for subfolder in listing.folders for file in pictures_below(subfolder)]
    alone = [file for file in listing.files if masks or (mixed and is_mask_name(file.stem))]
    found = {
        f"in {key}: of other endings than {' '.join(IMAGE_SUFFIXES)}": listing.others,
        f"in subfolders of {key}: name each folder, or a list of files": below,
        f"in {key}: masks without an image": alone,
    }
    return [
        f"{len(files)} {'file is' if len(files) == 1 else 'files are'} not read, such as {files[0]}, {why}."
        for why, files in found.items()
        if files
    ]


def of_no_name(key: str, folder: Path, taken: Collection[str], names: str) -> list[str]:
    """`left_out` for a folder of several files a case, which a key names."""
    files = list_folder(folder, IMAGE_SUFFIXES, recursive=True, besides=taken).files
    if not files:
        return []
    are = "is" if len(files) == 1 else "are"
    return [
        f"{counted(len(files), 'file')} {are} not read, such as {files[0]}, in {key}: of no {KINDS[names]} in {names}."
    ]


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder and those below it; none if it may not be searched, as nothing in it is needed."""
    try:
        return list_folder(folder, IMAGE_SUFFIXES, recursive=True).files
    except UserError:
        return []
