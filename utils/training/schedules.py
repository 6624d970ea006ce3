"""The learning rate over the epochs."""

import math

from utils.base.registry import load_object, look_up

# LR_SCHEDULE.NAME -> function (epoch, epochs, peak, cfg.LR_SCHEDULE) -> learning rate; epochs from 0, after warm-up
SCHEDULES = {
    "constant": "utils.training.schedules:constant",
    "cosine": "utils.training.schedules:cosine",
    "cosine_restarts": "utils.training.schedules:cosine_restarts",
    "ramp_sustain_decay": "utils.training.schedules:sustain_decay",
    "plateau": "utils.training.schedules:constant",  # PLATEAU_PATIENCE lowers it
}


def learning_rate(cfg, epoch):
    """The learning rate of an epoch (from 0), without what a plateau takes off."""
    options, peak = cfg.LR_SCHEDULE, cfg.HYPER_PARAMETERS.LEARNING_RATE
    warmup = options.WARMUP_EPOCHS
    if epoch < warmup:
        return options.WARMUP_START + (peak - options.WARMUP_START) * epoch / warmup
    schedule = load_object(look_up(SCHEDULES, options.NAME, "LR_SCHEDULE.NAME"))
    return schedule(epoch - warmup, max(cfg.HYPER_PARAMETERS.EPOCHS - warmup, 1), peak, options)


def constant(epoch, epochs, peak, options):
    return peak


def cosine(epoch, epochs, peak, options):
    """Half a cosine wave from `peak` to MINIMUM (Loshchilov & Hutter, arXiv:1608.03983, without restarts)."""
    return options.MINIMUM + (peak - options.MINIMUM) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def cosine_restarts(epoch, epochs, peak, options):
    """Cosine waves of PERIOD epochs; each is PERIOD_FACTOR times as long and PEAK_FACTOR times as high as the last."""
    length, height = options.PERIOD, 1.0
    while epoch >= length:
        epoch, length, height = epoch - length, length * options.PERIOD_FACTOR, height * options.PEAK_FACTOR
    return options.MINIMUM + (peak - options.MINIMUM) * height * (1 + math.cos(math.pi * epoch / length)) / 2


def sustain_decay(epoch, epochs, peak, options):
    """`peak` for SUSTAIN_EPOCHS, then towards MINIMUM, the distance times DECAY at each epoch."""
    return options.MINIMUM + (peak - options.MINIMUM) * options.DECAY ** max(epoch - options.SUSTAIN_EPOCHS, 0)
