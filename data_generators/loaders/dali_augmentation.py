"""Augmentation of DALI_GENERATOR: numbers drawn with NumPy for each sample, operations of NVIDIA DALI that apply them.

One warp for all geometry, flips and quarter turns included, then the changes of intensity; there is no elastic
deformation. Knobs have the same meaning in every engine; the numbers drawn for a seed differ.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from data_generators.augmentation.keep_foreground import keep_in_frame
from data_generators.augmentation.knobs import DALI_STREAM, MATRIX, AugmentationSettings, Knob
from utils.base.errors import UserError
from utils.base.startup import quiet_stderr

if TYPE_CHECKING:
    from nvidia.dali.data_node import DataNode

# Knobs in the order in which numbers are drawn for them. The second group came later and is drawn last, so that the
# numbers of the first stayed as they were.
DRAW_ORDER = (
    ("HORIZONTAL_FLIP", "VERTICAL_FLIP", "ROTATION", "ZOOM", "SHEAR", "TRANSLATION", "BRIGHTNESS", "CONTRAST"),
    ("ROTATE_90", "GAMMA", "NOISE", "BLUR", "COARSE_DROPOUT"),
)
DALI_KNOBS = DRAW_ORDER[0] + DRAW_ORDER[1]


def library() -> tuple[ModuleType, ModuleType, type]:
    """DALI's operations, its types and its `Pipeline`.

    Raises:
        UserError: DALI is not installed.
    """
    try:
        with quiet_stderr():
            from nvidia.dali import fn, types
            from nvidia.dali.pipeline import Pipeline
    except ImportError:
        raise UserError(
            "DATA_GENERATOR_TYPE=DALI_GENERATOR needs NVIDIA DALI: pip install -r requirements-dali.txt (Linux on "
            "x86-64). Elsewhere use TF_GENERATOR, TF_DATA or TFRECORD."
        ) from None
    return fn, types, Pipeline


def missing_features(settings: AugmentationSettings) -> list[str]:
    """What the knobs ask for that DALI lacks, each with what to change."""
    missing = [
        f"AUGMENTATION.{name} (set its PROBABILITY to 0)" for name in sorted(set(settings.knobs) - set(DALI_KNOBS))
    ]
    if settings.fill != "zero":
        missing.append(f"AUGMENTATION.FILL={settings.fill} (set it to zero)")
    return missing


def draw_inputs(
    settings: AugmentationSettings,
    shape: tuple[int, int, int],
    epoch: int,
    position: int,
    box: np.ndarray | None = None,
) -> dict[str, np.ndarray | np.generic]:
    """Draw what the knobs do to one sample.

    Args:
        settings: the knobs and the seed.
        shape: (height, width, channels) of the image.
        epoch, position: of the sample.
        box: of its foreground, which ZOOM leaves in the frame, see `keep_foreground.foreground_box`.

    Returns:
        {name: array}, float32 or int32. "matrix" is float32 `(2, 3)`, coordinates in the result ->
        coordinates in the image, (x, y) in pixels from its corner; see INTENSITY_CHANGES for the others.
    """
    knobs = settings.knobs
    random = np.random.default_rng([settings.seed, epoch, position, DALI_STREAM])
    # Numbers are drawn for all knobs, also those that are off: turning one on does not change what others do.
    on: dict[str, bool] = {}
    uniform: dict[str, np.ndarray] = {}
    for names in DRAW_ORDER:
        on |= {name: random.random() < knobs.get(name, {"PROBABILITY": 0})["PROBABILITY"] for name in names}
        uniform |= {name: random.uniform(size=3) for name in names}

    def value(name, key, which=0, neutral=0.0):
        low, high = knobs[name][key] if on[name] else (neutral, neutral)
        return low + (high - low) * uniform[name][which]

    inputs: dict[str, np.ndarray | np.generic] = {}
    hole_random, noise_random = random.spawn(2)
    if knobs.keys() & set(MATRIX):
        inputs["matrix"] = affine_matrix(knobs, on, uniform, value, shape[:2], box)
    if "BRIGHTNESS" in knobs:
        inputs["shift"] = np.float32(255 * value("BRIGHTNESS", "SHIFT"))
    if "CONTRAST" in knobs:
        inputs["factor"] = np.float32(value("CONTRAST", "FACTOR", neutral=1.0))
    if "GAMMA" in knobs:
        inputs["exponent"] = np.float32(value("GAMMA", "EXPONENT", neutral=1.0))
    if "BLUR" in knobs:
        sigma = value("BLUR", "SIGMA", neutral=1.0)
        radius = math.ceil(3 * sigma) if on["BLUR"] else 0  # a window of one pixel changes nothing
        inputs |= {"sigma": np.float32(sigma), "window": np.int32(2 * radius + 1)}
    if "COARSE_DROPOUT" in knobs:
        holes = (
            draw_holes(knobs["COARSE_DROPOUT"], shape[:2], hole_random) if on["COARSE_DROPOUT"] else np.zeros((2, 0))
        )
        inputs |= dict(zip(("anchors", "extents"), holes.astype(np.float32), strict=True))
    if "NOISE" in knobs:
        # DALI's own noise would differ after a resumed run. A field without noise has full size too: DALI gets batches
        # wrong that hold both full fields and single pixels.
        field = noise_random.standard_normal(shape, np.float32) if on["NOISE"] else np.zeros(shape, np.float32)
        inputs["noise"] = np.float32(255 * value("NOISE", "STD")) * field
    return inputs


def affine_matrix(
    knobs: Mapping[str, Knob],
    on: Mapping[str, bool],
    uniform: Mapping[str, np.ndarray],
    value: Callable[..., float],
    size: Sequence[int],
    box: np.ndarray | None,
) -> np.ndarray:
    """The geometry that `draw_inputs` has drawn, as a matrix float32 `(2, 3)`."""
    zoom = value("ZOOM", "FACTOR", neutral=1.0)
    if on["ZOOM"]:
        low, high = knobs["ZOOM"]["FACTOR"]
        if low < 1 < high:  # both directions are equally likely
            out = uniform["ZOOM"][0] < 0.5
            share = 2 * uniform["ZOOM"][0] - (0 if out else 1)
            zoom = low + (1 - low) * share if out else 1 + (high - 1) * share
    angle = np.radians(value("ROTATION", "DEGREES"))
    shear = [np.tan(np.radians(value("SHEAR", "DEGREES", axis))) for axis in range(2)]
    pan = knobs["ZOOM"]["PAN"] if on["ZOOM"] else 0.0
    flips = [-1.0 if on[name] else 1.0 for name in ("HORIZONTAL_FLIP", "VERTICAL_FLIP")]
    quarters = int(4 * uniform["ROTATE_90"][0]) if on["ROTATE_90"] else 0
    height, width = size
    shift = np.array(
        [
            (value("TRANSLATION", "SHARE", axis) + pan * (2 * uniform["ZOOM"][1 + axis] - 1)) * side
            for axis, side in enumerate((width, height))
        ]
    )
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    quarter = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), quarters)
    linear = rotation @ np.array([[1, shear[0]], [shear[1], 1]]) @ quarter @ np.diag(flips)
    if on["ZOOM"] and box is not None:
        zoom, shift = keep_in_frame(linear, zoom, shift, box, (width, height))
    inverse, centre = np.linalg.inv(zoom * linear), np.array([width / 2, height / 2])
    return np.column_stack([inverse, centre - inverse @ (centre + shift)]).astype(np.float32)


def draw_holes(knob: Knob, size: Sequence[int], random: np.random.Generator) -> np.ndarray:
    """Corners and sizes of the holes of COARSE_DROPOUT: `(2, 2 * holes)`, (row, column) of each, in pixels."""
    count = random.integers(knob["HOLES"][0], knob["HOLES"][1] + 1)
    low, high = knob["SIZE"]
    shares = random.uniform(low, high, size=(count, 2))
    extents = np.maximum(np.round(shares * size), 1)
    anchors = np.floor(random.uniform(size=(count, 2)) * (size - extents + 1))
    return np.stack([anchors.ravel(), extents.ravel()])


class Drawn:
    """What `draw_inputs` has drawn, inside a pipeline: arguments of operators, or operands that are where the image is.

    Args:
        nodes: {name: input of the pipeline}, on the CPU.
        on_gpu: whether the image is on the GPU.
    """

    def __init__(self, nodes: "Mapping[str, DataNode]", on_gpu: bool) -> None:
        self.arguments, self.on_gpu = nodes, on_gpu

    def operand(self, name: str) -> "DataNode":
        node = self.arguments[name]
        return node.gpu() if self.on_gpu else node


def clamp(image: "DataNode", high: float = 255.0) -> "DataNode":
    from nvidia.dali import math as operations

    return operations.clamp(image, 0.0, high)


def brightness(image: "DataNode", drawn: Drawn) -> "DataNode":
    return clamp(image + drawn.operand("shift"))


def contrast(image: "DataNode", drawn: Drawn) -> "DataNode":
    return clamp(image * drawn.operand("factor"))


def gamma(image: "DataNode", drawn: Drawn) -> "DataNode":
    from nvidia.dali import math as operations

    return 255.0 * operations.pow(image / 255.0, drawn.operand("exponent"))


def noise(image: "DataNode", drawn: Drawn) -> "DataNode":
    return clamp(image + drawn.operand("noise"))


def blur(image: "DataNode", drawn: Drawn) -> "DataNode":
    """Gaussian blur; the image is mirrored at its edge."""
    fn, types, _ = library()
    sigma, window = drawn.arguments["sigma"], drawn.arguments["window"]
    return fn.gaussian_blur(image, sigma=sigma, window_size=window, dtype=types.FLOAT)


def coarse_dropout(image: "DataNode", drawn: Drawn) -> "DataNode":
    fn, _, _ = library()
    anchors, extents = drawn.arguments["anchors"], drawn.arguments["extents"]
    return fn.erase(image, anchor=anchors, shape=extents, axes=(0, 1), fill_value=0)


# In the order they are applied: knob -> function (image, what is drawn); values are 0 to 255
INTENSITY_CHANGES: dict[str, Callable] = {
    "BRIGHTNESS": brightness,
    "CONTRAST": contrast,
    "GAMMA": gamma,
    "NOISE": noise,
    "BLUR": blur,
    "COARSE_DROPOUT": coarse_dropout,
}
