"""The foreign networks whose weights are known: how their files are told apart, which network here is the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from utils.base.errors import UserError
from utils.base.registry import load_object

Arrays = Mapping[str, np.ndarray]  # {name in the file: array}


class Pair(NamedTuple):
    """A module of theirs and the layer here that has its weights.

    Attributes:
        theirs: what the names of its arrays begin with, without the dot or slash.
        ours: name of the layer; of a layer of a backbone `encoder/<name>`.
        parts: where they concatenate the inputs in another order: their first input is our input `parts[0]`, ...
    """

    theirs: str
    ours: str
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Network:
    """What builds the network of a file here, and where its arrays go.

    Attributes:
        settings: {key: value}; all else is as by default.
        pairs: all modules that have weights.
        unused: regular expression of arrays that the network does not need.
        folded: arrays in place of those in the file, in which other arrays are contained.
    """

    settings: Mapping[str, Any]
    pairs: list[Pair]
    unused: str = r".*\.num_batches_tracked"
    folded: Arrays = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Layout:
    """A row of LAYOUTS.

    Attributes:
        name: of the network and where it is from.
        mark: regular expression of a name that only its files have.
        describe: "module:function", a function arrays -> Network; it raises a UserError for a variant that is not
            among the networks here.
        keras: whether arrays have the names and axes of Keras, not of PyTorch.
    """

    name: str
    mark: str
    describe: str
    keras: bool = False


HERE = "utils.checkpoints.foreign"
LAYOUTS = (
    Layout("Unet of segmentation_models.pytorch", r"decoder\.blocks\.0\.conv1\.0\.weight", f"{HERE}.smp:unet"),
    Layout(
        "UnetPlusPlus of segmentation_models.pytorch", r"decoder\.blocks\.x_0_0\.conv1\.", f"{HERE}.smp:unetplusplus"
    ),
    Layout("mateuszbuda/brain-segmentation-pytorch", r"encoder1\.enc1conv1\.weight", f"{HERE}.plain:mateuszbuda"),
    Layout("milesial/Pytorch-UNet", r"inc\.double_conv\.0\.weight", f"{HERE}.plain:milesial"),
    Layout("Unet of segmentation_models (Keras)", r"decoder_stage0b_conv/kernel", f"{HERE}.keras2:unet", keras=True),
    Layout("hamidriasat/UNet-3-Plus", r"batch_normalization\w*/gamma", f"{HERE}.keras2:unet3plus", keras=True),
)
WRAPPERS = ("module", "model", "net", "network")  # what DataParallel, Lightning and others put before the names


@dataclass(frozen=True)
class Foreign:
    """A file of foreign weights.

    Attributes:
        layout: what it is of.
        network: what that is here.
        arrays: {name: array}.
    """

    layout: Layout
    network: Network
    arrays: Arrays = field(repr=False)


def recognise(arrays: Arrays, source: object) -> Foreign:
    """Find out what arrays are of.

    Args:
        source: where they are from, for messages.

    Raises:
        UserError: of no network that is known, or of a variant that has no equal here; says which part.
    """
    arrays = without_wrapper(arrays)
    for layout in LAYOUTS:
        if any(re.fullmatch(f"{layout.mark}.*", name) for name in arrays):
            try:
                network: Network = load_object(layout.describe)(arrays)
                return Foreign(layout, network, {**arrays, **network.folded})
            except IndexError:
                raise UserError(f"The weights {source} have other axes than those of {layout.name}.") from None
            except KeyError as error:
                raise UserError(f"The weights {source} are not whole: {layout.name} has {error} too.") from None
            except UserError as error:
                raise UserError(f"The weights {source} are of {layout.name}, but {error}") from None
    raise UserError(
        f"The weights {source} are of no network that is known here (names like {', '.join(list(arrays)[:3])}). Known "
        f"are: {', '.join(layout.name for layout in LAYOUTS)}."
    )


def without_wrapper(arrays: Arrays) -> Arrays:
    """The same without a first part that all names share and that says nothing.

    >>> list(without_wrapper({"module.model.conv.weight": 1, "module.model.conv.bias": 2}))
    ['conv.weight', 'conv.bias']
    """
    first = {name.partition(".")[0] for name in arrays}
    if len(first) != 1 or not first <= {*WRAPPERS}:
        return arrays
    return without_wrapper({name.partition(".")[2]: array for name, array in arrays.items()})


def count(arrays: Arrays, pattern: str) -> int:
    """How many different groups a pattern finds at the start of the names.

    >>> count({"layer1.0.weight": 1, "layer1.0.bias": 1, "layer1.1.bias": 1}, r"layer1\\.(\\d+)")
    2
    """
    return len({found[1] for name in arrays if (found := re.match(pattern, name))})
