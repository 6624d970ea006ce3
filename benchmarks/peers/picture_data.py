"""Pairs of images and masks as a PyTorch user reads them: OpenCV, Albumentations, a DataLoader with processes."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

WORKERS = 2
cv2.setNumThreads(0)  # the processes share the cores

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Pairs(Dataset):
    """PNG or JPEG images of `folder/images` and the masks of the same names in `folder/mask`.

    Gives float32 images `(3, height, width)` in [-1, 1] and int64 masks `(height, width)`.

    Args:
        size: (height, width) that images are resized to, or None.
        multiple: of which height and width must be; images are padded at the bottom and on the right, masks with
            `ignored`.
        light: change images and masks as `configs/augmentation/light.yaml` says.
    """

    def __init__(
        self,
        folder: Path,
        size: tuple[int, int] | None = None,
        multiple: int = 1,
        ignored: int = 255,
        light: bool = False,
    ) -> None:
        masks = {path.stem: path for path in (folder / "mask").iterdir()}
        self.files = [(path, masks[path.stem]) for path in sorted((folder / "images").iterdir())]
        self.size, self.multiple, self.ignored = size, multiple, ignored
        self.change = light_changes(ignored) if light else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        image_file, mask_file = map(str, self.files[number])
        image = cv2.cvtColor(cv2.imread(image_file), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(mask_file, cv2.IMREAD_GRAYSCALE)
        if self.size and image.shape[:2] != self.size:
            image = cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask, self.size[::-1], interpolation=cv2.INTER_NEAREST)
        if self.change:
            image, mask = self.change(image, mask)
        bottom, right = (-side % self.multiple for side in mask.shape)
        if bottom or right:
            edges = (0, bottom, 0, right, cv2.BORDER_CONSTANT)
            image = cv2.copyMakeBorder(image, *edges, value=0)
            mask = cv2.copyMakeBorder(mask, *edges, value=self.ignored)
        scaled = image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
        return torch.from_numpy(scaled), torch.from_numpy(mask.astype(np.int64))


def light_changes(ignored: int) -> Change:
    """The augmentation `light`: flips, small rotations and zooms, brightness and contrast, in Albumentations."""
    import albumentations as library

    policy = library.Compose(
        [
            library.HorizontalFlip(p=0.5),
            library.Affine(
                rotate=(-10, 10), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), fill_mask=ignored, p=0.5
            ),
            library.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
        ]
    )

    def change(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = policy(image=image, mask=mask)
        return found["image"], found["mask"]

    return change


def batches(pairs: Dataset, batch: int, shuffle: bool = False) -> DataLoader:
    return DataLoader(pairs, batch, shuffle=shuffle, num_workers=WORKERS, persistent_workers=True)
