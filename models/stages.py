"""The stages of a built model, read from its graph: what the U of its paper shows as boxes and arrows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

STAGE = re.compile(r"(encoder|decoder)(\d+)(?:_column(\d+))?(?=_|$)")  # how encoders and decoders name their layers
IMAGE, ENCODER, DECODER, OUTPUT = "image", "encoder", "decoder", "output"


@dataclass
class Stage:
    """A box: all layers of one encoder map, one decoder node or one output.

    Attributes:
        name: `encoder4`, `decoder4`, `decoder4_column1`; of the input `image`, of an output its own name.
        kind: IMAGE, ENCODER, DECODER or OUTPUT.
        stride: pixels of the image per pixel of the map; 1 of image and outputs.
        column: of a nested decoder (UNet++), else None.
        shape: `(height, width, channels)`; `(classes,)` of a label.
        parameters: of its layers.
        sources: names of the stages it takes, in the order in which it takes them.
    """

    name: str
    kind: str
    stride: int = 1
    column: int | None = None
    shape: tuple[int, ...] = ()
    parameters: int = 0
    sources: list[str] = field(default_factory=list)

    def take(self, source: str) -> None:
        """Note where an input comes from."""
        if source != self.name and source not in self.sources:
            self.sources.append(source)


def stages_of(model: keras.Model) -> dict[str, Stage]:
    """Group the layers of a model by stage.

    Args:
        model: of `build_model`, for images of a known size.

    Returns:
        {name: Stage}, from the image to the outputs.

    >>> from models import build_model
    >>> from utils.config import load_config
    >>> stages = stages_of(build_model(load_config(["MODEL.TYPE=unet", "MODEL.FILTERS=[4,6,8]"]), size=(32, 32)))
    >>> list(stages)
    ['image', 'encoder1', 'encoder2', 'encoder4', 'decoder2', 'decoder1', 'mask']
    >>> stages["decoder1"].sources, stages["decoder1"].shape
    (['decoder2', 'encoder1'], (32, 32, 4))
    """
    inputs = {entry["name"]: list(sources_in(entry)) for entry in model.get_config()["layers"]}
    names = name_stages(model, inputs)
    stages: dict[str, Stage] = {}
    for name, incoming in inputs.items():
        operation = model.get_layer(name) if any(layer.name == name for layer in model.layers) else None
        sources = [names[layer][index] for layer, index in incoming]
        if isinstance(operation, keras.Model):
            add_backbone(stages, operation, names[name], sources)
            continue
        stage = stages.setdefault(names[name][0], new_stage(names[name][0], model))
        for source in sources:
            stage.take(source)
        if operation is not None:
            stage.shape = operation.output.shape[1:]
            stage.parameters += operation.count_params()
    return stages


def sources_in(entry: Any) -> Iterator[tuple[str, int]]:
    """`(layer, index of its output)` of every tensor that a layer takes, by its entry in the config of the model."""
    nodes = entry["inbound_nodes"][:1]
    found = list(histories(nodes))
    # The second input of MatchSize only says how large the first shall be.
    yield from found[:1] if entry["class_name"] == "MatchSize" else found


def histories(value: Any) -> Iterator[tuple[str, int]]:
    """The same, anywhere in nested lists and dicts."""
    if isinstance(value, dict):
        if "keras_history" in value:
            layer, _, index = value["keras_history"]
            yield layer, index
        for entry in value.values():
            yield from histories(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from histories(entry)


def name_stages(model: keras.Model, inputs: dict[str, list[tuple[str, int]]]) -> dict[str, list[str]]:
    """{layer: name of the stage of each of its outputs}. A layer of no stage is part of the one that takes it first."""
    consumer = {source: layer for layer in reversed(inputs) for source, _ in inputs[layer]}
    backbones = {layer.name: layer for layer in model.layers if isinstance(layer, keras.Model)}
    outputs = sorted(model.output, key=len, reverse=True)
    names: dict[str, list[str]] = {}
    for layer in reversed(inputs):
        match = STAGE.match(layer)
        if not inputs[layer]:
            names[layer] = [IMAGE]
        elif layer in backbones:
            height = model.input_shape[1]
            strides = [round(height / tensor.shape[1]) for tensor in backbones[layer].outputs]
            names[layer] = [f"{ENCODER}{1 << (stride - 1).bit_length()}" for stride in strides]
        elif match:
            names[layer] = [match.group()]
        else:
            output = next((name for name in outputs if layer == name or layer.startswith(f"{name}_")), None)
            names[layer] = [output or names[consumer[layer]][0]]
    return names


def new_stage(name: str, model: keras.Model) -> Stage:
    """An empty stage of that name."""
    match = STAGE.fullmatch(name)
    if match:
        kind, stride, column = match.groups()
        return Stage(name, kind, int(stride), None if column is None else int(column))
    return Stage(name, IMAGE if name == IMAGE else OUTPUT)


def add_backbone(stages: dict[str, Stage], backbone: keras.Model, names: list[str], sources: list[str]) -> None:
    """Add the stages of a pretrained encoder, which is one layer; each has the layers that no finer one needs."""
    counted: set[str] = set()
    shown: set[str] = set()
    before = sources
    for name, tensor in zip(names, backbone.outputs, strict=True):
        needed = keras.Model(backbone.inputs, tensor).layers
        new = [layer for layer in needed if layer.name not in counted]
        counted |= {layer.name for layer in new}
        stage = stages.setdefault(name, new_stage(name, backbone))
        if name not in shown:  # of two maps of a stride the first is the skip
            stage.shape = tensor.shape[1:]
        shown.add(name)
        stage.parameters += sum(layer.count_params() for layer in new)
        for source in before:
            stage.take(source)
        before = [name]
