"""Foreign weights in a network here: the arrays go by name, and each must fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig

from models import build_model
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.checkpoints.foreign.layouts import Foreign, Layout, Pair, recognise
from utils.checkpoints.paths import ENDING
from utils.config import load_config
from utils.config.overrides import assignment

if TYPE_CHECKING:
    import keras

HERE = "utils.checkpoints.foreign"
# Ending of a file -> function path -> {name: array}
READERS = {
    ".safetensors": f"{HERE}.safetensors:read_safetensors",
    ".pt": f"{HERE}.torch_file:read_torch",
    ".pth": f"{HERE}.torch_file:read_torch",
    ".h5": f"{HERE}.keras2_file:read_keras2",
    ".hdf5": f"{HERE}.keras2_file:read_keras2",
}
# Last part of the path of a variable here -> that of PyTorch
OF_PYTORCH = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Order of the axes of PyTorch's kernels here
CONV_AXES, DEPTHWISE_AXES = (2, 3, 1, 0), (2, 3, 0, 1)  # a transposed convolution has its axes exchanged in both


def is_foreign(path: Path) -> bool:
    """Whether the ending of a file is one of other programs."""
    return path.suffix in READERS and not path.name.endswith(ENDING)


def check_ending(path: Path) -> None:
    """Refuse a file that is not there, or whose ending is not that of weights of other programs.

    Raises:
        UserError: lists the endings.
    """
    if not is_foreign(path):
        raise UserError(f"{path}: weights of other programs end in {', '.join(READERS)}.")
    if not path.is_file():
        raise UserError(f"There is no {path}.")


def read_foreign(path: Path) -> Foreign:
    """The arrays of a file and what they are of. Imports no Keras.

    Raises:
        UserError: it is refused or damaged, or of no network that is known.
    """
    return recognise(load_object(READERS[path.suffix])(path), path)


def settings_of(foreign: Foreign) -> DictConfig:
    """The checked config of the network that has these weights."""
    return load_config(overrides_of(foreign))


def overrides_of(foreign: Foreign) -> list[str]:
    """The settings of that network as they are typed.

    >>> from utils.checkpoints.foreign.layouts import Layout, Network
    >>> network = Network({"MODEL.TYPE": "unet", "MODEL.FILTERS": [4, 8]}, [])
    >>> overrides_of(Foreign(Layout("", "", ""), network, {}))
    ['MODEL.TYPE=unet', 'MODEL.FILTERS=[4,8]']
    """
    return [assignment(key, value) for key, value in foreign.network.settings.items()]


def build_foreign(foreign: Foreign, path: Path) -> keras.Model:
    """The network with these weights.

    Args:
        path: of the file, for messages.

    Raises:
        UserError: an array is missing, has another shape or no place here; names it.
    """
    network = build_model(settings_of(foreign), pretrained=False, any_size=True)
    layers = dict(load_object("models.freeze:layers_with_weights")(network))
    used: set[str] = set()
    try:
        for pair in foreign.network.pairs:
            if pair.ours not in layers:
                raise ValueError(f"{pair.theirs} has no place")
            used |= fill(layers.pop(pair.ours), pair, foreign, input_parts(network, pair))
    except ValueError as error:
        raise UserError(f"The weights {path} are not those of {foreign.layout.name}: {error}.") from None
    if layers:
        raise UserError(f"The weights {path} hold nothing for {next(iter(layers))} of {foreign.layout.name}.")
    more = [name for name in foreign.arrays if name not in used and not re.fullmatch(foreign.network.unused, name)]
    if more:
        raise UserError(
            f"The weights {path} are of a variant of {foreign.layout.name} that is not built here: {len(more)} arrays "
            f"have no place, {', '.join(more[:3])} first."
        )
    return network


def input_parts(network: keras.Model, pair: Pair) -> list[int]:
    """Channels of the maps whose concatenation a layer takes, where their order differs."""
    if not pair.parts:
        return []
    concat = network.get_layer(re.sub(r"(_\d)?_conv$", "_concat", pair.ours))
    return [tensor.shape[-1] for tensor in concat.input]


def fill(layer: keras.layers.Layer, pair: Pair, foreign: Foreign, parts: Sequence[int]) -> set[str]:
    """Give a layer its arrays; return their names.

    Raises:
        ValueError: an array is missing or has another shape.
    """
    import keras

    used = set()
    for variable in layer.weights:
        kind = variable.path.rpartition("/")[2]
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D) and kind == "kernel"
        name = name_of(pair, f"depthwise_{kind}" if depthwise else kind, foreign.layout)
        if name not in foreign.arrays:
            raise ValueError(f"{name} is missing")
        value = np.asarray(foreign.arrays[name])
        if kind == "kernel" and not foreign.layout.keras:
            if value.ndim != 4:
                raise ValueError(f"{name} has {value.ndim} axes, not 4")
            value = value.transpose(DEPTHWISE_AXES if depthwise else CONV_AXES)
        if value.shape != tuple(variable.shape):
            sides = ["x".join(map(str, shape)) for shape in (value.shape, variable.shape)]
            raise ValueError(f"{name} is {sides[0]} (height x width x inputs x outputs), not {sides[1]}")
        if parts and kind == "kernel":
            value = reorder(value, pair.parts, parts)
        variable.assign(value.astype(np.float32))
        used.add(name)
    return used


def name_of(pair: Pair, kind: str, layout: Layout) -> str:
    """The name there of an array of a layer.

    >>> name_of(Pair("conv1", "encoder/conv1_conv"), "kernel", Layout("", "", ""))
    'conv1.weight'
    """
    return f"{pair.theirs}/{kind}" if layout.keras else f"{pair.theirs}.{OF_PYTORCH[kind]}"


def reorder(kernel: np.ndarray, order: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """A kernel `(height, width, channels, filters)` for maps that are concatenated as here.

    Args:
        order: the first map there is map `order[0]` here, and so on.
        sizes: channels of the maps here.

    >>> reorder(np.arange(3.0).reshape(1, 1, 3, 1), (1, 0), (1, 2)).ravel().tolist()
    [2.0, 0.0, 1.0]
    """
    ends = np.cumsum([sizes[place] for place in order])[:-1]
    there = np.split(kernel, ends, axis=2)
    return np.concatenate([there[order.index(place)] for place in range(len(sizes))], axis=2)
