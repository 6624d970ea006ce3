"""Readers: from the files of a sample to its arrays, as a batch holds them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from data_generators.augmentation import Augmentation
from data_generators.files.class_labels import LabelledImage
from data_generators.files.image_file import ImageFile
from data_generators.files.pairing import Pair
from data_generators.reading.boundary_weights import boundary_weights
from data_generators.reading.numbered_masks import DTYPE, part
from data_generators.reading.samples import ReadSettings, read_pair


class Sample(Protocol):
    """What a sample is read from: a `Pair` or a `LabelledImage`."""

    @property
    def image(self) -> ImageFile: ...


class ArraySpec(NamedTuple):
    """Shape of one sample and type of a part of a batch; a side of None differs from sample to sample."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class SampleReader(ABC):
    """Reads the samples of a split, one at a time; loaders call it from several threads.

    Attributes:
        settings: how files are read, and which crop is taken.
        augmentation: what changes the samples, or None.
        image_dtype: type of the images in a batch. "float32": in [0, 1]; "uint8": as stored, all images have 8 bit.
    """

    settings: ReadSettings
    augmentation: Augmentation[Any] | None = None
    image_dtype: str = "float32"

    @abstractmethod
    def __call__(self, sample: Any, epoch: int, position: int) -> tuple[np.ndarray, ...]:
        """The arrays of a sample, the image uint8, uint16 or float32 in [0, 1].

        With a `graph_augmentation` only image and mask, of `moved_specs`: see `PairReader.finish`.
        """

    @property
    @abstractmethod
    def specs(self) -> list[ArraySpec]:
        """Shape and type of each part of a batch, the image first."""

    @property
    def moved_specs(self) -> list[ArraySpec]:
        """Of image and mask, while an augmentation of the loader moves them."""
        return self.specs[:2]

    @property
    def graph_augmentation(self) -> Augmentation[Any] | None:
        """The augmentation, if it is for the loader to apply in its tf.data pipeline; the reader applies others."""
        return self.augmentation if self.augmentation is not None and self.augmentation.in_graph else None

    @property
    def image_spec(self) -> ArraySpec:
        settings = self.settings
        dtype = self.image_dtype if self.graph_augmentation is None else "float32"
        return ArraySpec((settings.height, settings.width, settings.channels), dtype)

    def read_augmented(
        self, pair: Pair, epoch: int, position: int, objects: ImageFile | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Image and mask `(height, width)` of a pair, see `read_pair`, changed by an augmentation that takes arrays."""
        image, mask = read_pair(pair, self.settings, epoch, position, objects)
        if self.augmentation is None or self.augmentation.in_graph:
            return image, mask
        return self.augmentation(image, mask, epoch, position)


@dataclass(frozen=True, kw_only=True)
class PairReader(SampleReader):
    """Reads `(image, mask, boundary weights)` of a `Pair`, or only the first or the first two of them.

    Attributes:
        with_mask: whether to return more than the image.
        boundary: (w0, sigma) of `data_generators.reading.boundary_weights`, or None for no weights.
        objects: {image: label image of its true objects}, between which the weights are; empty: pieces of the mask.
    """

    with_mask: bool = True
    boundary: tuple[float, float] | None = None
    objects: Mapping[ImageFile, ImageFile] = field(default_factory=dict)

    def __call__(self, sample: Pair, epoch: int, position: int) -> tuple[np.ndarray, ...]:
        image, mask = self.read_augmented(sample, epoch, position, self.objects.get(sample.image))
        if not self.with_mask or mask is None:
            return (image,)
        mask = mask[:, :, np.newaxis]
        if self.boundary is None or self.graph_augmentation is not None:
            return image, mask
        return image, *self.finish(mask)

    def finish(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mask of a batch and its boundary weights, from an augmented mask; all `(height, width, 1)`."""
        assert self.boundary is not None
        mask, objects = part(mask) if self.objects else (mask, None)
        return mask, boundary_weights(mask, *self.boundary, self.settings.ignore_label, objects)

    @property
    def moved_specs(self) -> list[ArraySpec]:
        return [
            spec._replace(dtype=DTYPE) if self.objects and at == 1 else spec for at, spec in enumerate(self.specs[:2])
        ]

    @property
    def specs(self) -> list[ArraySpec]:
        mask_shape = (self.settings.height, self.settings.width, 1)
        specs = [self.image_spec, ArraySpec(mask_shape, self.settings.mask_dtype), ArraySpec(mask_shape, "float32")]
        return specs[:1] if not self.with_mask else specs[:2] if self.boundary is None else specs


@dataclass(frozen=True, kw_only=True)
class LabelReader(SampleReader):
    """Reads `(image, label)` of a `LabelledImage`, for a classifier: label float32 `(classes,)`, 1 for each label.

    Attributes:
        class_names: of all classes, in their order.
        classes: OUTPUT.CLASSES. With one class the label is 1 for the second of the two names.
    """

    class_names: Sequence[str]
    classes: int

    def __call__(self, sample: LabelledImage, epoch: int, position: int) -> tuple[np.ndarray, ...]:
        image, _ = self.read_augmented(Pair(sample.image, None), epoch, position)
        label = np.array([name in sample.labels for name in self.class_names], np.float32)
        return image, label[-self.classes :]

    @property
    def specs(self) -> list[ArraySpec]:
        return [self.image_spec, ArraySpec((self.classes,), "float32")]
