"""The engine `tensorflow`: the knobs as TensorFlow graph operations, inside the tf.data pipeline.

All geometry of a sample, elastic deformation too, is one warp: bilinear for the image, the nearest pixel for the mask.
Knobs have the same meaning in every engine; the numbers drawn for a seed differ.
"""

from collections.abc import Mapping
from typing import ClassVar

import tensorflow as tf
from omegaconf import DictConfig

from data_generators.augmentation.knobs import GEOMETRY, KNOBS, MATRIX, TENSORFLOW_STREAM, AugmentationSettings
from data_generators.augmentation.tensorflow_geometry import (
    affine_matrix,
    elastic_field,
    foreground_box,
    source_coordinates,
    warp_affine,
    warp_by_coordinates,
)
from data_generators.augmentation.tensorflow_intensity import INTENSITY_CHANGES
from utils.base.errors import UserError

SEEDED = ("ELASTIC", "NOISE", "COARSE_DROPOUT")  # knobs that draw more than a few numbers, with a seed of their own
NUMBERS = 4  # drawn for each knob: whether it is on, and up to three values


class TensorFlowAugmentation:
    """Change image and mask of a sample, see `data_generators.augmentation.Augmentation`.

    Args:
        settings: the knobs.
    """

    in_graph: ClassVar[bool] = True

    def __init__(self, settings: AugmentationSettings) -> None:
        self.settings = settings

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "TensorFlowAugmentation | None":
        """The augmentation of a checked config, or None if it changes nothing.

        Raises:
            UserError: a knob that this engine does not have.
        """
        settings = AugmentationSettings.from_config(cfg)
        if settings is None:
            return None
        for name in settings.knobs:
            if name not in (*GEOMETRY, *INTENSITY_CHANGES):
                raise UserError(
                    f"AUGMENTATION.ENGINE=tensorflow has no AUGMENTATION.{name}: set its PROBABILITY to 0, or "
                    "AUGMENTATION.ENGINE=albumentations."
                )
        return cls(settings)

    def __call__(
        self, image: tf.Tensor, mask: tf.Tensor | None, epoch: tf.Tensor, position: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Change one sample; epoch and position are integers."""
        knobs = self.settings.knobs
        seed = sample_seed(self.settings.seed, epoch, position)
        # Numbers are drawn for all knobs, also those that are off: turning one on does not change what others do.
        numbers = tf.random.stateless_uniform([len(KNOBS), NUMBERS], seed, alg="philox")
        draws = {name: numbers[row, 1:] for row, name in enumerate(KNOBS)}
        is_on = {name: numbers[KNOBS.index(name), 0] < knob["PROBABILITY"] for name, knob in knobs.items()}
        seeds = {name: tf.random.experimental.stateless_fold_in(seed, row) for row, name in enumerate(SEEDED)}
        image, mask = self.move(image, mask, is_on, draws, seeds["ELASTIC"])
        for name in INTENSITY_CHANGES:
            if name in knobs:
                image = self.change_intensity(name, image, is_on[name], draws[name], seeds.get(name))
        return image, mask

    def change_intensity(
        self, name: str, image: tf.Tensor, on: tf.Tensor, draws: tf.Tensor, seed: tf.Tensor | None
    ) -> tf.Tensor:
        change, knob = INTENSITY_CHANGES[name], self.settings.knobs[name]
        return tf.cond(on, lambda: tf.clip_by_value(change(image, knob, draws, seed), 0.0, 1.0), lambda: image)

    def move(
        self,
        image: tf.Tensor,
        mask: tf.Tensor | None,
        is_on: Mapping[str, tf.Tensor],
        draws: Mapping[str, tf.Tensor],
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The geometry: one warp for all knobs that are on for this sample, none if none is."""
        settings = self.settings
        moving = [is_on[name] for name in MATRIX if name in is_on]
        if not moving and "ELASTIC" not in is_on:
            return image, mask
        size = tf.shape(image)[:2]
        dtype = None if mask is None else mask.dtype
        if mask is not None and dtype == tf.uint16:
            mask = tf.cast(mask, tf.int32)  # the warp takes no uint16
        images = [image] if mask is None else [image, mask]
        fill_values = [0, settings.mask_fill]

        def matrix():
            box = None if mask is None else foreground_box(mask, settings.ignore_label)
            return affine_matrix(settings.knobs, is_on, draws, size, box)

        def deformed():
            knob = settings.knobs["ELASTIC"]
            field = elastic_field(size, knob["DISPLACEMENT"], knob["SMOOTHNESS"], seed)
            return warp_by_coordinates(images, fill_values, settings.fill, source_coordinates(matrix(), field))

        def moved():
            return warp_affine(images, fill_values, settings.fill, matrix())

        def unchanged():
            return list(images)

        def moved_or_unchanged():
            return tf.cond(tf.reduce_any(moving), moved, unchanged) if moving else unchanged()

        warped = tf.cond(is_on["ELASTIC"], deformed, moved_or_unchanged) if "ELASTIC" in is_on else moved_or_unchanged()
        for after, before in zip(warped, images, strict=True):
            after.set_shape(before.shape)
        return warped[0], None if mask is None else tf.cast(warped[1], dtype)


def sample_seed(seed: int, epoch: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """The seed of a sample's stateless operations: int64 `(2,)`."""
    words = tf.constant([seed, TENSORFLOW_STREAM], tf.int64)
    for number in (epoch, position):
        words = tf.random.experimental.stateless_fold_in(words, tf.cast(number, tf.int64))
    return words
