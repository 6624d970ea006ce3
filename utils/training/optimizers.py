"""Optimizers by name. Keras is imported when one is made: the config is checked against the table without it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.registry import load_object, look_up

if TYPE_CHECKING:
    import keras

# OPTIMIZER.NAME -> ("module:class", {key of OPTIMIZER that not all take: type})
OPTIMIZERS = {
    "adam": ("utils.training.adam:Adam", {"EPSILON": float}),
    "adamw": ("utils.training.adam:AdamW", {"EPSILON": float}),
    "sgd": ("keras.optimizers:SGD", {"MOMENTUM": float, "NESTEROV": bool}),
}


def make_optimizer(cfg: DictConfig, network: keras.Model | None = None) -> keras.optimizers.Optimizer:
    """The optimizer of the config. `Trainer.compile` adds loss scaling if OPTIMIZATION.AMP is float16.

    Args:
        cfg: checked config; OPTIMIZER and the learning rate are read.
        network: of `models.build_model`: tells OPTIMIZER.ENCODER_FACTOR which weights are the encoder's.

    Raises:
        UserError: OPTIMIZER.ENCODER_FACTOR of an encoder that is never trained.

    Example:
        >>> from utils.config import load_config
        >>> make_optimizer(load_config(["OPTIMIZER.NAME=sgd", "OPTIMIZER.CLIP_NORM=1.0"])).global_clipnorm
        1.0
    """
    settings = cfg.OPTIMIZER
    name, keys = look_up(OPTIMIZERS, settings.NAME, "OPTIMIZER.NAME")
    steps = settings.ACCUMULATION_STEPS
    options = {key.lower(): kind(settings[key]) for key, kind in keys.items()}
    if settings.EMA is not None:
        options |= {"use_ema": True, "ema_momentum": settings.EMA}
    optimizer = load_object(name)
    if settings.ENCODER_FACTOR != 1 and network is not None:
        weights = load_object("models.freeze:encoder_weights")(network)
        if not weights and cfg.MODEL.FREEZE_EPOCHS is None:
            raise UserError("OPTIMIZER.ENCODER_FACTOR: no weight of an encoder is trained here. Leave it at 1.")
        optimizer = with_factor(optimizer, settings.ENCODER_FACTOR, weights)
    if settings.L2:
        optimizer = with_l2(optimizer, settings.L2)
    return optimizer(
        float(cfg.HYPER_PARAMETERS.LEARNING_RATE),
        weight_decay=settings.WEIGHT_DECAY or None,
        global_clipnorm=settings.CLIP_NORM,
        gradient_accumulation_steps=steps if steps > 1 else None,
        **options,
    )


def with_l2(optimizer: type[keras.optimizers.Optimizer], share: float) -> type[keras.optimizers.Optimizer]:
    """An optimizer that adds a share of each weight to its gradient, as `weight_decay` of PyTorch's Adam and SGD does.

    All trained weights, biases and normalisation too; after clipping, and before the moments of Adam, which therefore
    scale it. The loss in the log stays without it.

    Args:
        optimizer: a class of Keras.
        share: OPTIMIZER.L2.

    >>> import keras
    >>> weight = keras.Variable([1.0])
    >>> with_l2(keras.optimizers.SGD, 0.5)(1.0).apply([keras.ops.array([0.25])], [weight])
    >>> float(weight[0])
    0.25
    """

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        optimizer.update_step(self, gradient + share * variable, variable, learning_rate)

    return type(f"{optimizer.__name__}L2", (optimizer,), {"update_step": update_step})


def with_factor(
    optimizer: type[keras.optimizers.Optimizer], factor: float, weights: Sequence[keras.Variable]
) -> type[keras.optimizers.Optimizer]:
    """An optimizer with another learning rate for some weights; WEIGHT_DECAY follows the common rate.

    Args:
        optimizer: a class of Keras.
        factor: OPTIMIZER.ENCODER_FACTOR, of the learning rate.
        weights: those that it holds for.

    >>> import keras
    >>> weights = [keras.Variable([1.0]), keras.Variable([1.0])]
    >>> gradients = [keras.ops.array([1.0]), keras.ops.array([1.0])]
    >>> with_factor(keras.optimizers.SGD, 0.25, weights[:1])(1.0).apply(gradients, weights)
    >>> [float(weight[0]) for weight in weights]
    [0.75, 0.0]
    """

    place_of = load_object("utils.training.adam:place_of")

    @functools.cache
    def scaled_places(applied: Any) -> set[int]:
        return {place_of(applied, weight) for weight in weights}

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = learning_rate * factor if place_of(self, variable) in scaled_places(self) else learning_rate
        optimizer.update_step(self, gradient, variable, rate)

    return type(f"{optimizer.__name__}WithFactor", (optimizer,), {"update_step": update_step})
