"""Images and TIFF stacks as prediction reads them."""

from pathlib import Path

import cv2
import numpy as np

from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.files.neighbours import with_neighbours
from data_generators.files.pairing import Pair
from data_generators.reading.decoding import decode_image
from data_generators.reading.headers import read_whole
from data_generators.reading.masks import read_mask_as
from data_generators.reading.orientation import is_turned
from data_generators.reading.samples import check_sizes, read_image_as, scaled_by_volume
from data_generators.reading.tiff_pages import pages_of
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.inference.sources import Source, SourceSettings
from utils.inference.writers.png import write_png


class ImageSource(Source):
    """One image file, with its mask file or None."""

    def __init__(self, path: ImageFile, mask: ImageFile | None = None) -> None:
        super().__init__(path)
        self.mask = mask

    def open(self, settings: SourceSettings) -> None:
        self.settings = settings.images
        if self.settings.around and not isinstance(self.path, ImageParts):
            raise UserError(
                f"{self.path}: the network takes slices with {self.settings.around} neighbours on either side "
                "(DATASET.SLICES_AROUND). Give it volumes, or the folder of all slices to predict.py."
            )

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        settings = self.settings
        if isinstance(self.path, ImageParts):
            image = read_image_as(self.path, settings)
        else:
            data = read_whole(self.path)
            image = decode_image(
                self.path, data, settings.channels, settings.value_range, settings.turned, settings.bands
            )
            image = scaled_by_volume(self.path, image, settings)
            self.is_turned = not settings.turned and is_turned(data)
        truth = None if self.mask is None else read_mask_as(self.mask, self.settings)
        if truth is not None and truth.shape != image.shape[:2]:
            check_sizes(Pair(self.path, self.mask), image.shape[:2], truth, self.settings)
        return image, truth

    def save_mask(self, path: Path, labels: list[np.ndarray]) -> None:
        write_png(path, labels[0])


class StackSource(Source):
    """A TIFF file with several pages, each an image; and one with a mask for each page, or None."""

    ending = ".tif"
    is_series = True
    path: Path

    def __init__(self, path: Path, mask: Path | None = None) -> None:
        super().__init__(path)
        self.mask = mask

    def open(self, settings: SourceSettings) -> None:
        self.settings = settings.images
        self.pages = pages_of(self.path)
        self.images, _ = with_neighbours(self.pages, self.settings.around)
        self.frames = len(self.pages)
        self.masks = None if self.mask is None else pages_of(self.mask)
        if self.masks is not None and len(self.masks) != self.frames:
            raise UserError(f"{self.mask}: has {len(self.masks)} pages, {self.path.name} has {self.frames}.")

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        image = read_image_as(self.images[index], self.settings)
        if self.masks is None:
            return image, None
        truth = read_mask_as(self.masks[index], self.settings)
        if truth.shape != image.shape[:2]:
            check_sizes(Pair(self.pages[index], self.masks[index]), image.shape[:2], truth, self.settings)
        return image, truth

    def save_mask(self, path: Path, labels: list[np.ndarray]) -> None:
        save_tiff(path, labels)


def save_tiff(path: Path, pages: list[np.ndarray]) -> None:
    """Write a TIFF file with a page for each `(height, width)`, uint8, uint16 or int32.

    Raises:
        UserError: OpenCV cannot write it.
    """
    with atomic_write(path, sync=False) as temporary:
        if not cv2.imwritemulti(str(temporary), pages):
            raise UserError(f"Cannot write {path}.")
