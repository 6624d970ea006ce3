"""Rules between keys about training: learning rate, loss, classes."""

from omegaconf import DictConfig

from utils.base.class_bits import MOST_CLASSES
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.base.text_files import CONTROL_CHARACTER
from utils.config.defaults import default_config
from utils.config.overrides import override_key


def schedule_stays_below_its_peak(cfg: DictConfig) -> None:
    peak = cfg.HYPER_PARAMETERS.LEARNING_RATE
    for key in ("MINIMUM", "WARMUP_START"):
        if cfg.LR_SCHEDULE[key] > peak:
            raise UserError(
                f"LR_SCHEDULE.{key}={cfg.LR_SCHEDULE[key]} must not be above HYPER_PARAMETERS.LEARNING_RATE={peak}."
            )


def freeze_ends_within_the_run(cfg: DictConfig) -> None:
    epochs = cfg.MODEL.FREEZE_EPOCHS
    if epochs is None:
        return
    key = f"MODEL.FREEZE_EPOCHS={epochs}"
    if cfg.MODEL.FREEZE is None:
        raise UserError(f"{key} needs MODEL.FREEZE, which says what is not trained until then.")
    if not cfg.MODEL.BACKBONE.TRAINABLE:
        raise UserError(f"{key} would train the encoder that MODEL.BACKBONE.TRAINABLE=False freezes: leave that out.")
    if epochs >= cfg.HYPER_PARAMETERS.EPOCHS:
        raise UserError(
            f"{key} must be below HYPER_PARAMETERS.EPOCHS={cfg.HYPER_PARAMETERS.EPOCHS}, or null: the whole run."
        )


def monitor_is_a_score(cfg: DictConfig) -> None:
    for callback in ("MODEL_CHECKPOINT", "EARLY_STOPPING"):
        monitor = load_object("losses.monitor:build_monitor")(cfg, callback)
        if monitor.name == "presence_accuracy" and not load_object("models:model_settings")(cfg)[0].CGM:
            raise UserError(f"CALLBACKS.{callback}.MONITOR=presence_accuracy needs MODEL.CGM=True.")


def classifier_has_its_own_loss(cfg: DictConfig) -> None:
    if cfg.MODEL.TYPE == "classifier" and any(
        override_key(override).partition(".")[0] == "LOSS" for override in cfg.OVERRIDES
    ):
        raise UserError(
            "LOSS is for masks; MODEL.TYPE=classifier takes the cross-entropy of its activation: leave it out."
        )


def classifier_has_its_own_sigmoid(cfg: DictConfig) -> None:
    if cfg.MODEL.TYPE == "classifier" and cfg.OUTPUT.MULTI_LABEL:
        raise UserError(
            "OUTPUT.MULTI_LABEL is for masks; MODEL.TYPE=classifier with several labels per image takes "
            "MODEL.CLASSIFIER_ACTIVATION=sigmoid."
        )


def loss_has_a_term(cfg: DictConfig) -> None:
    if not any(cfg.LOSS.values()):
        raise UserError("LOSS has no term with a weight above 0. Choose one with loss=NAME, see configs/loss.")


def no_loss_option_is_removed(cfg: DictConfig) -> None:
    """The options in config.yaml must stay; those of other terms have defaults in the signature of their function."""
    for name, term in load_object("losses:LOSSES").items():
        for option in term.options:
            if option not in cfg.LOSS_OPTIONS.get(name, {}) and name in default_config().LOSS_OPTIONS:
                raise UserError(f"LOSS_OPTIONS.{name}.{option} is missing: it cannot be removed.")


def images_are_large_enough_for_the_loss(cfg: DictConfig) -> None:
    for name, weight in cfg.LOSS.items():
        if weight > 0:
            load_object("losses:check_size")(name, cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)


def overlapping_classes_fit_their_masks(cfg: DictConfig) -> None:
    if not is_multi_label(cfg):
        return
    if cfg.OUTPUT.CLASSES > MOST_CLASSES:
        raise UserError(
            f"OUTPUT.MULTI_LABEL=True takes up to {MOST_CLASSES} classes, a bit each of a mask's value, not "
            f"OUTPUT.CLASSES={cfg.OUTPUT.CLASSES}. Train several networks, each of some classes (DATASET.CLASS_MASKS)."
        )
    for key, is_set in {
        "DATASET.LABEL_VALUES": cfg.DATASET.LABEL_VALUES is not None,
        "PREPROCESS_DATA.NORMALIZE_MASK.VALUE": cfg.PREPROCESS_DATA.NORMALIZE_MASK.VALUE,
    }.items():
        if is_set:
            raise UserError(
                f"OUTPUT.MULTI_LABEL=True reads the bits of a mask's values as stored: leave {key} out. "
                "DATASET.LABEL_SETS gives values another meaning."
            )


def ignored_label_is_no_class(cfg: DictConfig) -> None:
    ignored, classes = cfg.DATASET.IGNORE_LABEL, number_of_classes(cfg)
    if ignored is not None and is_multi_label(cfg) and ignored < 2**cfg.OUTPUT.CLASSES:
        raise UserError(
            f"DATASET.IGNORE_LABEL={ignored} is the value of overlapping classes: OUTPUT.MULTI_LABEL=True with "
            f"OUTPUT.CLASSES={cfg.OUTPUT.CLASSES} has the values 0 to {2**cfg.OUTPUT.CLASSES - 1}. "
            "Choose a value above."
        )
    if ignored is not None and ignored < classes:
        raise UserError(
            f"DATASET.IGNORE_LABEL={ignored} is a class index: OUTPUT.CLASSES={cfg.OUTPUT.CLASSES} has the classes 0 "
            f"to {classes - 1}. Choose a value above, or lower OUTPUT.CLASSES."
        )


def class_names_fit_the_classes(cfg: DictConfig) -> None:
    names, classes = cfg.OUTPUT.CLASS_NAMES, number_of_classes(cfg)
    if names is not None and len(names) != classes:
        raise UserError(f"OUTPUT.CLASS_NAMES={list(names)} needs {classes} names, background first.")
    for name in names or ():
        if CONTROL_CHARACTER.search(str(name)):  # a terminal obeys them, a line break divides rows of tables
            raise UserError(f"OUTPUT.CLASS_NAMES: the name {str(name)!r} contains control characters.")


def foreground_needs_a_background(cfg: DictConfig) -> None:
    if cfg.OUTPUT.BACKGROUND is not False or cfg.OUTPUT.CLASSES == 1:
        return
    asked = {
        f"DATASET.FOREGROUND_FRACTION={cfg.DATASET.FOREGROUND_FRACTION}": cfg.DATASET.FOREGROUND_FRACTION is not None,
        "DATASET.CROP.MODE=foreground": cfg.DATASET.CROP.MODE == "foreground",
    }
    for setting in (setting for setting, is_set in asked.items() if is_set):
        raise UserError(
            f"{setting} looks for foreground, but OUTPUT.BACKGROUND=False makes class 0 a class like the others: every "
            "pixel is foreground. Leave one of the two out."
        )


def label_values_fit_the_classes(cfg: DictConfig) -> None:
    values, ignored, classes = cfg.DATASET.LABEL_VALUES, cfg.DATASET.IGNORE_LABEL, number_of_classes(cfg)
    if values is None:
        return
    if len(values) != classes or len(set(values)) < classes:
        raise UserError(
            f"DATASET.LABEL_VALUES={list(values)} needs {classes} different values, background first "
            f"(OUTPUT.CLASSES={cfg.OUTPUT.CLASSES})."
        )
    if ignored in values:
        raise UserError(f"DATASET.IGNORE_LABEL={ignored} is one of DATASET.LABEL_VALUES={list(values)}.")
    if cfg.PREPROCESS_DATA.NORMALIZE_MASK.VALUE:
        raise UserError("DATASET.LABEL_VALUES and PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True exclude each other.")


def class_weights_fit_the_classes(cfg: DictConfig) -> None:
    classes = number_of_classes(cfg)
    for name, options in cfg.LOSS_OPTIONS.items():
        weights = options.get("class_weights")
        if weights is not None and (len(weights) != classes or not any(weights[1:])):
            raise UserError(
                f"LOSS_OPTIONS.{name}.class_weights={list(weights)} needs {classes} entries, background first, and one "
                f"after it above 0 (OUTPUT.CLASSES={cfg.OUTPUT.CLASSES})."
            )
