"""Predictions with a mask of 0 and 1 for each class, in a folder of its name: PREDICT.MASK_VALUES=binary."""

import numpy as np
from omegaconf import DictConfig, ListConfig

from utils.base.class_bits import pack
from utils.base.errors import UserError
from utils.base.files import is_list_file, resolve_path, where_looked
from utils.config.class_names import has_background, mask_class_names
from utils.evaluation.mask_files import FolderMasks, Grid, MaskSet, find_mask_files
from utils.inference.writers.masks import class_folders


class OneClassMasks(FolderMasks):
    """The masks of one class, in which 1 is the class."""

    def checked(self, labels: np.ndarray, file: object) -> np.ndarray:
        extra = sorted(set(np.unique(labels).tolist()) - {0, 1})
        if extra:
            raise UserError(
                f"{file}: holds the value {', '.join(map(str, extra[:5]))}; with PREDICT.MASK_VALUES=binary a mask is "
                "1 where its class is, else 0. Masks that hold all classes are read with PREDICT.MASK_VALUES=classes."
            )
        return labels


class BinaryMasks(MaskSet):
    """Masks as `predict.py` writes them: `masks/<class>/<case>`.

    Raises:
        UserError: it is no folder, or the folder of a class is missing or empty.
    """

    def __init__(self, cfg: DictConfig, key: str, value: str) -> None:
        super().__init__(cfg, key, stored=False)
        if isinstance(value, ListConfig) or is_list_file(value):
            raise UserError(f"{key}: PREDICT.MASK_VALUES=binary takes a folder with a folder for each class, no list.")
        folder = resolve_path(cfg, value)
        if not folder.is_dir():
            raise UserError(f"{key}={value}: there is no such folder ({where_looked(cfg, value)}).")
        self.first_class = 1 if has_background(cfg) or self.multi_label else 0
        names = class_folders(mask_class_names(cfg))[self.first_class :]
        if (folder / "masks").is_dir() and not any((folder / name).is_dir() for name in names):
            folder /= "masks"
        missing = [name for name in names if not (folder / name).is_dir()]
        if missing:
            raise UserError(
                f"{key}: {folder} has no folder {', '.join(missing)}. PREDICT.MASK_VALUES=binary needs one for each "
                "class, named as in OUTPUT.CLASS_NAMES."
            )
        self.of_classes = {
            name: OneClassMasks(cfg, f"{key}/{name}", False, find_mask_files(cfg, str(folder / name), key))
            for name in names
        }
        self.names = {case: file for masks in self.of_classes.values() for case, file in masks.names.items()}

    def problem(self, name: str, grid: Grid) -> str | None:
        for masks in self.of_classes.values():
            if name not in masks.names:
                return f"{self.names[name]}: has no partner in {masks.key}."
            found = masks.problem(name, grid)
            if found is not None:
                return found
        return None

    def read(self, name: str, grid: Grid) -> np.ndarray:
        maps = np.stack([masks.read(name, grid) for masks in self.of_classes.values()], axis=-1)
        if self.multi_label:
            return pack(maps)
        several = maps.sum(axis=-1) > 1
        if several.any():
            of_pixel = maps[tuple(np.argwhere(several)[0])]
            both = [folder for folder, is_there in zip(self.of_classes, of_pixel, strict=True) if is_there]
            raise UserError(
                f"{self.names[name]}: {several.sum()} pixels are of several classes, such as {both[0]} and {both[1]}. "
                "Classes that overlap need OUTPUT.MULTI_LABEL=True."
            )
        nothing = maps.sum(axis=-1) == 0
        if self.first_class == 0 and nothing.any():
            raise UserError(f"{self.names[name]}: {nothing.sum()} pixels are of no class, and none is the background.")
        return (maps.argmax(axis=-1) + self.first_class * ~nothing).astype(np.uint8)
