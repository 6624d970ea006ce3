"""Augmentation of training samples on the CPU: image and mask through one albumentations policy.

All that is random depends on SEED, the epoch and the position of the sample in it, so that every loader and a resumed
run give the same pictures.
"""

import itertools
import json
import math
import os
import random
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import yaml

from utils.base.errors import UserError
from utils.base.files import resolve_path

POLICIES = Path(__file__).parent / "policies"
WARP = ("ROTATION", "ZOOM", "SHEAR", "TRANSLATION")  # knobs that come together in one warp
STREAM = 1  # tells the random numbers of a sample's augmentation from those of its crop

# Knob -> (transform of albumentations, its arguments), without those of WARP, in the order they are applied: flips and
# quarter turns before the warp, the others after it.
BEFORE = {
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


def library():
    """albumentations; its import would ask the network for a newer version."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


class Augmentation:
    """Change image and mask of a sample; callable from several threads.

    Args:
        build: function () -> a policy of albumentations.
        seed: int.
        knobs: {name: knob} of those that are on; None for a policy file.
        fill: "reflect" | "zero".
    """

    def __init__(self, build, seed, knobs=None, fill="reflect"):
        self.build = build
        self.seed = seed
        self.knobs = knobs
        self.fill = fill
        self.idle = deque([build()])  # a policy holds the random state of the sample it works on: one for each thread

    @classmethod
    def from_config(cls, cfg):
        """The augmentation that the config asks for, or None.

        Raises:
            UserError: a policy that cannot be read, or that does not fit the images.
        """
        knobs = cfg.AUGMENTATION
        if knobs.ALBUMENTATIONS is None and not active_knobs(knobs):
            return None
        if knobs.ALBUMENTATIONS is None:
            fill = 0 if cfg.DATASET.IGNORE_LABEL is None else cfg.DATASET.IGNORE_LABEL
            values = {name: dict(knob) for name, knob in active_knobs(knobs).items()}
            augmentation = cls(lambda: knob_policy(values, knobs.FILL, fill), cfg.SEED, values, knobs.FILL)
        else:
            path = policy_path(cfg)
            augmentation = cls(lambda: read_policy(path), cfg.SEED)
            augmentation.try_on((cfg.INPUT.HEIGHT or 64, cfg.INPUT.WIDTH or 64, cfg.INPUT.CHANNELS), path)
        return augmentation

    def __call__(self, image, mask, epoch, position):
        """Change one sample.

        Args:
            image: uint8, or uint16, which becomes float32 in [0, 1], `(height, width, channels)`.
            mask: uint8 `(height, width)` or None.
            epoch, position: int.

        Returns:
            image and mask as they came, of the same shape.
        """
        if image.dtype == np.uint16:
            image = image.astype(np.float32) / 65535
        policy = self.take()
        words = np.random.SeedSequence([self.seed, epoch, position, STREAM]).generate_state(4)
        # One state for all transforms. set_random_seed would give each the same draws: all flip, or none does.
        policy.set_random_state(np.random.default_rng(words), random.Random(int(words[0])))
        found = policy(image=image) if mask is None else policy(image=image, mask=mask)
        self.idle.append(policy)
        changed = found["image"].reshape(image.shape)
        if changed.dtype == np.float32:
            changed = np.clip(changed, 0, 1)
        return changed, None if mask is None else found["mask"]

    def take(self):
        try:
            return self.idle.pop()
        except IndexError:
            return self.build()

    def try_on(self, shape, path):
        """Try every transform of a policy on an image of a shape.

        Raises:
            UserError: one does not go with it.
        """
        image, mask = np.full(shape, 128, np.uint8), np.zeros(shape[:2], np.uint8)
        for transform in leaves(self.build()):
            try:
                transform(force_apply=True, image=image, mask=mask)
            except Exception as error:  # any kind: whatever the library says about it
                raise UserError(
                    f"AUGMENTATION.ALBUMENTATIONS={path}: {type(transform).__name__} does not go with images of "
                    f"{'x'.join(map(str, shape))} (height x width x channels): {first_line(error)}"
                ) from None
        result = self.build()(image=image, mask=mask)
        if result["image"].shape[:2] != shape[:2] or result["mask"].shape != shape[:2]:
            raise UserError(
                f"AUGMENTATION.ALBUMENTATIONS={path}: makes {'x'.join(map(str, result['image'].shape[:2]))} of "
                f"{shape[0]}x{shape[1]}; a policy must keep the size. End it with Resize, or a crop."
            )


def active_knobs(knobs):
    """`{name: knob}` of those whose PROBABILITY is above 0."""
    return {name: knob for name, knob in knobs.items() if hasattr(knob, "keys") and knob.PROBABILITY > 0}


def knob_policy(knobs, fill, fill_mask):
    """The policy of the knobs.

    Args:
        knobs: {name: {"PROBABILITY": float, ...}}, those that are on.
        fill: "reflect" | "zero".
        fill_mask: int, value of the mask where the picture ends, for "zero".
    """
    A = library()
    edge = {"border_mode": cv2.BORDER_REFLECT_101 if fill == "reflect" else cv2.BORDER_CONSTANT, "fill_mask": fill_mask}

    def simple(table):
        for name, make in table.items():
            if name in knobs:
                kind, arguments = make(knobs[name])
                yield getattr(A, kind)(**arguments, p=knobs[name]["PROBABILITY"])

    geometry = [*simple(BEFORE), *one_warp(knobs, edge)]
    if "ELASTIC" in knobs:
        displacement, sigma = knobs["ELASTIC"]["DISPLACEMENT"], knobs["ELASTIC"]["SMOOTHNESS"]
        # Smoothing white noise with a Gaussian leaves 1 / (2 sqrt(pi) sigma) of its standard deviation, 1 / sqrt(3) for
        # even noise in [-1, 1]. (The library scales Gaussian noise by its largest value, which depends on the size.)
        alpha = displacement * 2 * math.sqrt(3 * math.pi) * sigma
        probability = knobs["ELASTIC"]["PROBABILITY"]
        geometry.append(
            A.ElasticTransform(alpha=alpha, sigma=sigma, noise_distribution="uniform", p=probability, **edge)
        )
    return A.Compose([*geometry, *simple(AFTER)])


def one_warp(knobs, edge):
    """Rotation, zoom, shear and translation, each with its own probability, as one choice among all combinations.

    Returns:
        list of no or one transform: interpolating once for each would blur the picture.
    """
    A = library()
    names = [name for name in WARP if name in knobs]
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
            choices.append(A.Affine(**warp_arguments(on), **edge, p=probability))
    return [A.OneOf(choices, p=1 - never)] if choices else []


def warp_arguments(knobs):
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


def policy_path(cfg):
    """The file that AUGMENTATION.ALBUMENTATIONS names."""
    name = cfg.AUGMENTATION.ALBUMENTATIONS
    shipped = POLICIES / f"{name}.yaml"
    path = shipped if shipped.is_file() else resolve_path(cfg, name)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in POLICIES.glob("*.yaml")))
        raise UserError(f"AUGMENTATION.ALBUMENTATIONS={name}: there is no file {path}. Shipped policies: {names}.")
    return path


def read_policy(path):
    """The policy of a file that albumentations wrote with `save`, JSON or YAML.

    Raises:
        UserError: the file cannot be read, or names anything but transforms of albumentations.
    """
    try:
        text = path.read_text(encoding="utf-8")
        described = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        policy = make_transform(described["transform"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"AUGMENTATION.ALBUMENTATIONS={path}: is not a policy of albumentations 2: {first_line(error)}"
        ) from None
    A = library()
    return policy if isinstance(policy, A.Compose) else A.Compose([policy])


def make_transform(described):
    """A transform from its description `{"__class_fullname__": ..., argument: value, "transforms": [...]}`."""
    A = library()
    arguments = dict(described)
    name = arguments.pop("__class_fullname__")
    kind = getattr(A, name.removeprefix("albumentations."), None)
    # Classes of albumentations alone: a file must not be able to name anything else.
    if not (isinstance(kind, type) and issubclass(kind, (A.BasicTransform, A.BaseCompose))):
        raise ValueError(f"{name} is not a transform of albumentations {A.__version__}.")
    if arguments.get("p", 1) is None:
        raise ValueError(f"{name} has an empty p.")
    if "transforms" in arguments:
        arguments["transforms"] = [make_transform(entry) for entry in arguments["transforms"]]
    if issubclass(kind, A.BasicTransform) and "p" not in arguments:
        raise ValueError(f"{name} has no probability p.")
    return kind(**arguments)


def leaves(policy):
    """The transforms of a policy, without those that only hold others."""
    for transform in policy.transforms:
        yield from leaves(transform) if hasattr(transform, "transforms") else [transform]


def first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pydantic's first line only counts its errors; the third says what is wrong.
    return " ".join(lines[:3]) if lines else type(error).__name__
