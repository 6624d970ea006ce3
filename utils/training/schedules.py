"""The learning rate over the epochs."""

import math

from omegaconf import DictConfig

from utils.base.registry import load_object, look_up

# LR_SCHEDULE.NAME -> function (epoch, epochs, peak, cfg.LR_SCHEDULE) -> learning rate; epochs from 0, after warm-up
SCHEDULES = {
    "constant": "utils.training.schedules:constant",
    "cosine": "utils.training.schedules:cosine",
    "cosine_restarts": "utils.training.schedules:cosine_restarts",
    "ramp_sustain_decay": "utils.training.schedules:sustain_decay",
    "plateau": "utils.training.schedules:constant",  # PLATEAU_PATIENCE lowers it
}


def learning_rate(cfg: DictConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0, before any plateau lowers it.

    Example:
        >>> from utils.config import load_config
        >>> cfg = load_config(["LR_SCHEDULE.NAME=cosine", "HYPER_PARAMETERS.LEARNING_RATE=1e-3"])
        >>> learning_rate(cfg, 0)
        0.001
    """
    settings, peak = cfg.LR_SCHEDULE, cfg.HYPER_PARAMETERS.LEARNING_RATE
    warmup = settings.WARMUP_EPOCHS
    if epoch < warmup:
        return settings.WARMUP_START + (peak - settings.WARMUP_START) * epoch / warmup
    schedule = load_object(look_up(SCHEDULES, settings.NAME, "LR_SCHEDULE.NAME"))
    return schedule(epoch - warmup, max(cfg.HYPER_PARAMETERS.EPOCHS - warmup, 1), peak, settings)


def constant(epoch: int, epochs: int, peak: float, settings: DictConfig) -> float:
    """`peak` throughout."""
    return peak


def cosine(epoch: int, epochs: int, peak: float, settings: DictConfig) -> float:
    """Half a cosine wave from `peak` to MINIMUM (Loshchilov & Hutter, arXiv:1608.03983, without restarts)."""
    return settings.MINIMUM + (peak - settings.MINIMUM) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def cosine_restarts(epoch: int, epochs: int, peak: float, settings: DictConfig) -> float:
    """Cosine waves of PERIOD epochs; each is PERIOD_FACTOR times as long and PEAK_FACTOR times as high as the last."""
    length, height = settings.PERIOD, 1.0
    while epoch >= length:
        epoch, length, height = epoch - length, length * settings.PERIOD_FACTOR, height * settings.PEAK_FACTOR
    return settings.MINIMUM + (peak - settings.MINIMUM) * height * (1 + math.cos(math.pi * epoch / length)) / 2


def sustain_decay(epoch: int, epochs: int, peak: float, settings: DictConfig) -> float:
    """`peak` for SUSTAIN_EPOCHS, then towards MINIMUM: each epoch multiplies the distance by DECAY."""
    return settings.MINIMUM + (peak - settings.MINIMUM) * settings.DECAY ** max(epoch - settings.SUSTAIN_EPOCHS, 0)
