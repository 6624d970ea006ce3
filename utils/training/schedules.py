"""The learning rate over the epochs, or over the steps."""

import math

from omegaconf import DictConfig

from utils.base.registry import load_object, look_up

# LR_SCHEDULE.NAME -> function (now, end, peak, cfg.LR_SCHEDULE, unit) -> learning rate. `now` counts from 0 to `end`
# after the warm-up, in what LR_SCHEDULE.BY says; an epoch has `unit` of these: 1, or its steps.
SCHEDULES = {
    "constant": "utils.training.schedules:constant",
    "cosine": "utils.training.schedules:cosine",
    "cosine_restarts": "utils.training.schedules:cosine_restarts",
    "ramp_sustain_decay": "utils.training.schedules:sustain_decay",
    "plateau": "utils.training.schedules:constant",  # PLATEAU_PATIENCE lowers it
}


def learning_rate(cfg: DictConfig, epoch: int, step: int = 0, steps: int = 1) -> float:
    """The learning rate before any plateau lowers it.

    Args:
        epoch: counted from 0.
        step: of the epoch, counted from 0; with LR_SCHEDULE.BY=epoch it does not matter.
        steps: of an epoch.

    Example:
        >>> from utils.config import load_config
        >>> cfg = load_config(["LR_SCHEDULE.NAME=cosine", "HYPER_PARAMETERS.LEARNING_RATE=1e-3"])
        >>> learning_rate(cfg, 0)
        0.001
    """
    settings, peak = cfg.LR_SCHEDULE, cfg.HYPER_PARAMETERS.LEARNING_RATE
    now, unit = (epoch * steps + step, steps) if settings.BY == "step" else (epoch, 1)
    warmup = settings.WARMUP_EPOCHS * unit
    if now < warmup:
        return settings.WARMUP_START + (peak - settings.WARMUP_START) * now / warmup
    schedule = load_object(look_up(SCHEDULES, settings.NAME, "LR_SCHEDULE.NAME"))
    return schedule(now - warmup, max(cfg.HYPER_PARAMETERS.EPOCHS * unit - warmup, 1), peak, settings, unit)


def constant(now: int, end: int, peak: float, settings: DictConfig, unit: int) -> float:
    """`peak` throughout."""
    return peak


def cosine(now: int, end: int, peak: float, settings: DictConfig, unit: int) -> float:
    """Half a cosine wave from `peak` to MINIMUM (Loshchilov & Hutter, arXiv:1608.03983, without restarts)."""
    return settings.MINIMUM + (peak - settings.MINIMUM) * (1 + math.cos(math.pi * now / end)) / 2


def cosine_restarts(now: int, end: int, peak: float, settings: DictConfig, unit: int) -> float:
    """Cosine waves of PERIOD epochs or steps; each is PERIOD_FACTOR times as long and PEAK_FACTOR times as high."""
    length, height = settings.PERIOD, 1.0
    longer, higher = settings.PERIOD_FACTOR, settings.PEAK_FACTOR
    while now >= length:
        now, length, height = now - length, length * longer, height * higher
    return settings.MINIMUM + (peak - settings.MINIMUM) * height * (1 + math.cos(math.pi * now / length)) / 2


def sustain_decay(now: int, end: int, peak: float, settings: DictConfig, unit: int) -> float:
    """`peak` for SUSTAIN_EPOCHS, then towards MINIMUM: each epoch multiplies the distance by DECAY."""
    epochs = max(now / unit - settings.SUSTAIN_EPOCHS, 0)
    return settings.MINIMUM + (peak - settings.MINIMUM) * settings.DECAY**epochs
