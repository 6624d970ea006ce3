"""Load, check and restore the configuration. Imports neither TensorFlow nor Keras."""

import functools
import hashlib
import os
import re
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from utils.errors import UserError
from utils.files import resolve_path
from utils.folds import ALL, OUTPUTS, apply_fold
from utils.lookup import choose, list_choices, load

PROJECT = Path(__file__).resolve().parent.parent
CONFIGS = PROJECT / "configs"

# In a sweep each job has folders of its own below OUTPUTS, named after what differs between the jobs, but for these,
# which do not change the weights; folds have folders of their own.
OF_ALL_JOBS = (
    *(f"{key}=" for key in ("WORK_DIR", "VERBOSE", "DATALOADER_WORKERS", *OUTPUTS)),
    *("USE_MULTI_GPUS.", "EVALUATION.", "DATASET.FOLD="),
)
LONGEST_NAME = 180  # file systems take 255 bytes

# Keys that have no default and are given with a plus: +bench_steps=100
OPTIONAL_KEYS = {"warmup_steps": int, "bench_steps": int, "show": int, "serve": int}


@dataclass(frozen=True)
class Rule:
    """What a value may be, where its default does not say it all."""

    types: tuple = ()  # types allowed beside the type of the default
    low: float | None = None
    high: float | None = None
    choices: tuple | str | None = None  # values, or "module:TABLE"
    length: int | None = None
    items: tuple = (int,)  # types of the entries, where the value is a list


PATHS = Rule(types=(str, list, type(None)), items=(str,))
SCANS = Rule(types=(str,))
SIZE = Rule(types=(int, type(None)), low=1, high=65536)
SPLITS = ("train", "val", "test")
CLASS_WEIGHTS = Rule(types=(list, type(None)), low=0, high=1e6, items=(int, float))
SMOOTH = Rule(low=1e-7)
AVERAGE = Rule(choices=("image", "batch"))
AUGMENTATION_RANGES = {
    "ROTATION.DEGREES": (-180, 180),
    "ZOOM.FACTOR": (0.1, 10),
    "SHEAR.DEGREES": (-80, 80),
    "TRANSLATION.SHARE": (-1, 1),
    "BRIGHTNESS.SHIFT": (-1, 1),
    "CONTRAST.FACTOR": (0, 10),
    "GAMMA.EXPONENT": (0.01, 100),
    "NOISE.STD": (0, 1),
    "BLUR.SIGMA": (0.1, 100),
    "COARSE_DROPOUT.SIZE": (0.001, 1),
}
AUGMENTATIONS = ("HORIZONTAL_FLIP", "VERTICAL_FLIP", "ROTATE_90", "ELASTIC")
AUGMENTATIONS += tuple(key.split(".")[0] for key in AUGMENTATION_RANGES)
FLAG_OR_NULL = Rule(types=(bool, type(None)))

RULES = {
    "OVERRIDES": Rule(items=(str,)),
    "RUN": Rule(types=(str, type(None))),
    "CALLBACKS.MODEL_CHECKPOINT.KEEP": Rule(low=1, high=10),
    "CALLBACKS.CHECKPOINT_EVERY_STEPS": Rule(types=(int, type(None)), low=1),
    **{f"AUGMENTATION.{knob}.PROBABILITY": Rule(low=0, high=1) for knob in AUGMENTATIONS},
    **{
        f"AUGMENTATION.{key}": Rule(low=low, high=high, length=2, items=(int, float))
        for key, (low, high) in AUGMENTATION_RANGES.items()
    },
    "AUGMENTATION.COARSE_DROPOUT.HOLES": Rule(low=1, high=1000, length=2),
    "AUGMENTATION.ZOOM.PAN": Rule(low=0, high=1),
    "AUGMENTATION.ELASTIC.DISPLACEMENT": Rule(low=0, high=1000),
    "AUGMENTATION.ELASTIC.SMOOTHNESS": Rule(low=1, high=1000),
    "AUGMENTATION.ZOOM.KEEP_FOREGROUND": FLAG_OR_NULL,
    "AUGMENTATION.ENGINE": Rule(choices="data_generators:ENGINES"),
    "AUGMENTATION.ALBUMENTATIONS": Rule(types=(str, type(None))),
    "AUGMENTATION.FILL": Rule(choices=("reflect", "zero")),
    "DATA_PREPARATION.RESIZED_HEIGHT": SIZE,
    "DATA_PREPARATION.RESIZED_WIDTH": SIZE,
    "DATA_PREPARATION.RESIZE_METHOD": Rule(choices=("resize", "crop_or_pad")),
    "DATA_PREPARATION.SCAN_MIN_VALUE": Rule(types=(float,)),
    "DATA_PREPARATION.SCAN_MAX_VALUE": Rule(types=(float,)),
    "DATA_PREPARATION.INTENSITY_SCALING": Rule(choices=("window", "slice_min_max")),
    "DATA_PREPARATION.LABELS": Rule(choices=("merge_tumour", "liver_and_tumour")),
    "DATA_PREPARATION.WORKERS": Rule(types=(int, type(None)), low=1),
    "DATASET.SERVICE": Rule(types=(list, type(None)), items=(str,)),
    "DATASET.FOLDS": Rule(types=(str, type(None))),
    "DATASET.FOLD": Rule(types=(int, str, type(None)), low=0),
    "DATASET.TRAIN.IMAGES_PATH": PATHS,
    "DATASET.TRAIN.MASK_PATH": PATHS,
    "DATASET.VAL.IMAGES_PATH": PATHS,
    "DATASET.VAL.MASK_PATH": PATHS,
    "DATASET.TEST.IMAGES_PATH": PATHS,
    "DATASET.TEST.MASK_PATH": PATHS,
    "DATASET.IGNORE_LABEL": Rule(types=(int, type(None)), low=0, high=255),
    "DATASET.LABEL_VALUES": Rule(types=(list, type(None)), low=0, high=65535),
    "DATASET.CROP.MODE": Rule(choices=(None, "random", "center", "foreground"), types=(str, type(None))),
    "DATASET.CROP.HEIGHT": SIZE,
    "DATASET.CROP.WIDTH": SIZE,
    "DATASET.CACHE": Rule(types=(str, type(None))),
    "DATASET.FOREGROUND_FRACTION": Rule(types=(float, type(None)), low=0, high=1),
    "MODEL.TYPE": Rule(choices="models:MODEL_TYPES"),
    "MODEL.FILTERS": Rule(types=(list, type(None)), low=1),
    "MODEL.DEEP_SUPERVISION": FLAG_OR_NULL,
    "MODEL.CGM": FLAG_OR_NULL,
    "MODEL.DEEP_SUPERVISION_WEIGHTS": Rule(types=(list, type(None)), low=0, items=(int, float)),
    "MODEL.PRUNE": Rule(types=(int, type(None)), low=1, high=4),
    "MODEL.L2": Rule(low=0, high=1),
    "MODEL.PADDING": Rule(choices=("same", "valid")),
    "MODEL.CONV_BIAS": FLAG_OR_NULL,
    "MODEL.BACKBONE.TYPE": Rule(choices="models:ENCODERS"),
    "MODEL.BACKBONE.WEIGHTS": Rule(types=(str, type(None))),
    "MODEL.BACKBONE.SKIP_LAYERS": Rule(types=(list, type(None)), length=5, items=(str,)),
    "MODEL.BACKBONE.DOWN_LAYERS": Rule(types=(list, type(None)), length=3, items=(str,)),
    "MODEL.DECODER.FILTERS": Rule(types=(list, type(None)), low=1),
    "MODEL.DECODER.UPSAMPLE": Rule(choices=("transpose", "nearest", "bilinear")),
    "MODEL.DECODER.UPSAMPLE_KERNEL": Rule(low=2, high=16),
    "MODEL.DECODER.CONVS": Rule(low=0, high=8),
    "MODEL.DECODER.NORM_MOMENTUM": Rule(low=0, high=0.9999),
    "MODEL.DECODER.DROPOUT": Rule(low=0, high=0.95),
    "MODEL.HEAD.TRANSPOSE": FLAG_OR_NULL,
    "MODEL.HEAD.KERNEL": Rule(low=1, high=15),
    "DATA_GENERATOR_TYPE": Rule(choices="data_generators:LOADERS"),
    "SEED": Rule(low=0, high=2**32 - 1),
    "VERBOSE": Rule(choices=(0, 1, 2)),
    "DATALOADER_WORKERS": Rule(low=1, high=256),
    "INPUT.HEIGHT": SIZE,
    "INPUT.WIDTH": SIZE,
    "INPUT.CHANNELS": Rule(low=1, high=512),
    "MODEL.CLASSIFIER_DROPOUT": Rule(low=0, high=0.95),
    "MODEL.CLASSIFIER_ACTIVATION": Rule(choices=(None, "softmax", "sigmoid"), types=(str, type(None))),
    "OUTPUT.CLASS_NAMES": Rule(types=(list, type(None)), items=(str,)),
    "OUTPUT.CLASSES": Rule(low=1, high=256),
    "HYPER_PARAMETERS.EPOCHS": Rule(low=1),
    "HYPER_PARAMETERS.BATCH_SIZE": Rule(low=1),
    "HYPER_PARAMETERS.LEARNING_RATE": Rule(low=1e-12, high=1e3),
    "OPTIMIZER.NAME": Rule(choices="utils.optimizers:OPTIMIZERS"),
    "OPTIMIZER.WEIGHT_DECAY": Rule(low=0, high=1),
    "OPTIMIZER.MOMENTUM": Rule(low=0, high=0.9999),
    "OPTIMIZER.CLIP_NORM": Rule(types=(float, type(None)), low=1e-12),
    "OPTIMIZER.ACCUMULATION_STEPS": Rule(low=1),
    "OPTIMIZER.EMA": Rule(types=(float, type(None)), low=0, high=0.99999),
    "LR_SCHEDULE.NAME": Rule(choices="utils.schedules:SCHEDULES"),
    "LR_SCHEDULE.MINIMUM": Rule(low=0),
    "LR_SCHEDULE.WARMUP_EPOCHS": Rule(low=0),
    "LR_SCHEDULE.WARMUP_START": Rule(low=0),
    "LR_SCHEDULE.SUSTAIN_EPOCHS": Rule(low=0),
    "LR_SCHEDULE.DECAY": Rule(low=0, high=1),
    "LR_SCHEDULE.PERIOD": Rule(low=1),
    "LR_SCHEDULE.PERIOD_FACTOR": Rule(low=1),
    "LR_SCHEDULE.PEAK_FACTOR": Rule(low=0, high=1),
    "LR_SCHEDULE.PLATEAU_PATIENCE": Rule(types=(int, type(None)), low=1),
    "LR_SCHEDULE.PLATEAU_FACTOR": Rule(low=0, high=1),
    "LOSS_OPTIONS.focal.alpha": Rule(low=0),
    "LOSS_OPTIONS.focal.gamma": Rule(low=0),
    "LOSS_OPTIONS.boundary_weighted_ce.w0": Rule(low=0, high=1e6),
    "LOSS_OPTIONS.boundary_weighted_ce.sigma": Rule(low=0.1, high=1000),
    "LOSS_OPTIONS.tversky.alpha": Rule(low=0, high=1),
    "LOSS_OPTIONS.tversky.beta": Rule(low=0, high=1),
    "LOSS_OPTIONS.focal_tversky.alpha": Rule(low=0, high=1),
    "LOSS_OPTIONS.focal_tversky.beta": Rule(low=0, high=1),
    "LOSS_OPTIONS.focal_tversky.gamma": Rule(low=0.1, high=10),
    **{f"LOSS_OPTIONS.{term}.average": AVERAGE for term in ("dice", "tversky", "focal_tversky", "lovasz")},
    **{
        f"LOSS_OPTIONS.{term}.smooth": SMOOTH
        for term in ("iou", "dice", "tversky", "focal_tversky", "bce_dice", "bce_dice_half", "combo")
    },
    **{
        f"LOSS_OPTIONS.{term}.class_weights": CLASS_WEIGHTS
        for term in ("focal", "bce", "cce", "boundary_weighted_ce", "iou", "dice", "tversky", "focal_tversky")
    },
    "EVALUATION.METRICS": Rule(types=(list, type(None)), items=(str,)),
    "EVALUATION.EMPTY_IMAGES": Rule(choices=("skip", "one", "zero")),
    "CALLBACKS.EARLY_STOPPING.PATIENCE": Rule(low=0),
    "PREPROCESS_DATA.RESIZE.HEIGHT": SIZE,
    "PREPROCESS_DATA.RESIZE.WIDTH": SIZE,
    "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE": Rule(choices=("normalize",)),
    "PREPROCESS_DATA.NORMALIZE_MASK.NORMALIZE_VALUE": Rule(low=1),
    "EVALUATION.SPLITS": Rule(choices=SPLITS),
    "EVALUATION.VOLUMES": Rule(types=(bool, type(None))),
    "EVALUATION.SPACING_MM": Rule(types=(list, type(None)), low=1e-4, high=1e4, length=3, items=(int, float)),
    "EVALUATION.SURFACE_TOLERANCE_MM": Rule(low=0, high=1e4),
    "EVALUATION.BOOTSTRAP": Rule(low=0, high=100_000),
    "EVALUATION.GALLERY": Rule(low=0, high=10_000),
    "EXPORT.FORMAT": Rule(choices=("onnx", "tflite", "saved_model", "keras")),
    "EXPORT.SIZE": Rule(choices=("fixed", "dynamic")),
    "EXPORT.QUANTIZE": Rule(choices=(None, "float16", "int8"), types=(str, type(None))),
    "EXPORT.CALIBRATION": Rule(low=1, high=10_000),
    "PREDICT.INPUT": PATHS,
    "APP.PORT": Rule(low=1024, high=65535),
    "PREDICT.SHOW": Rule(low=0, high=100),
    "PREDICT.TILE.SIZE": Rule(types=(int, type(None)), low=16, high=65536),
    "PREDICT.TILE.OVERLAP": Rule(low=0, high=0.9),
    "PREDICT.TILE.BLEND": Rule(choices=("gaussian", "crop")),
    "PREDICT.TTA": Rule(choices=("none", "flips", "dihedral")),
    "PREDICT.ENSEMBLE": Rule(types=(list, type(None)), items=(str,)),
    "PREDICT.POSTPROCESS.THRESHOLDS": Rule(types=(list, type(None)), low=0, high=1, items=(int, float)),
    "PREDICT.POSTPROCESS.MINIMUM_SIZE": Rule(low=0),
    "USE_MULTI_GPUS.VALUE": FLAG_OR_NULL,
    "USE_MULTI_GPUS.GPU_IDS": Rule(types=(int, list), low=-1),
    "STRATEGY.NAME": Rule(choices="utils.devices:STRATEGIES"),
    "STRATEGY.LOGICAL_CPUS": Rule(types=(int, type(None)), low=1, high=64),
    "OPTIMIZATION.AMP": Rule(types=(bool, str), choices=(False, True, "bfloat16")),
}


def entry(task):
    """Make `task(cfg)` a command: Hydra overrides in, one clear line and exit code 2 for bad input."""

    @functools.wraps(task)
    def job(cfg):
        try:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                give_own_folders(cfg)
            task(finish_config(cfg, HydraConfig.get().overrides.task))
        except UserError as error:
            fail(error, error.exit_code)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)

    def command():
        sys.unraisablehook = interrupt_again
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing: one place formats all errors
        main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(job)
        try:
            main()
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)
        except (HydraException, OmegaConfBaseException, MarkedYAMLError) as error:
            fail(explain(error))

    return command


def interrupt_again(unraisable):
    """Hook for errors that Python can only report: a Ctrl-C that met garbage collection comes once more.

    Libraries run code of theirs there (JAX does), and what it raises is lost.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.daemon = True
    timer.start()


def give_own_folders(cfg):
    """Let a job of a sweep write below a folder that is named after what it alone was given: no two share files.

    The same sweep of `evaluate.py` and `predict.py` finds there what that of `train.py` wrote.
    """
    swept = [override for override in swept_overrides(HydraConfig.get()) if not override.startswith(OF_ALL_JOBS)]
    name = ",".join(override.lstrip("+~").replace("/", "_") for override in swept)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    for key in OUTPUTS if name else ():
        path = OmegaConf.select(cfg, key)
        if isinstance(path, str):  # else it is reported as soon as the config is checked
            make_folder(cfg, path)
            OmegaConf.update(cfg, key, f"{path.rstrip('/')}/{name}")


def make_folder(cfg, path):
    """Make the folder that holds those of the jobs: `resolve_path` takes an absolute path whose parent is there."""
    try:
        resolve_path(cfg, path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path}: {error.strerror}") from None


def swept_overrides(settings):
    """The overrides of this job whose keys got several values; all where the sweeper left no note of that."""
    note = Path(settings.sweep.dir) / "multirun.yaml"
    if not note.is_file():
        return list(settings.overrides.task)
    parser = OverridesParser.create()
    asked = parser.parse_overrides(list(OmegaConf.load(note).hydra.overrides.task))
    keys = {override.key_or_group for override in asked if override.is_sweep_override()}
    return [text for text in settings.overrides.task if parser.parse_override(text).key_or_group in keys]


def fail(message, exit_code=2):
    """Print one message and end the program, by default with the exit code of bad input."""
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(exit_code)


def load_config(overrides=()):
    """Compose `configs/config.yaml` with overrides, as the command line does, and check it.

    Args:
        overrides: list of str such as `["MODEL.TYPE=unet3plus", "OUTPUT.CLASSES=2"]`.

    Returns:
        The checked `DictConfig`.

    Raises:
        UserError: unknown key, wrong type, or a value outside its range or table.
    """
    overrides = list(overrides)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            cfg = hydra.compose("config", overrides=overrides)
        except (HydraException, OmegaConfBaseException, MarkedYAMLError) as error:
            raise UserError(explain(error)) from None
    try:
        return finish_config(cfg, overrides)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from None


def finish_config(cfg, overrides):
    """Note what was typed, read "none" as null, and check every value."""
    OmegaConf.set_struct(cfg, False)
    # An experiment is no setting but chooses some: what it chose is in the config.
    cfg.OVERRIDES = [override for override in overrides if not override.startswith("+experiment=")]
    splits = cfg.DATASET.values() if isinstance(cfg.get("DATASET"), DictConfig) else []
    for split in (split for split in splits if isinstance(split, DictConfig)):
        for key in ("IMAGES_PATH", "MASK_PATH"):
            if key in split and str(split[key]).lower() in ("none", "null", ""):
                split[key] = None
    check_config(cfg)
    apply_fold(cfg)
    return cfg


def explain(error):
    """Say a Hydra error in our words, with the keys that exist beside the mistyped one."""
    if isinstance(error, MarkedYAMLError):
        place = error.problem_mark
        return f"{place.name.strip()}, line {place.line + 1}: is not YAML: {error.problem}."
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        return unknown_key(unknown.group(1))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("See http")]
    return "\n".join(lines)


def unknown_key(key):
    """Message for a key that config.yaml does not have: the choices at the deepest level that exists."""
    if key in OPTIONAL_KEYS or key == "experiment":
        return f"{key} has no default: give it with a plus, +{key}=..."
    node, path = default_config(), []
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            break
        node = node._get_node(part)
        path.append(part)
    if not isinstance(node, DictConfig):
        return f"{'.'.join(path)} is a single value; {key} does not exist."
    prefix = "".join(f"{name}." for name in path)
    choices = [prefix + name for name in node]
    if not path:
        choices += sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())  # groups: loss=NAME
    return f"The key {key} does not exist. {list_choices(key, choices)}"


@functools.lru_cache(maxsize=1)
def default_config():
    """The composed defaults, with interpolations kept."""
    # A private Hydra instance would replace the running one; reading the files does not.
    cfg = OmegaConf.load(CONFIGS / "config.yaml")
    cfg.pop("hydra")
    for choice in cfg.pop("defaults"):
        if isinstance(choice, DictConfig):
            ((group, name),) = choice.items()
            if not group.startswith("override"):
                cfg[group.upper()] = OmegaConf.load(CONFIGS / group / f"{name}.yaml")
    return cfg


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
    load("models:check_model")(cfg)


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
    if augmentation.ENGINE == "tensorflow":
        if augmentation.ALBUMENTATIONS is not None:
            raise UserError(
                f"AUGMENTATION.ENGINE=tensorflow has no AUGMENTATION.ALBUMENTATIONS={augmentation.ALBUMENTATIONS}: set "
                "knobs instead, or AUGMENTATION.ENGINE=albumentations."
            )
        if cfg.DATA_GENERATOR_TYPE not in ("TF_DATA", "TFRECORD"):
            raise UserError(
                "AUGMENTATION.ENGINE=tensorflow needs DATA_GENERATOR_TYPE=TF_DATA or TFRECORD, not "
                f"{cfg.DATA_GENERATOR_TYPE}; set AUGMENTATION.ENGINE=albumentations for the others."
            )
        if cfg.MODEL.TYPE == "classifier":
            raise UserError(
                "AUGMENTATION.ENGINE=tensorflow is for masks: set AUGMENTATION.ENGINE=albumentations with "
                "MODEL.TYPE=classifier."
            )
    elif augmentation.ZOOM.KEEP_FOREGROUND:
        raise UserError(
            f"AUGMENTATION.ENGINE={augmentation.ENGINE} has no AUGMENTATION.ZOOM.KEEP_FOREGROUND: set it to null, or "
            "AUGMENTATION.ENGINE=tensorflow (with DATA_GENERATOR_TYPE=TF_DATA or TFRECORD)."
        )
    if "ROTATE_90" in on and cfg.INPUT.HEIGHT != cfg.INPUT.WIDTH:
        raise UserError(
            f"AUGMENTATION.ROTATE_90 needs square pictures; INPUT is {cfg.INPUT.HEIGHT}x{cfg.INPUT.WIDTH}. Set "
            "AUGMENTATION.ROTATE_90.PROBABILITY=0, and both flips instead."
        )


def check_loss(cfg):
    """LOSS names terms of the table, with weights that are not all zero, for images that are large enough."""
    if not any(cfg.LOSS.values()):
        raise UserError("LOSS has no term with a weight above 0. Choose one with loss=NAME, see configs/loss.")
    for name, weight in cfg.LOSS.items():
        if not is_number(weight) or not 0 <= weight < float("inf"):
            raise UserError(f"LOSS.{name}={weight} must be a finite number of at least 0.")
        if name not in load("losses:LOSSES"):
            raise UserError(f"LOSS.{name} is not a loss term. {list_choices(name, load('losses:LOSSES'))}")
        if weight > 0:
            load("losses:check_size")(name, cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)


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
        choose(load("losses:EVALUATION_METRICS"), name, "EVALUATION.METRICS")


def check_level(node, default, prefix):
    """Check one level of the config and what lies below it."""
    for name in default:
        if name not in node:
            raise UserError(f"{prefix}{name} is missing: it cannot be removed, set it to null if it may be empty.")
    for name in node:
        key = f"{prefix}{name}"
        if key in OPTIONAL_KEYS:
            check_value(key, node[name], OPTIONAL_KEYS[key](), Rule(low=0))
        elif key == "LOSS":
            continue
        elif name not in default:
            raise UserError(unknown_key(key))
        elif isinstance(default._get_node(name), DictConfig):
            if not isinstance(node[name], DictConfig):
                raise UserError(f"{key}={node[name]} must be a group of keys: {', '.join(default[name])}.")
            check_level(node[name], default[name], f"{key}.")
        else:
            check_value(key, node[name], default_value(default, name), RULES.get(key, Rule()))


def default_value(default, name):
    """The default, or what it points to (`${INPUT.HEIGHT}`)."""
    node = default._get_node(name)
    return default[name] if not isinstance(node, ListConfig) else list(node)


def check_value(key, value, default, rule):
    """Check one value against the type of its default and its rule."""
    types = rule.types or (type(default),)
    if float in types:
        types = types + (int,)
    if isinstance(value, ListConfig):
        value = OmegaConf.to_container(value)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in dict.fromkeys(types))
        raise UserError(f"{key}={value} has the wrong type: expected {names}, got {type(value).__name__}.")
    if rule.choices is not None:
        choices = tuple(load(rule.choices)) if isinstance(rule.choices, str) else rule.choices
        entries = value if isinstance(value, list) else [value]
        for entry in entries:
            if entry not in choices:
                raise UserError(f"{key}={entry} is not known. {list_choices(entry, choices)}")
        if not entries or len(set(entries)) < len(entries):
            raise UserError(f"{key}={value} must name at least one of {', '.join(map(str, choices))}, each once.")
        return
    if rule.length is not None and isinstance(value, list) and len(value) != rule.length:
        raise UserError(f"{key}={value} needs {rule.length} entries, got {len(value)}.")
    wrong = [entry for entry in value if type(entry) not in rule.items] if isinstance(value, list) else []
    if wrong:
        names = " or ".join(kind.__name__ for kind in rule.items)
        raise UserError(f"{key}={value} has the wrong type: every entry must be {names}, not {wrong[0]}.")
    if value == "":
        raise UserError(f"{key} must not be empty.")
    for number in value if isinstance(value, list) else [value]:
        if not is_number(number):
            continue
        if number != number:
            raise UserError(f"{key}={value} must be a number.")
        if rule.low is not None and number < rule.low:
            raise UserError(f"{key}={value} is too small: at least {rule.low:g}.")
        if rule.high is not None and number > rule.high:
            raise UserError(f"{key}={value} is too large: at most {rule.high:g}.")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
