"""Cross-validation: `DATASET.FOLD` selects the lists of files of one fold in the folder `DATASET.FOLDS`.

`data_preparation/split.py --folds 5` writes that folder: `fold0_train_images.txt`, `fold0_train_masks.txt`,
`fold0_val_images.txt`, `fold0_val_masks.txt`, `fold1_train_images.txt`, ... A run of a fold
writes to a folder of its own, `fold0`, below each output path. Imports neither TensorFlow nor Keras.
"""

from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.keys import Role
from utils.config.overrides import override_key
from utils.config.schema import keys_with_role

ALL = "all"
LISTS = {"IMAGES_PATH": "images", "MASK_PATH": "masks"}


def list_name(fold: int | None, split: str, kind: str) -> str:
    """The name of a list: `fold0_train_images.txt`, or without folds (None) `train_images.txt`."""
    return f"{'' if fold is None else f'fold{fold}_'}{split}_{kind}.txt"


def count_folds(cfg: DictConfig) -> int:
    """How many folds the folder DATASET.FOLDS holds.

    Raises:
        UserError: it is not set, or holds none.
    """
    value = cfg.DATASET.FOLDS
    if value is None:
        raise UserError(
            "DATASET.FOLD needs DATASET.FOLDS, the folder that data_preparation/split.py --folds wrote its lists to."
        )
    folder, count = resolve_path(cfg, value), 0
    while (folder / list_name(count, "train", "images")).is_file():
        count += 1
    if not count:
        raise UserError(
            f"DATASET.FOLDS={value}: there is no {folder / list_name(0, 'train', 'images')}. Write the lists with "
            "python data_preparation/split.py IMAGES MASKS --folds 5."
        )
    return count


def apply_fold(cfg: DictConfig) -> None:
    """Fill in what DATASET.FOLD stands for: the lists of training and validation, and the folders to write to.

    Does nothing if FOLD is null or "all". A path from the command line stays.

    Raises:
        UserError: no such fold.
    """
    fold = cfg.DATASET.FOLD
    if fold is None or fold == ALL:
        return
    count = count_folds(cfg)
    if not 0 <= fold < count:
        raise UserError(f"DATASET.FOLD={fold} is not among the folds 0 to {count - 1} of DATASET.FOLDS.")
    typed = {override_key(override) for override in cfg.OVERRIDES}
    for split in ("train", "val"):
        for key, kind in LISTS.items():
            if f"DATASET.{split.upper()}.{key}" not in typed:
                cfg.DATASET[split.upper()][key] = f"{cfg.DATASET.FOLDS}/{list_name(fold, split, kind)}"
    for key in keys_with_role(Role.OUTPUT):
        path = OmegaConf.select(cfg, key)
        if path is not None:
            OmegaConf.update(cfg, key, f"{path.rstrip('/')}/fold{fold}")


def fold_configs(cfg: DictConfig) -> list[DictConfig]:
    """The config of each fold, in order, for a config with DATASET.FOLD=all; else the config itself.

    To pool folds, evaluate each with its own weights on its own validation list and join the images: each image is
    then scored once, by a model that never saw its volume.

    Args:
        cfg: config from `load_config`, before `restore_config`.
    """
    if cfg.DATASET.FOLD != ALL:
        return [cfg]
    configs = []
    for fold in range(count_folds(cfg)):
        one = cfg.copy()
        one.DATASET.FOLD = fold
        one.OVERRIDES = [
            *(override for override in cfg.OVERRIDES if override_key(override) != "DATASET.FOLD"),
            f"DATASET.FOLD={fold}",
        ]
        apply_fold(one)
        configs.append(one)
    return configs
