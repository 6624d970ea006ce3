"""The engine `albumentations`: the knobs, or a policy file, as one albumentations policy that runs on the CPU."""

import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from omegaconf import DictConfig

from data_generators.augmentation.keep_foreground import foreground_box, keep_in_frame
from data_generators.augmentation.knobs import AFFINE, ALBUMENTATIONS_STREAM, AugmentationSettings, Knob
from data_generators.augmentation.policy_files import check_policy, library, policy_path, read_policy

if TYPE_CHECKING:
    import albumentations

Table = Mapping[str, Callable[[Knob], tuple[str, dict[str, Any]]]]

# Knob -> function (knob) -> (transform of albumentations, its arguments), in the order they are applied: flips and
# quarter turns before the affine and elastic transforms, changes of intensity after them.
BEFORE: Table = {
    "HORIZONTAL_FLIP": lambda knob: ("HorizontalFlip", {}),
    "VERTICAL_FLIP": lambda knob: ("VerticalFlip", {}),
    "ROTATE_90": lambda knob: ("RandomRotate90", {}),
}
AFTER = {
    "BRIGHTNESS": lambda knob: (
        "RandomBrightnessContrast",
        {"brightness_limit": knob["SHIFT"], "contrast_limit": (0, 0)},
    ),
    "CONTRAST": lambda knob: (
        "RandomBrightnessContrast",
        {"brightness_limit": (0, 0), "contrast_limit": [factor - 1 for factor in knob["FACTOR"]]},
    ),
    "GAMMA": lambda knob: ("RandomGamma", {"gamma_limit": [100 * exponent for exponent in knob["EXPONENT"]]}),
    "NOISE": lambda knob: ("GaussNoise", {"std_range": knob["STD"]}),
    "BLUR": lambda knob: ("GaussianBlur", {"blur_limit": 0, "sigma_limit": knob["SIGMA"]}),
    "COARSE_DROPOUT": lambda knob: (
        "CoarseDropout",
        {"num_holes_range": knob["HOLES"], "hole_height_range": knob["SIZE"], "hole_width_range": knob["SIZE"]},
    ),
}


class AlbumentationsAugmentation:
    """Change image and mask of a sample, see `data_generators.augmentation.Augmentation`.

    Args:
        settings: the knobs.
        build: function () -> a policy of albumentations.
    """

    in_graph: ClassVar[bool] = False

    def __init__(self, settings: AugmentationSettings, build: Callable[[], "albumentations.Compose"]) -> None:
        self.settings = settings
        self.build = build
        # A policy holds the random state of the sample it works on: each thread takes one of its own.
        self.idle = deque([build()])

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "AlbumentationsAugmentation | None":
        """The augmentation of a checked config, or None if it changes nothing.

        Raises:
            UserError: the policy file cannot be read, or does not fit the images.
        """
        settings = AugmentationSettings.from_config(cfg)
        if settings is None:
            return None
        if settings.policy is None:
            return cls(settings, lambda: knob_policy(settings))
        path = policy_path(cfg)
        augmentation = cls(settings, lambda: read_policy(path))
        check_policy(augmentation.build(), (cfg.INPUT.HEIGHT or 64, cfg.INPUT.WIDTH or 64, cfg.INPUT.CHANNELS), path)
        return augmentation

    def __call__(
        self, image: np.ndarray, mask: np.ndarray | None, epoch: int, position: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Change one sample; a uint16 image becomes float32 in [0, 1]."""
        if image.dtype == np.uint16:
            image = image.astype(np.float32) / 65535
        policy = self.take_policy()
        seed = [self.settings.seed, epoch, position, ALBUMENTATIONS_STREAM]
        words = np.random.SeedSequence(seed).generate_state(4)
        # One state for all transforms. set_random_seed would give each the same draws: all flip, or none does.
        policy.set_random_state(np.random.default_rng(words), random.Random(int(words[0])))
        movable = mask if mask is None or mask.dtype != np.int32 else mask.astype(np.float32)  # OpenCV moves no int32
        result = policy(image=image) if mask is None else policy(image=image, mask=movable)
        self.idle.append(policy)
        changed = result["image"].reshape(image.shape)
        if changed.dtype == np.float32:
            changed = np.clip(changed, 0, 1)
        return changed, None if mask is None else result["mask"].astype(mask.dtype, copy=False)

    def take_policy(self) -> "albumentations.Compose":
        try:
            return self.idle.pop()
        except IndexError:
            return self.build()


def knob_policy(settings: AugmentationSettings) -> "albumentations.Compose":
    """The policy of the knobs."""
    knobs = settings.knobs
    edge = {
        "border_mode": cv2.BORDER_REFLECT_101 if settings.fill == "reflect" else cv2.BORDER_CONSTANT,
        "fill_mask": settings.mask_fill,
    }
    return library().Compose(
        [
            *simple(BEFORE, knobs),
            *affine(knobs, edge, settings.ignore_label),
            *elastic(knobs, edge),
            *simple(AFTER, knobs),
        ]
    )


def simple(table: Table, knobs: Mapping[str, Knob]) -> Iterator["albumentations.BasicTransform"]:
    """The transforms of a table for the knobs that are on."""
    for name, make in table.items():
        if name in knobs:
            kind, arguments = make(knobs[name])
            yield getattr(library(), kind)(**arguments, p=knobs[name]["PROBABILITY"])


def affine(
    knobs: Mapping[str, Knob], edge: Mapping[str, int], ignore_label: int | None
) -> list["albumentations.OneOf"]:
    """Rotation, zoom, shear and translation, each with its own probability, as one choice among all combinations.

    One transform for all of them: interpolating once for each would blur the image.
    """
    A = library()
    names = [name for name in AFFINE if name in knobs]
    choices, never = [], 1.0
    for chosen in itertools.product((False, True), repeat=len(names)):
        is_on = dict(zip(names, chosen, strict=True))
        probability = math.prod(
            knobs[name]["PROBABILITY"] if on else 1 - knobs[name]["PROBABILITY"] for name, on in is_on.items()
        )
        if not any(chosen):
            never = probability
        elif probability > 0:
            on = {name: knobs[name] for name in names if is_on[name]}
            keep = "ZOOM" in on and on["ZOOM"].get("KEEP_FOREGROUND") is not False
            kind = keeping_affine(ignore_label) if keep else A.Affine
            choices.append(kind(**affine_arguments(on), **edge, p=probability))
    return [A.OneOf(choices, p=1 - never)] if choices else []


@cache
def keeping_affine(ignore_label: int | None) -> type["albumentations.Affine"]:
    """A class: Affine whose zoom leaves the foreground of the mask in the frame."""

    class KeepingAffine(library().Affine):  # type: ignore[misc]
        def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
            drawn = super().get_params_dependent_on_data(params, data)
            box = foreground_box(data["mask"].astype(np.int32), ignore_label) if "mask" in data else None
            if box is not None:
                drawn["matrix"] = keep_box(drawn["matrix"], drawn["scale"]["x"], box, params["shape"][1::-1])
            return drawn

    return KeepingAffine


def keep_box(matrix: np.ndarray, zoom: float, box: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """A matrix `(3, 3)`, (x, y) in the image -> in the result, as `keep_in_frame` has it; `sides` (width, height)."""
    linear, centre = matrix[:2, :2] / zoom, (np.array(sides) - 1) / 2
    zoom, shift = keep_in_frame(linear, zoom, matrix[:2, :2] @ centre + matrix[:2, 2] - centre, box, sides)
    kept = matrix.copy()
    kept[:2, :2] = zoom * linear
    kept[:2, 2] = centre + shift - kept[:2, :2] @ centre
    return kept


def affine_arguments(knobs: Mapping[str, Knob]) -> dict[str, Any]:
    """Arguments of albumentations' Affine for the knobs of one combination."""
    low, high = knobs["TRANSLATION"]["SHARE"] if "TRANSLATION" in knobs else (0, 0)
    pan = knobs["ZOOM"]["PAN"] if "ZOOM" in knobs else 0
    scale = tuple(knobs["ZOOM"]["FACTOR"]) if "ZOOM" in knobs else (1, 1)
    return {
        "rotate": tuple(knobs["ROTATION"]["DEGREES"]) if "ROTATION" in knobs else (0, 0),
        "scale": scale,
        "keep_ratio": True,
        "balanced_scale": scale[0] < 1 < scale[1],
        "shear": tuple(knobs["SHEAR"]["DEGREES"]) if "SHEAR" in knobs else (0, 0),
        "translate_percent": (low - pan, high + pan),
    }


def elastic(knobs: Mapping[str, Knob], edge: Mapping[str, int]) -> list["albumentations.ElasticTransform"]:
    """The elastic deformation, if it is on."""
    if "ELASTIC" not in knobs:
        return []
    displacement, sigma = knobs["ELASTIC"]["DISPLACEMENT"], knobs["ELASTIC"]["SMOOTHNESS"]
    # A Gaussian filter leaves 1 / (2 sqrt(pi) sigma) of the standard deviation of white noise, which is 1 / sqrt(3) for
    # uniform noise in [-1, 1]. (The library scales Gaussian noise by its largest value, which depends on the size.)
    alpha = displacement * 2 * math.sqrt(3 * math.pi) * sigma
    return [
        library().ElasticTransform(
            alpha=alpha, sigma=sigma, noise_distribution="uniform", p=knobs["ELASTIC"]["PROBABILITY"], **edge
        )
    ]
