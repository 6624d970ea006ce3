"""Optimizers by name."""

from utils.base.registry import look_up

# OPTIMIZER.NAME -> (name in keras.optimizers, {key of OPTIMIZER that it alone takes: type})
OPTIMIZERS = {
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "sgd": ("SGD", {"MOMENTUM": float, "NESTEROV": bool}),
}


def make_optimizer(cfg):
    """The optimizer of the config. `compile` adds loss scaling where AMP is float16."""
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
