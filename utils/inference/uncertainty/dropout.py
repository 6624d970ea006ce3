"""Monte-Carlo dropout: a trained network whose dropout drops when it predicts, too.

Y. Gal and Z. Ghahramani 2016, "Dropout as a Bayesian approximation", https://arxiv.org/abs/1506.02142; A. Kendall
et al. 2015, "Bayesian SegNet", https://arxiv.org/abs/1511.02680. A sample drops the same for every image, tile and
slice, so that it is one network, and what it predicts depends on the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers

from utils.base.errors import UserError


class ActiveDropout(layers.Dropout):
    """Dropout that does not depend on whether the model trains."""

    def call(self, inputs: KerasTensor, training: bool | None = None) -> KerasTensor:
        return super().call(inputs, training=True)


def with_active_dropout(model: keras.Model, name: str) -> keras.Model:
    """A copy of a functional model, with its weights, whose dropout is active; `use_sample` chooses what it drops.

    Args:
        model: of `models.inference_model`.
        name: of the network, for the error.

    Raises:
        UserError: it has no dropout.
    """
    copies: list[ActiveDropout] = []

    def copy(layer: layers.Layer) -> layers.Layer:
        if not isinstance(layer, layers.Dropout) or layer.rate == 0:
            return layer  # shared, with its weights
        shape = layer.noise_shape or (None,) * len(layer.input.shape)
        active = ActiveDropout(layer.rate, (1, *shape[1:]), seed=0, name=layer.name, dtype=layer.dtype_policy)
        copies.append(active)
        return active

    active = keras.models.clone_model(model, clone_function=copy, recursive=True)
    if not copies:
        raise UserError(
            f"PREDICT.MC_SAMPLES samples dropout, and the network {name} has none: train with "
            "MODEL.DECODER.DROPOUT=0.2, or use PREDICT.TTA or PREDICT.ENSEMBLE."
        )
    return active


def use_sample(model: keras.Model, seed: int, sample: int) -> None:
    """Let the model of `with_active_dropout` drop what belongs to a sample, numbered from 0."""
    for number, layer in enumerate(active_layers(model)):
        state: Any = np.random.SeedSequence([seed, sample, number]).generate_state(2)
        layer.seed_generator.state.assign(state)


def active_layers(model: keras.Model) -> Iterator[ActiveDropout]:
    """Its layers of dropout, those of nested models included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from active_layers(layer)
        elif isinstance(layer, ActiveDropout):
            yield layer
