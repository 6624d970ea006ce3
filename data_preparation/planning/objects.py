"""True objects, label images in a folder beside that of the masks: scored, and told apart where they touch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.files.object_files import find_objects
from data_generators.files.pairing import Pair
from data_generators.reading.objects import read_objects
from data_preparation.common.objects import BORDER
from data_preparation.planning.experiment_file import Choice
from utils.base.errors import UserError
from utils.config import load_config

BOUNDARY = "boundary"  # in configs/loss
TOUCHING = 0.01  # share of objects that touch another from which they are weighed
SAMPLE = 50  # label images that are looked at
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
    found: list[ImageFile] = []
    for split, folder in folders.items():
        cfg.DATASET[split.upper()].OBJECTS_PATH = str(folder)
        try:
            found += find_objects(cfg, split, splits[split])
        except UserError as error:
            raise UserError(f"{error}\nAdd them; or rename {folder} if it holds no label images of objects.") from None
    paths = [
        Choice(f"DATASET.{split.upper()}.OBJECTS_PATH", str(folder), "label images beside the masks")
        for split, folder in folders.items()
    ]
    border = class_names.index(BORDER) if class_names and BORDER in class_names else None
    return [
        *([choose_loss(found)] if border is None else []),
        *paths,
        Choice("EVALUATION.METRICS", METRICS, "the usual ones, and scores of whole objects"),
        Choice("PREDICT.INSTANCES.METHOD", "distance", "watershed between objects that touch; compare with pieces"),
        Choice("PREDICT.INSTANCES.BORDER", border, "the class of pixels between objects"),
    ]


def choose_loss(files: Sequence[ImageFile]) -> Choice:
    """The loss that weighs what lies between objects, where some touch; a class of their borders does that, too."""
    some = files[:: -(-len(files) // SAMPLE)]
    touching, objects = np.sum([count_touching(read_objects(file)) for file in some], axis=0).tolist()
    share = touching / max(objects, 1)
    return Choice(
        "/loss",
        BOUNDARY if share >= TOUCHING else None,
        f"{share:.0%} of the objects touch another: pixels between them weigh more, as in the U-Net paper; "
        "where areas count, not objects: cce_dice",
    )


def count_touching(objects: np.ndarray) -> tuple[int, int]:
    """Return `(objects that share an edge of a pixel with another, all objects)` of a label image `(height, width)`.

    >>> count_touching(np.array([[1, 2, 0, 3]]))
    (2, 3)
    """
    touching: set[int] = set()
    for first, second in ((objects[:, 1:], objects[:, :-1]), (objects[1:], objects[:-1])):
        meet = (first != second) & (first > 0) & (second > 0)
        touching.update(first[meet].tolist(), second[meet].tolist())
    return len(touching), len(np.unique(objects[objects > 0]))


def folder_of_objects(masks: str) -> Path:
    """The folder of label images beside a folder of masks.

    >>> folder_of_objects("/data/train/mask")
    PosixPath('/data/train/objects')
    """
    return Path(masks).resolve().parent / FOLDER
