"""Optimizers by name. Keras is imported when one is made: the config is checked against the table without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from utils.base.registry import look_up

if TYPE_CHECKING:
    import keras

# OPTIMIZER.NAME -> (name in keras.optimizers, {key of OPTIMIZER that it alone takes: type})
OPTIMIZERS = {
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "sgd": ("SGD", {"MOMENTUM": float, "NESTEROV": bool}),
}


def make_optimizer(cfg: DictConfig) -> keras.optimizers.Optimizer:
    """The optimizer of the config. `Trainer.compile` adds loss scaling if OPTIMIZATION.AMP is float16.

    Example:
        >>> from utils.config import load_config
        >>> make_optimizer(load_config(["OPTIMIZER.NAME=sgd", "OPTIMIZER.CLIP_NORM=1.0"])).global_clipnorm
        1.0
    """
    import keras

    settings = cfg.OPTIMIZER
    name, keys = look_up(OPTIMIZERS, settings.NAME, "OPTIMIZER.NAME")
    steps = settings.ACCUMULATION_STEPS
    options = {key.lower(): kind(settings[key]) for key, kind in keys.items()}
    if settings.EMA is not None:
        options |= {"use_ema": True, "ema_momentum": settings.EMA}
    return getattr(keras.optimizers, name)(
        float(cfg.HYPER_PARAMETERS.LEARNING_RATE),
        weight_decay=settings.WEIGHT_DECAY or None,
        global_clipnorm=settings.CLIP_NORM,
        gradient_accumulation_steps=steps if steps > 1 else None,
        **options,
    )
