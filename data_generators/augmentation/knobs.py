"""The knobs of the AUGMENTATION group, declared once for all engines. Their ranges are rules of the config."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

FLIPS = ("HORIZONTAL_FLIP", "VERTICAL_FLIP")
QUARTER_TURNS = ("ROTATE_90",)
AFFINE = ("ROTATION", "ZOOM", "SHEAR", "TRANSLATION")
MATRIX = FLIPS + QUARTER_TURNS + AFFINE  # what one matrix describes
GEOMETRY = (*MATRIX, "ELASTIC")  # moves pixels of image and mask
INTENSITY = (  # changes the image alone
    "BRIGHTNESS",
    "CONTRAST",
    "GAMMA",
    "NOISE",
    "BLUR",
    "COARSE_DROPOUT",
)
KNOBS = GEOMETRY + INTENSITY  # add new ones at the end: it is the order in which the engine `tensorflow` draws

# The last number of the seed of a sample. It keeps what an engine draws apart from what the others, and crops, draw.
ALBUMENTATIONS_STREAM, DALI_STREAM, TENSORFLOW_STREAM = 1, 2, 3

Knob = Mapping[str, Any]  # PROBABILITY and the values of a knob


@dataclass(frozen=True)
class AugmentationSettings:
    """The AUGMENTATION group, as engines take it.

    Attributes:
        knobs: those whose PROBABILITY is above 0, by name.
        seed: SEED of the config.
        fill: what lies beyond the edge of a moved image: "reflect" | "zero".
        ignore_label: value of the mask that is no class; with `fill="zero"` it fills the mask beyond the edge.
        policy: AUGMENTATION.ALBUMENTATIONS, a policy file that replaces the knobs, or None.
    """

    knobs: Mapping[str, Knob]
    seed: int
    fill: str = "reflect"
    ignore_label: int | None = None
    policy: str | None = None

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "AugmentationSettings | None":
        """The settings of a checked config, or None if it changes nothing."""
        group = cfg.AUGMENTATION
        values: dict[str, Any] = {name: OmegaConf.to_container(group[name]) for name in KNOBS}
        knobs = {name: knob for name, knob in values.items() if knob["PROBABILITY"] > 0}
        if not knobs and group.ALBUMENTATIONS is None:
            return None
        return cls(knobs, cfg.SEED, group.FILL, cfg.DATASET.IGNORE_LABEL, group.ALBUMENTATIONS)

    @property
    def mask_fill(self) -> int:
        """What fills the mask beyond the edge of a moved image, with `fill="zero"`."""
        return self.ignore_label or 0
