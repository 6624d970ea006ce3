"""What each value of the config may be, where its default does not say it all."""

from dataclasses import dataclass

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
    "OPTIMIZER.NAME": Rule(choices="utils.training.optimizers:OPTIMIZERS"),
    "OPTIMIZER.WEIGHT_DECAY": Rule(low=0, high=1),
    "OPTIMIZER.MOMENTUM": Rule(low=0, high=0.9999),
    "OPTIMIZER.CLIP_NORM": Rule(types=(float, type(None)), low=1e-12),
    "OPTIMIZER.ACCUMULATION_STEPS": Rule(low=1),
    "OPTIMIZER.EMA": Rule(types=(float, type(None)), low=0, high=0.99999),
    "LR_SCHEDULE.NAME": Rule(choices="utils.training.schedules:SCHEDULES"),
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
    "EXPORT.FORMAT": Rule(choices="utils.export.formats:FORMATS"),
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
    "STRATEGY.NAME": Rule(choices="utils.devices.strategy:STRATEGIES"),
    "STRATEGY.LOGICAL_CPUS": Rule(types=(int, type(None)), low=1, high=64),
    "OPTIMIZATION.AMP": Rule(types=(bool, str), choices=(False, True, "bfloat16")),
}
