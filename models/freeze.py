"""MODEL.FREEZE: parts of a network that training leaves as they are."""

import difflib
import re
from collections.abc import Iterator, Sequence

import keras

from utils.base.errors import UserError

# What a name stands for: a regular expression that layers match from the start of their name.
PARTS = {"encoder": r"encoder", "all_but_head": r"(?!.*_logits)"}


def freeze_layers(network: keras.Model, parts: str | Sequence[str]) -> None:
    """Fix the weights and the statistics of normalisation of the layers that match.

    Args:
        network: of `models.build_model`. Its backbone, a model of its own, is called `encoder`.
        parts: a name of PARTS, or regular expressions that match names of layers from their start.

    Raises:
        UserError: a part matches no layer with weights, or is no regular expression; nothing is left to train.
    """
    for layer in matching_layers(network, parts):
        layer.trainable = False
    if not network.trainable_variables:
        raise UserError("MODEL.FREEZE leaves nothing to train: name fewer layers.")


def unfreeze_layers(network: keras.Model, parts: str | Sequence[str]) -> None:
    """Let the layers that `freeze_layers` fixed be trained.

    >>> network = keras.Sequential([keras.layers.Dense(1, name="encoder1"), keras.layers.Dense(1, name="mask_logits")])
    >>> network.build((None, 1))
    >>> freeze_layers(network, "encoder")
    >>> len(network.trainable_variables)
    2
    >>> unfreeze_layers(network, "encoder")
    >>> len(network.trainable_variables)
    4
    """
    for layer in matching_layers(network, parts):
        layer.trainable = True


def matching_layers(network: keras.Model, parts: str | Sequence[str]) -> Iterator[keras.layers.Layer]:
    """The layers that MODEL.FREEZE names.

    Raises:
        UserError: a part matches no layer with weights, or is no regular expression.
    """
    patterns = (
        [PARTS[parts]] if isinstance(parts, str) and parts in PARTS else [parts] if isinstance(parts, str) else parts
    )
    layers = list(layers_with_weights(network))
    for pattern in patterns:
        try:
            matching = [layer for name, layer in layers if re.match(pattern, name)]
        except re.error as error:
            raise UserError(f"MODEL.FREEZE: {pattern} is no regular expression: {error}.") from None
        if not matching:
            names = [name for name, _ in layers]
            nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or names[:3]
            raise UserError(
                f"MODEL.FREEZE={pattern}: no layer with weights has such a name. Choices: {', '.join(PARTS)}, "
                f"or regular expressions of names like {', '.join(nearest)}; `python -m models +layers=True` "
                "lists all."
            )
        yield from matching


def encoder_weights(network: keras.Model) -> list[keras.Variable]:
    """The weights of the encoder that are trained."""
    layers = [layer for name, layer in layers_with_weights(network) if re.match(PARTS["encoder"], name)]
    return [weight for layer in layers for weight in layer.trainable_variables]


def layers_with_weights(network: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """The layers that have weights, with their names; those of the backbone as `encoder/<name>`."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from ((f"{layer.name}/{name}", inner) for name, inner in layers_with_weights(layer))
        elif layer.weights:
            yield layer.name, layer
