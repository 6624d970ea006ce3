"""OPTIMIZATION.RECOMPUTE on TensorFlow: a training step that keeps fewer maps for its backward pass.

The outputs of layers that multiply (convolutions, dense layers) are kept. All else between them, such as normalisation,
activation, pooling and concatenation, costs little: it is done again where a gradient needs it, which saves about every
second map. Training deep nets with sublinear memory cost: Chen et al., arXiv:1604.06174.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from utils.inference.forward import in_unit_range

IMAGE = 0  # place of the input; that of any other map is the id of the symbolic tensor


class Step(NamedTuple):
    """A call of a layer in the graph of a network: from the maps at some places to those at others."""

    operation: keras.Operation
    node: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def __call__(self, values: dict[int, Any]) -> None:
        """Add the outputs to `{place: map}`."""
        maps = {id(x): values[place] for x, place in zip(self.node.input_tensors, self.inputs, strict=True)}
        args, kwargs = self.node.arguments.fill_in(maps)
        if "training" in inspect.signature(self.operation.call).parameters:
            kwargs["training"] = True
        found = keras.tree.flatten(self.operation(*args, **kwargs))
        values.update(zip(self.outputs, found, strict=True))

    @property
    def multiplies(self) -> bool:
        """Whether it has a kernel, so that doing it again would cost as much as before."""
        return any(len(weight.shape) > 1 for weight in getattr(self.operation, "weights", ()))


@dataclass
class Group:
    """Steps of which only the last one's outputs are seen from outside.

    Attributes:
        inputs: places of the maps that come from outside.
        weights: variables that get gradients; states: all other variables, moving averages and seeds.
        is_kept: whether the outputs are kept for the backward pass.
    """

    steps: list[Step]
    is_kept: bool
    inputs: list[int] = field(init=False)
    weights: list[keras.Variable] = field(init=False)
    states: list[keras.Variable] = field(init=False)

    def __post_init__(self) -> None:
        inside = {place for step in self.steps for place in step.outputs}
        places = [place for step in self.steps for place in step.inputs if place not in inside]
        self.inputs = list(dict.fromkeys(places))
        layers = {id(step.operation): step.operation for step in self.steps if isinstance(step.operation, keras.Layer)}
        self.weights = [weight for layer in layers.values() for weight in layer.trainable_variables]
        self.states = [weight for layer in layers.values() for weight in layer.non_trainable_variables]

    @property
    def outputs(self) -> tuple[int, ...]:
        return self.steps[-1].outputs

    def run(self, maps: Sequence[Any], weights: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """`(outputs, new states)`, without a change of any variable."""
        values = dict(zip(self.inputs, maps, strict=True))
        variables = zip([*self.weights, *self.states], [*weights, *states], strict=True)
        with keras.StatelessScope(state_mapping=list(variables)) as scope:
            for step in self.steps:
                step(values)
        return [values[place] for place in self.outputs], [scope.get_current_value(state) for state in self.states]


class Recomputing:
    """A functional network whose backward pass recomputes.

    Args:
        network: it stays as it is, and shares its variables.
    """

    def __init__(self, network: keras.Model) -> None:
        self.network = network
        places = {id(network.inputs[0]): IMAGE}
        steps = list(steps_of(network, places))
        self.results = [places[id(x)] for x in network.outputs]
        self.groups = make_groups(steps, self.results)

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs of `network(images, training=True)`; it updates the same variables."""
        run = Pass(self.groups, in_unit_range(images))
        for group in self.groups:
            run.forward(group)
        return keras.tree.pack_sequence_as(self.network.output, [run.values[place] for place in self.results])


class Pass:
    """One pass through the groups of a network, forward and, as the gradient tape asks, backward.

    Attributes:
        values: `{place: map}`.
        before: `{first output of a group: (weights, states) as they were when it ran}`.
        done: the gradients of the group whose turn was before, from the end of the network.
    """

    def __init__(self, groups: Sequence[Group], images: tf.Tensor) -> None:
        self.group_of = {place: group for group in groups for place in group.outputs}
        self.values: dict[int, Any] = {IMAGE: images}
        self.before: dict[int, tuple[list[tf.Tensor], list[tf.Tensor]]] = {}
        self.done: list[tf.Tensor] = []

    def forward(self, group: Group) -> None:
        """Run a group, and update its moving averages and seeds."""
        weights, states = self.before[group.outputs[0]] = current(group.weights), current(group.states)
        inputs = [self.values[place] for place in group.inputs]

        @tf.custom_gradient
        def run(*tensors: tf.Tensor) -> tuple[Any, Callable[..., Any]]:
            def gradient(*upstream: tf.Tensor) -> Sequence[Any]:
                return self.backward(group, tensors[len(inputs) :], upstream[: len(group.outputs)])

            return group.run(tensors[: len(inputs)], tensors[len(inputs) :], states), gradient

        outputs, new_states = run(*inputs, *weights)
        self.values.update(zip(group.outputs, outputs, strict=True))
        for state, value in zip(group.states, new_states, strict=True):
            state.assign(value)

    def backward(self, group: Group, weights: Sequence[tf.Tensor], upstream: Sequence[tf.Tensor]) -> list[Any]:
        """The gradients of inputs and weights from those of the outputs, with no map but those that are kept."""
        # Not before its turn: else this would be one with the first time, and all groups that are ready were held at
        # once.
        with tf.control_dependencies([*upstream, *self.done]):
            again: dict[int, Any] = {}
            inputs = [self.recall(place, again) for place in group.inputs]
            weights = [tf.identity(weight) for weight in weights]
        with tf.GradientTape() as tape:
            tape.watch([*inputs, *weights])
            outputs, _ = group.run(inputs, weights, self.before[group.outputs[0]][1])
        found = tape.gradient(outputs, [*inputs, *weights], output_gradients=list(upstream))
        self.done = [gradient for gradient in found if gradient is not None]
        return found

    def recall(self, place: int, again: dict[int, Any]) -> Any:
        """The map at a place: the one that is kept, or computed once more; `again` holds those that were."""
        group = self.group_of.get(place)
        if place not in again:
            if group is None or group.is_kept:
                again[place] = tf.identity(self.values[place])
            else:
                inputs = [self.recall(needed, again) for needed in group.inputs]
                again.update(zip(group.outputs, group.run(inputs, *self.before[group.outputs[0]])[0], strict=True))
        return again[place]


def current(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """The values that variables have now."""
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def steps_of(network: keras.Model, places: dict[int, int]) -> Iterator[Step]:
    """The calls of layers in a network and the networks in it, in their order.

    Args:
        places: `{id of a symbolic map: its place}` of the inputs; those of all others are added.
    """
    nodes = [node for _, nodes in sorted(network._nodes_by_depth.items(), reverse=True) for node in nodes]
    for node in nodes:
        if node.is_input or any(id(x) not in places for x in node.input_tensors):
            continue
        inputs = tuple(places[id(x)] for x in node.input_tensors)
        if isinstance(node.operation, keras.Model):
            inner = dict(zip(map(id, node.operation.inputs), inputs, strict=True))
            yield from steps_of(node.operation, inner)
            places |= {id(x): inner[id(y)] for x, y in zip(node.outputs, node.operation.outputs, strict=True)}
            continue
        places |= {id(x): id(x) for x in node.outputs}
        yield Step(node.operation, node, inputs, tuple(places[id(x)] for x in node.outputs))


def make_groups(steps: Sequence[Step], results: Sequence[int]) -> list[Group]:
    """Put each cheap step into the group of the only step that uses its output."""
    users = Counter(place for step in steps for place in set(step.inputs))
    user = {place: step for step in steps for place in step.inputs}
    root: dict[int, int] = {}  # first output of a step -> that of the last step of its group
    for step in reversed(steps):
        place = step.outputs[0]
        alone = len(step.outputs) == 1 and users[place] == 1 and place not in results
        root[place] = root[user[place].outputs[0]] if alone and not step.multiplies else place
    members: dict[int, list[Step]] = {}
    for step in steps:
        members.setdefault(root[step.outputs[0]], []).append(step)
    groups = [
        Group(found, found[-1].multiplies or any(place in results for place in found[-1].outputs))
        for found in members.values()
    ]
    position = {step.outputs[0]: number for number, step in enumerate(steps)}
    return sorted(groups, key=lambda group: position[group.outputs[0]])
