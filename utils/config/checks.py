"""Check the rules between keys of the config."""

import re

from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.registry import list_choices, load_object, look_up
from utils.config.defaults import default_config
from utils.config.folds import ALL
from utils.config.rules import AUGMENTATION_RANGES, AUGMENTATIONS
from utils.config.values import check_level, is_number


def check_config(cfg):
    """Check every value against the type of its default and RULES, then the rules between keys.

    Raises:
        UserError: names the key, its value, the rule and what would be right.
    """
    check_level(cfg, default_config(), "")
    window = cfg.DATA_PREPARATION
    if window.SCAN_MIN_VALUE >= window.SCAN_MAX_VALUE:
        raise UserError(
            f"DATA_PREPARATION.SCAN_MIN_VALUE={window.SCAN_MIN_VALUE} must be below "
            f"SCAN_MAX_VALUE={window.SCAN_MAX_VALUE}."
        )
    if isinstance(cfg.DATASET.FOLD, str) and cfg.DATASET.FOLD != ALL:
        raise UserError(f"DATASET.FOLD={cfg.DATASET.FOLD} must be a number, or {ALL} to evaluate all folds together.")
    if (cfg.INPUT.HEIGHT is None) != (cfg.INPUT.WIDTH is None):
        raise UserError("INPUT.HEIGHT and INPUT.WIDTH must both be numbers, or both null (images of any size).")
    if cfg.INPUT.HEIGHT is None and cfg.HYPER_PARAMETERS.BATCH_SIZE > 1:
        raise UserError(
            f"INPUT.HEIGHT=null (images of any size) needs HYPER_PARAMETERS.BATCH_SIZE=1, not "
            f"{cfg.HYPER_PARAMETERS.BATCH_SIZE}: images of different sizes cannot share a batch."
        )
    resize = cfg.PREPROCESS_DATA.RESIZE
    if resize.VALUE and resize.HEIGHT is None:
        raise UserError("PREPROCESS_DATA.RESIZE.VALUE=True needs a size: set INPUT.HEIGHT and INPUT.WIDTH.")
    if resize.VALUE and (resize.HEIGHT, resize.WIDTH) != (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH):
        raise UserError(
            f"PREPROCESS_DATA.RESIZE {resize.HEIGHT}x{resize.WIDTH} must equal INPUT "
            f"{cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}: leave RESIZE.HEIGHT and WIDTH alone, they follow INPUT."
        )
    check_service(cfg)
    check_crop(cfg)
    check_augmentation(cfg)
    schedule, peak = cfg.LR_SCHEDULE, cfg.HYPER_PARAMETERS.LEARNING_RATE
    for key in ("MINIMUM", "WARMUP_START"):
        if schedule[key] > peak:
            raise UserError(
                f"LR_SCHEDULE.{key}={schedule[key]} must not be above HYPER_PARAMETERS.LEARNING_RATE={peak}."
            )
    check_strategy(cfg)
    is_classifier = cfg.MODEL.TYPE == "classifier"
    if is_classifier and any(
        override.lstrip("+~").lower().startswith(("loss=", "loss.")) for override in cfg.OVERRIDES
    ):
        raise UserError(
            "LOSS is for masks; MODEL.TYPE=classifier takes the cross-entropy of its activation: leave it out."
        )
    if not is_classifier:
        check_loss(cfg)
        check_classes(cfg)
    load_object("models:check_model")(cfg)


def check_strategy(cfg):
    """What a TPU or several workers can do."""
    if cfg.STRATEGY.NAME == "tpu" and cfg.DATA_GENERATOR_TYPE not in ("TF_DATA", "TFRECORD"):
        raise UserError(
            f"STRATEGY.NAME=tpu needs DATA_GENERATOR_TYPE=TF_DATA or TFRECORD, not {cfg.DATA_GENERATOR_TYPE}, whose "
            "batches are made by Python threads beside the machine that feeds the TPU."
        )
    if cfg.STRATEGY.NAME == "tpu" and cfg.INPUT.HEIGHT is None:
        raise UserError("STRATEGY.NAME=tpu compiles for images of one size: set INPUT.HEIGHT and INPUT.WIDTH.")
    if cfg.STRATEGY.NAME == "tpu" and not cfg.DATASET.DROP_REMAINDER:
        raise UserError("STRATEGY.NAME=tpu compiles for batches of one size: set DATASET.DROP_REMAINDER=True.")
    if cfg.STRATEGY.NAME == "tpu" and cfg.OPTIMIZATION.AMP is True:
        raise UserError("OPTIMIZATION.AMP=True is float16, which a TPU has not: set OPTIMIZATION.AMP=bfloat16.")
    if cfg.STRATEGY.NAME == "multi_worker" and cfg.CALLBACKS.CHECKPOINT_EVERY_STEPS is not None:
        raise UserError(
            "CALLBACKS.CHECKPOINT_EVERY_STEPS does not go with STRATEGY.NAME=multi_worker: the first worker saves the "
            "state at the end of each epoch. Leave it out."
        )
    if cfg.STRATEGY.NAME == "multi_worker" and cfg.DATASET.SERVICE is not None:
        raise UserError(
            "DATASET.SERVICE does not go with STRATEGY.NAME=multi_worker, whose workers read by themselves."
        )


def check_service(cfg):
    """DATASET.SERVICE names hosts, for a loader of tf.data."""
    hosts = cfg.DATASET.SERVICE
    if hosts is None:
        return
    matches = [re.fullmatch(r"[^\s:/]+:(\d{1,5})", host) for host in hosts]
    if not hosts or not all(match and 0 < int(match[1]) < 65535 for match in matches):
        raise UserError(f"DATASET.SERVICE={list(hosts)} must be a list of name:port, such as [host1:5050,host2:5050].")
    if len(set(hosts)) < len(hosts):
        raise UserError(f"DATASET.SERVICE={list(hosts)} must name each host once.")
    if cfg.DATA_GENERATOR_TYPE not in ("TF_DATA", "TFRECORD"):
        raise UserError(
            f"DATASET.SERVICE needs DATA_GENERATOR_TYPE=TF_DATA or TFRECORD, not {cfg.DATA_GENERATOR_TYPE}."
        )


def check_crop(cfg):
    """Crops have the size of INPUT, of images as they are stored."""
    crop, resize = cfg.DATASET.CROP, cfg.PREPROCESS_DATA.RESIZE.VALUE
    for key, value in {"CROP.MODE": crop.MODE, "FOREGROUND_FRACTION": cfg.DATASET.FOREGROUND_FRACTION}.items():
        if value is not None and cfg.MODEL.TYPE == "classifier":
            raise UserError(f"DATASET.{key}={value} is for masks: leave it out with MODEL.TYPE=classifier.")
    if crop.MODE is None:
        return
    if resize:
        raise UserError(f"DATASET.CROP.MODE={crop.MODE} and PREPROCESS_DATA.RESIZE.VALUE=True exclude each other.")
    if crop.HEIGHT is None:
        raise UserError(f"DATASET.CROP.MODE={crop.MODE} needs a size: set INPUT.HEIGHT and INPUT.WIDTH.")
    if (crop.HEIGHT, crop.WIDTH) != (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH):
        raise UserError(
            f"DATASET.CROP {crop.HEIGHT}x{crop.WIDTH} must equal INPUT {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}: leave "
            "CROP.HEIGHT and WIDTH alone, they follow INPUT."
        )


def check_augmentation(cfg):
    """Ranges begin with the smaller number; a policy file stands instead of the knobs; the engine has what is asked."""
    augmentation = cfg.AUGMENTATION
    for key in (*AUGMENTATION_RANGES, "COARSE_DROPOUT.HOLES"):
        low, high = OmegaConf.select(augmentation, key)
        if low > high:
            raise UserError(f"AUGMENTATION.{key}=[{low}, {high}] must begin with the smaller number.")
    on = [knob for knob in AUGMENTATIONS if augmentation[knob].PROBABILITY > 0]
    if augmentation.ALBUMENTATIONS is not None and on:
        raise UserError(
            f"AUGMENTATION.ALBUMENTATIONS={augmentation.ALBUMENTATIONS} stands instead of the knobs: leave "
            f"AUGMENTATION.{on[0]}.PROBABILITY at 0."
        )
    check_engine(cfg)
    if "ROTATE_90" in on and cfg.INPUT.HEIGHT != cfg.INPUT.WIDTH:
        raise UserError(
            f"AUGMENTATION.ROTATE_90 needs square pictures; INPUT is {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}. Set "
            "AUGMENTATION.ROTATE_90.PROBABILITY=0, and both flips instead."
        )


def check_engine(cfg: DictConfig) -> None:
    """The engine of AUGMENTATION.ENGINE has what is asked for; the rows of ENGINES tell."""
    augmentation, engines = cfg.AUGMENTATION, load_object("data_generators:ENGINES")
    engine, key = engines[augmentation.ENGINE], f"AUGMENTATION.ENGINE={augmentation.ENGINE}"

    def others(feature: str) -> str:
        return " or ".join(name for name, row in engines.items() if getattr(row, feature))

    if augmentation.ALBUMENTATIONS is not None and not engine.policy_files:
        raise UserError(
            f"{key} has no AUGMENTATION.ALBUMENTATIONS={augmentation.ALBUMENTATIONS}: set knobs instead, or "
            f"AUGMENTATION.ENGINE={others('policy_files')}."
        )
    if cfg.DATA_GENERATOR_TYPE not in engine.loaders:
        fitting = [name for name, row in engines.items() if cfg.DATA_GENERATOR_TYPE in row.loaders]
        raise UserError(
            f"{key} needs DATA_GENERATOR_TYPE={' or '.join(engine.loaders)}, not {cfg.DATA_GENERATOR_TYPE}; that takes "
            f"AUGMENTATION.ENGINE={' or '.join(fitting)}."
        )
    if cfg.MODEL.TYPE == "classifier" and not engine.class_labels:
        raise UserError(
            f"{key} is for masks: set AUGMENTATION.ENGINE={others('class_labels')} with MODEL.TYPE=classifier."
        )
    if augmentation.ZOOM.KEEP_FOREGROUND and not engine.keep_foreground:
        raise UserError(
            f"{key} has no AUGMENTATION.ZOOM.KEEP_FOREGROUND: set it to null, or "
            f"AUGMENTATION.ENGINE={others('keep_foreground')}, with a DATA_GENERATOR_TYPE that it works with."
        )


def check_loss(cfg):
    """LOSS names terms of the table, with weights that are not all zero, for images that are large enough."""
    if not any(cfg.LOSS.values()):
        raise UserError("LOSS has no term with a weight above 0. Choose one with loss=NAME, see configs/loss.")
    for name, weight in cfg.LOSS.items():
        if not is_number(weight) or not 0 <= weight < float("inf"):
            raise UserError(f"LOSS.{name}={weight} must be a finite number of at least 0.")
        if name not in load_object("losses:LOSSES"):
            raise UserError(f"LOSS.{name} is not a loss term. {list_choices(name, load_object('losses:LOSSES'))}")
        if weight > 0:
            load_object("losses:check_size")(name, cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)


def check_classes(cfg):
    """What names classes or gives a number for each fits OUTPUT.CLASSES; the metrics are those of the table."""
    classes = max(cfg.OUTPUT.CLASSES, 2)  # one class: background and foreground
    ignored = cfg.DATASET.IGNORE_LABEL
    if ignored is not None and ignored < classes:
        raise UserError(
            f"DATASET.IGNORE_LABEL={ignored} is a class index: OUTPUT.CLASSES={cfg.OUTPUT.CLASSES} has the classes 0 "
            f"to {classes - 1}. Choose a value above, or lower OUTPUT.CLASSES."
        )
    names = cfg.OUTPUT.CLASS_NAMES
    if names is not None and len(names) != classes:
        raise UserError(f"OUTPUT.CLASS_NAMES={list(names)} needs {classes} names, background first.")
    values = cfg.DATASET.LABEL_VALUES
    if values is not None:
        if len(values) != classes or len(set(values)) < classes:
            raise UserError(
                f"DATASET.LABEL_VALUES={list(values)} needs {classes} different values, background first "
                f"(OUTPUT.CLASSES={cfg.OUTPUT.CLASSES})."
            )
        if ignored in values:
            raise UserError(f"DATASET.IGNORE_LABEL={ignored} is one of DATASET.LABEL_VALUES={list(values)}.")
        if cfg.PREPROCESS_DATA.NORMALIZE_MASK.VALUE:
            raise UserError("DATASET.LABEL_VALUES and PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True exclude each other.")
    for name, options in cfg.LOSS_OPTIONS.items():
        weights = options.get("class_weights")
        if weights is not None and (len(weights) != classes or not any(weights[1:])):
            raise UserError(
                f"LOSS_OPTIONS.{name}.class_weights={list(weights)} needs {classes} entries, background first, and one "
                f"after it above 0 (OUTPUT.CLASSES={cfg.OUTPUT.CLASSES})."
            )
    for name in cfg.EVALUATION.METRICS or []:
        look_up(load_object("losses:EVALUATION_METRICS"), name, "EVALUATION.METRICS")
