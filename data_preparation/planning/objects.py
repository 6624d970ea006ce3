"""True objects, label images in a folder beside that of the masks: scored, and predicted masks divided into objects."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_generators.files.object_files import find_objects
from data_generators.files.pairing import Pair
from data_preparation.common.objects import BORDER
from data_preparation.planning.experiment_file import Choice
from utils.base.errors import UserError
from utils.config import load_config

FOLDER = "objects"  # as --objects of the commands of data_preparation writes it
METRICS = ["dice_coef", "confusion", "images", "channels", "soft_images", "calibration", "objects"]


def choose_objects(masks: str, splits: Mapping[str, Sequence[Pair]], class_names: Sequence[str] | None) -> list[Choice]:
    """Choose the settings for label images of objects, none if there are no such folders.

    Args:
        masks: folder of the masks, as typed.
        splits: `{split: pairs}`.
        class_names: as the preparation noted them; its last class may be the border between objects.

    Raises:
        UserError: a folder lacks the label image of a pair.
    """
    folders = {split: folder_of_objects(masks.replace("{split}", split)) for split in splits}
    if not all(folder.is_dir() for folder in folders.values()):
        return []
    cfg = load_config()
    for split, folder in folders.items():
        cfg.DATASET[split.upper()].OBJECTS_PATH = str(folder)
        try:
            find_objects(cfg, split, splits[split])
        except UserError as error:
            raise UserError(f"{error}\nAdd them; or rename {folder} if it holds no label images of objects.") from None
    paths = [
        Choice(f"DATASET.{split.upper()}.OBJECTS_PATH", str(folder), "label images beside the masks")
        for split, folder in folders.items()
    ]
    border = class_names.index(BORDER) if class_names and BORDER in class_names else None
    return [
        *paths,
        Choice("EVALUATION.METRICS", METRICS, "the usual ones, and scores of whole objects"),
        Choice("PREDICT.INSTANCES.METHOD", "distance", "watershed between objects that touch; compare with pieces"),
        Choice("PREDICT.INSTANCES.BORDER", border, "the class of pixels between objects"),
    ]


def folder_of_objects(masks: str) -> Path:
    """The folder of label images beside a folder of masks.

    >>> folder_of_objects("/data/train/mask")
    PosixPath('/data/train/objects')
    """
    return Path(masks).resolve().parent / FOLDER
