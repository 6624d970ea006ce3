"""Rules between keys about data: preparation, sizes, crops, augmentation, the data service."""

import re

from omegaconf import DictConfig

from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.config.folds import ALL

TF_DATA_LOADERS = ("TF_DATA", "TFRECORD")


def scan_window_is_an_interval(cfg: DictConfig) -> None:
    settings = cfg.DATA_PREPARATION
    if settings.SCAN_MIN_VALUE is None and settings.SCAN_MAX_VALUE is None:
        return
    if None in (settings.SCAN_MIN_VALUE, settings.SCAN_MAX_VALUE):
        raise UserError(
            f"DATA_PREPARATION.SCAN_MIN_VALUE={settings.SCAN_MIN_VALUE} and SCAN_MAX_VALUE={settings.SCAN_MAX_VALUE} "
            "must both be numbers, or both null (percentiles of each volume)."
        )
    if settings.SCAN_MIN_VALUE >= settings.SCAN_MAX_VALUE:
        raise UserError(
            f"DATA_PREPARATION.SCAN_MIN_VALUE={settings.SCAN_MIN_VALUE} must be below "
            f"SCAN_MAX_VALUE={settings.SCAN_MAX_VALUE}."
        )


def fold_is_a_number_or_all(cfg: DictConfig) -> None:
    if isinstance(cfg.DATASET.FOLD, str) and cfg.DATASET.FOLD != ALL:
        raise UserError(f"DATASET.FOLD={cfg.DATASET.FOLD} must be a number, or {ALL} to evaluate all folds together.")


def height_and_width_go_together(cfg: DictConfig) -> None:
    if (cfg.INPUT.HEIGHT is None) != (cfg.INPUT.WIDTH is None):
        raise UserError("INPUT.HEIGHT and INPUT.WIDTH must both be numbers, or both null (images of any size).")


def any_size_needs_batches_of_one(cfg: DictConfig) -> None:
    if cfg.INPUT.HEIGHT is None and cfg.HYPER_PARAMETERS.BATCH_SIZE > 1:
        raise UserError(
            f"INPUT.HEIGHT=null (images of any size) needs HYPER_PARAMETERS.BATCH_SIZE=1, not "
            f"{cfg.HYPER_PARAMETERS.BATCH_SIZE}: images of different sizes cannot share a batch."
        )


def resize_has_the_size_of_input(cfg: DictConfig) -> None:
    resize = cfg.PREPROCESS_DATA.RESIZE
    if not resize.VALUE:
        return
    if resize.HEIGHT is None:
        raise UserError("PREPROCESS_DATA.RESIZE.VALUE=True needs a size: set INPUT.HEIGHT and INPUT.WIDTH.")
    if (resize.HEIGHT, resize.WIDTH) != (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH):
        raise UserError(
            f"PREPROCESS_DATA.RESIZE {resize.HEIGHT}x{resize.WIDTH} must equal INPUT "
            f"{cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}: leave RESIZE.HEIGHT and WIDTH alone, they follow INPUT."
        )


def service_lists_hosts(cfg: DictConfig) -> None:
    hosts = cfg.DATASET.SERVICE
    if hosts is None:
        return
    matches = [re.fullmatch(r"[^\s:/]+:(\d{1,5})", host) for host in hosts]
    if not hosts or not all(match and 0 < int(match[1]) < 65535 for match in matches):
        raise UserError(f"DATASET.SERVICE={list(hosts)} must be a list of name:port, such as [host1:5050,host2:5050].")
    if len(set(hosts)) < len(hosts):
        raise UserError(f"DATASET.SERVICE={list(hosts)} must name each host once.")


def service_needs_tf_data(cfg: DictConfig) -> None:
    if cfg.DATASET.SERVICE is not None and cfg.DATA_GENERATOR_TYPE not in TF_DATA_LOADERS:
        raise UserError(
            f"DATASET.SERVICE needs DATA_GENERATOR_TYPE=TF_DATA or TFRECORD, not {cfg.DATA_GENERATOR_TYPE}."
        )


def sampling_needs_masks(cfg: DictConfig) -> None:
    settings = {"CROP.MODE": cfg.DATASET.CROP.MODE, "FOREGROUND_FRACTION": cfg.DATASET.FOREGROUND_FRACTION}
    for key, value in settings.items():
        if value is not None and cfg.MODEL.TYPE == "classifier":
            raise UserError(f"DATASET.{key}={value} is for masks: leave it out with MODEL.TYPE=classifier.")


def crop_has_the_size_of_input(cfg: DictConfig) -> None:
    crop = cfg.DATASET.CROP
    if crop.MODE is None:
        return
    if cfg.PREPROCESS_DATA.RESIZE.VALUE:
        raise UserError(f"DATASET.CROP.MODE={crop.MODE} and PREPROCESS_DATA.RESIZE.VALUE=True exclude each other.")
    if crop.HEIGHT is None:
        raise UserError(f"DATASET.CROP.MODE={crop.MODE} needs a size: set INPUT.HEIGHT and INPUT.WIDTH.")
    if (crop.HEIGHT, crop.WIDTH) != (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH):
        raise UserError(
            f"DATASET.CROP {crop.HEIGHT}x{crop.WIDTH} must equal INPUT {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}: leave "
            "CROP.HEIGHT and WIDTH alone, they follow INPUT."
        )


def active_knobs(cfg: DictConfig) -> list[str]:
    """The knobs of AUGMENTATION whose PROBABILITY is above 0."""
    return [name for name, knob in cfg.AUGMENTATION.items() if isinstance(knob, DictConfig) and knob.PROBABILITY > 0]


def policy_file_replaces_knobs(cfg: DictConfig) -> None:
    policy, active = cfg.AUGMENTATION.ALBUMENTATIONS, active_knobs(cfg)
    if policy is not None and active:
        raise UserError(
            f"AUGMENTATION.ALBUMENTATIONS={policy} replaces the knobs: leave AUGMENTATION.{active[0]}.PROBABILITY at 0."
        )


def engine_has_what_is_asked(cfg: DictConfig) -> None:
    """The row of ENGINES says what works with an engine."""
    augmentation, engines = cfg.AUGMENTATION, load_object("data_generators:ENGINES")
    engine, key = engines[augmentation.ENGINE], f"AUGMENTATION.ENGINE={augmentation.ENGINE}"

    def others(feature: str) -> str:
        return " or ".join(name for name, row in engines.items() if getattr(row, feature))

    if augmentation.ALBUMENTATIONS is not None and not engine.policy_files:
        raise UserError(
            f"{key} has no AUGMENTATION.ALBUMENTATIONS={augmentation.ALBUMENTATIONS}: set knobs instead, or "
            f"AUGMENTATION.ENGINE={others('policy_files')}."
        )
    if engine.loaders is not None and cfg.DATA_GENERATOR_TYPE not in engine.loaders:
        fitting = [
            name for name, row in engines.items() if row.loaders is None or cfg.DATA_GENERATOR_TYPE in row.loaders
        ]
        raise UserError(
            f"{key} needs DATA_GENERATOR_TYPE={' or '.join(engine.loaders)}, not {cfg.DATA_GENERATOR_TYPE}; that takes "
            f"AUGMENTATION.ENGINE={' or '.join(fitting)}."
        )
    if cfg.MODEL.TYPE == "classifier" and not engine.class_labels:
        raise UserError(
            f"{key} is for masks: set AUGMENTATION.ENGINE={others('class_labels')} with MODEL.TYPE=classifier."
        )
    if cfg.MODEL.TYPE == "classifier" and augmentation.ZOOM.KEEP_FOREGROUND:
        raise UserError(
            "AUGMENTATION.ZOOM.KEEP_FOREGROUND=True needs masks; MODEL.TYPE=classifier has none: set it to null."
        )
    if augmentation.ZOOM.KEEP_FOREGROUND and not engine.keep_foreground:
        raise UserError(
            f"{key} has no AUGMENTATION.ZOOM.KEEP_FOREGROUND: set it to null, or "
            f"AUGMENTATION.ENGINE={others('keep_foreground')}, with a DATA_GENERATOR_TYPE that it works with."
        )


def quarter_turns_need_squares(cfg: DictConfig) -> None:
    if "ROTATE_90" in active_knobs(cfg) and cfg.INPUT.HEIGHT != cfg.INPUT.WIDTH:
        raise UserError(
            f"AUGMENTATION.ROTATE_90 needs square images; INPUT is {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}. Set "
            "AUGMENTATION.ROTATE_90.PROBABILITY=0, and both flips instead."
        )
