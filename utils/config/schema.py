"""Every key of the config, declared once: type, range or choices, and roles. Default and description: configs/*.yaml.

Checks of values, resuming, sweeps, the config beside the weights, `configs/schema.json` and the reference page all read
this. The names and order are those of `configs/config.yaml`; a test compares them.
"""

from utils.base.keras_settings import BACKENDS
from utils.base.keys import Group, Key, OptionalKeys, Role
from utils.base.registry import load_object
from utils.config.augmentation_keys import AUGMENTATION

ARCHITECTURE, PREPARATION, RESUMABLE = Role.ARCHITECTURE, Role.PREPARATION, Role.RESUMABLE
PER_COMMAND, SHARED, OUTPUT = Role.PER_COMMAND, Role.SHARED, Role.OUTPUT
SPLITS = ("train", "val", "test")
LOSSES = load_object("losses:LOSSES")  # each row declares the options of its term

FLAG, RESUMABLE_FLAG, FLAG_OR_NULL, COUNT = Key(bool), Key(bool, roles=RESUMABLE), Key(bool | None), Key(int, low=0)
PRECISION, SIZE = Key(choices=(False, True, "bfloat16")), Key(int | None, low=1, high=65536)
PATHS = Key(str | list[str] | None)
SPLIT_PATHS = Group(IMAGES_PATH=PATHS, MASK_PATH=PATHS, OBJECTS_PATH=PATHS.with_roles(RESUMABLE))

SCHEMA = Group(
    WORK_DIR=Key(str, roles=RESUMABLE | PER_COMMAND | SHARED),
    OVERRIDES=Key(list[str], roles=RESUMABLE | PER_COMMAND),
    RUN=Key(str | None, roles=RESUMABLE),
    RESUME=Key(str, roles=RESUMABLE | PER_COMMAND),
    DATA_PREPARATION=Group(
        SCANS_TRAIN_DATA_PATH=Key(str, roles=RESUMABLE),
        SCANS_VAL_DATA_PATH=Key(str, roles=RESUMABLE),
        RESIZED_HEIGHT=SIZE.with_roles(PREPARATION),
        RESIZED_WIDTH=SIZE.with_roles(PREPARATION),
        RESIZE_METHOD=Key(choices=("resize", "crop_or_pad"), roles=PREPARATION),
        SCAN_MIN_VALUE=Key(float | None, roles=PREPARATION),
        SCAN_MAX_VALUE=Key(float | None, roles=PREPARATION),
        INTENSITY_SCALING=Key(choices=("window", "slice_min_max"), roles=PREPARATION),
        DEPTH=Key(choices=(8, 16), roles=PREPARATION),
        LABELS=Key(choices=("merge_tumour", "liver_and_tumour", "foreground", "as_stored"), roles=PREPARATION),
        LABEL_GRID=Key(choices=("own", "resample", "scan"), roles=RESUMABLE),
        MODALITY=Key(int | None, low=0, roles=PREPARATION),
        CHANNELS=Key(list[str] | None, roles=PREPARATION),
        RESAMPLE_CHANNELS=Key(bool, roles=RESUMABLE),
        PREPARED_BY=Key(str | None, roles=PREPARATION),
        WORKERS=Key(int | None, low=1, roles=RESUMABLE),
    ),
    DATASET=Group(
        FOLDS=Key(str | None),
        FOLD=Key(int | str | None, low=0, roles=SHARED),
        TRAIN=SPLIT_PATHS,
        VAL=SPLIT_PATHS,
        TEST=SPLIT_PATHS.with_roles(RESUMABLE),
        CHANNELS=Key(list[str] | None),
        BANDS=Key(list[int] | None, low=1, high=512),
        SLICES_AROUND=Key(int, low=0, high=32),
        IGNORE_LABEL=Key(int | None, low=0, high=255),
        LABEL_VALUES=Key(list[int] | None, low=0, high=65535),
        LABEL_SETS=Key(dict | None),
        CLASS_MASKS=Key(str | list[str] | None),
        CROP=Group(MODE=Key(choices=(None, "random", "center", "foreground")), HEIGHT=SIZE, WIDTH=SIZE),
        FOREGROUND_FRACTION=Key(float | None, low=0, high=1),
        CACHE=Key(str | None, roles=RESUMABLE | PER_COMMAND),
        DROP_REMAINDER=FLAG,
        SERVICE=Key(list[str] | None, roles=RESUMABLE | PER_COMMAND),
        REPORT_PATH=Key(str, roles=RESUMABLE | PER_COMMAND),
        VERIFIED_PATH=Key(str | None, roles=RESUMABLE | PER_COMMAND),
    ),
    MODEL=Group(
        TYPE=Key(choices="models:MODEL_TYPES", roles=ARCHITECTURE),
        WEIGHTS_FILE_NAME=Key(str, roles=PER_COMMAND),
        INIT=Key(str | None, roles=RESUMABLE),
        FREEZE=Key(str | list[str] | None),
        FREEZE_EPOCHS=Key(int | None, low=1),
        FILTERS=Key(list[int] | None, low=1, roles=ARCHITECTURE),
        DEEP_SUPERVISION=FLAG_OR_NULL.with_roles(ARCHITECTURE),
        DEEP_SUPERVISION_WEIGHTS=Key(list[float] | None, low=0),
        CGM=FLAG_OR_NULL.with_roles(ARCHITECTURE),
        CGM_GATE=Key(choices=("probability", "logit")),
        PRUNE=Key(int | None, low=1, high=4),
        EXACT_FAST_UPSAMPLE=FLAG,
        WINOGRAD=FLAG,
        L2=Key(float, low=0, high=1),
        INITIALIZER=Key(choices="models.layers.initializers:INITIALIZERS"),
        PADDING=Key(choices=("same", "valid"), roles=ARCHITECTURE),
        CONV_BIAS=FLAG_OR_NULL.with_roles(ARCHITECTURE),
        BACKBONE=Group(
            TYPE=Key(choices="models:ENCODERS", roles=ARCHITECTURE),
            WEIGHTS=Key(str | None, roles=ARCHITECTURE),
            WEIGHTS_BY_NAME=Key(bool, roles=ARCHITECTURE),
            TRAINABLE=FLAG,
            NORM_MOMENTUM=Key(float | None, low=0, high=0.9999),
            VARIANT=Key(choices=("keras", "pytorch"), roles=ARCHITECTURE),
            SKIP_LAYERS=Key(list[str] | None, roles=ARCHITECTURE),
            DOWN_LAYERS=Key(list[str] | None, length=3, roles=ARCHITECTURE),
        ),
        SYNC_BATCH_NORM=FLAG,
        DECODER=Group(
            FILTERS=Key(list[int] | None, low=1, roles=ARCHITECTURE),
            UPSAMPLE=Key(choices=("transpose", "nearest", "bilinear", "bilinear_aligned"), roles=ARCHITECTURE),
            UPSAMPLE_KERNEL=Key(int, low=2, high=16, roles=ARCHITECTURE),
            UPSAMPLE_NORM=Key(bool, roles=ARCHITECTURE),
            CONVS=Key(int, low=0, high=8, roles=ARCHITECTURE),
            MID_FILTERS=Key(choices=(None, "half"), roles=ARCHITECTURE),
            CENTER_CONVS=Key(int, low=0, high=8, roles=ARCHITECTURE),
            INNER_FILTERS=Key(choices=(None, "encoder"), roles=ARCHITECTURE),
            ACTIVATION=Key(str, roles=ARCHITECTURE),
            NORM=Key(choices=(True, False, "encoder"), roles=ARCHITECTURE),
            NORM_MOMENTUM=Key(float, low=0, high=0.9999),
            NORM_EPSILON=Key(float, low=1e-5, high=1, roles=ARCHITECTURE),
            DROPOUT=Key(float, low=0, high=0.95),
        ),
        CLASSIFIER_DROPOUT=Key(float, low=0, high=0.95, roles=ARCHITECTURE),
        CLASSIFIER_ACTIVATION=Key(choices=(None, "softmax", "sigmoid"), roles=ARCHITECTURE),
        HEAD=Group(
            KERNEL=Key(int, low=1, high=15, roles=ARCHITECTURE),
            TRANSPOSE=FLAG_OR_NULL.with_roles(ARCHITECTURE),
            INITIALIZER=Key(choices=(None, *load_object("models.layers.initializers:INITIALIZERS"))),
        ),
    ),
    DATA_GENERATOR_TYPE=Key(choices="data_generators:LOADERS"),
    SEED=Key(int, low=0, high=2**32 - 1),
    VERBOSE=Key(choices=(0, 1, 2), roles=RESUMABLE | PER_COMMAND | SHARED),
    DATALOADER_WORKERS=Key(int, low=1, high=256, roles=RESUMABLE | PER_COMMAND | SHARED),
    SHOW_CENTER_CHANNEL_IMAGE=Key(bool, roles=RESUMABLE),
    INPUT=Group(HEIGHT=SIZE, WIDTH=SIZE, CHANNELS=Key(int, low=1, high=512, roles=ARCHITECTURE)),
    OUTPUT=Group(
        CLASS_NAMES=Key(list[str] | None),
        BACKGROUND=FLAG_OR_NULL,
        CLASSES=Key(int, low=1, high=256, roles=ARCHITECTURE),
        MULTI_LABEL=Key(bool, roles=ARCHITECTURE),
    ),
    HYPER_PARAMETERS=Group(
        EPOCHS=Key(int, low=1, roles=RESUMABLE),
        BATCH_SIZE=Key(int, low=1),
        LEARNING_RATE=Key(float, low=1e-12, high=1e3),
    ),
    OPTIMIZER=Group(
        NAME=Key(choices="utils.training.optimizers:OPTIMIZERS"),
        WEIGHT_DECAY=Key(float, low=0, high=1),
        L2=Key(float, low=0, high=1),
        EPSILON=Key(float, low=1e-12, high=1),
        MOMENTUM=Key(float, low=0, high=0.9999),
        NESTEROV=FLAG,
        ENCODER_FACTOR=Key(float, low=0, high=100),
        CLIP_NORM=Key(float | None, low=1e-12),
        ACCUMULATION_STEPS=Key(int, low=1),
        EMA=Key(float | None, low=0, high=0.99999),
    ),
    LR_SCHEDULE=Group(
        NAME=Key(choices="utils.training.schedules:SCHEDULES"),
        BY=Key(choices=("epoch", "step")),
        MINIMUM=Key(float, low=0),
        WARMUP_EPOCHS=COUNT,
        WARMUP_START=Key(float, low=0),
        SUSTAIN_EPOCHS=COUNT,
        DECAY=Key(float, low=0, high=1),
        PERIOD=Key(int, low=1),
        PERIOD_FACTOR=Key(float, low=1),
        PEAK_FACTOR=Key(float, low=0, high=1),
        PLATEAU_PATIENCE=Key(int | None, low=1),
        PLATEAU_FACTOR=Key(float, low=0, high=1),
    ),
    LOSS=OptionalKeys(**dict.fromkeys(LOSSES, Key(float, low=0))),
    LOSS_OPTIONS=OptionalKeys(**{name: OptionalKeys(**term.options) for name, term in LOSSES.items() if term.options}),
    CALLBACKS=Group(
        RESUMABLE,
        TENSORBOARD=Group(PATH=Key(str, roles=OUTPUT | SHARED), HISTOGRAM_EVERY=Key(int | None, low=1)),
        MLFLOW=FLAG,
        WANDB=FLAG,
        VALIDATION_IMAGES=Key(int, low=0, high=1000),
        EARLY_STOPPING=Group(PATIENCE=Key(int | None, low=0), MONITOR=Key(str | None)),
        MODEL_CHECKPOINT=Group(
            PATH=Key(str, roles=OUTPUT | SHARED),
            SAVE_WEIGHTS_ONLY=FLAG,
            SAVE_BEST_ONLY=FLAG,
            MONITOR=Key(str | None),
            KEEP=Key(int, low=1, high=10),
        ),
        CHECKPOINT_EVERY_STEPS=Key(int | None, low=1),
        CSV_LOGGER=Group(PATH=Key(str, roles=OUTPUT | SHARED), APPEND_LOGS=FLAG),
    ),
    PREPROCESS_DATA=Group(
        RESIZE=Group(VALUE=FLAG, HEIGHT=SIZE, WIDTH=SIZE),
        IMAGE_PREPROCESSING_TYPE=Key(choices="models.image_preprocessing:IMAGE_PREPROCESSING", roles=ARCHITECTURE),
        PERCENTILES=Key(list[float], low=0, high=100, length=2, ascending=True, roles=ARCHITECTURE),
        FOREGROUND=Key(choices=(False, True, "mask"), roles=ARCHITECTURE),
        SCOPE=Key(choices=("image", "volume", "dataset"), roles=ARCHITECTURE),
        WINDOW=Key(list[float] | None, length=2, ascending=True, roles=ARCHITECTURE),
        STATISTICS=Group(ARCHITECTURE, **dict.fromkeys(("LOW", "HIGH", "MEAN", "STD"), Key(list[float] | None))),
        VALUE_RANGE=Key(list[float] | None, length=2, ascending=True),
        EXIF=Key(choices=("ignore", "apply")),
        MASK_FORM=Key(choices=("stored", "shown", "alpha")),
        NORMALIZE_MASK=Group(VALUE=FLAG, NORMALIZE_VALUE=Key(int, low=1)),
        SHUFFLE=Group(TRAIN=Group(VALUE=FLAG), VAL=Group(VALUE=FLAG)),
    ),
    BACKEND=Key(choices=(None, *BACKENDS), roles=RESUMABLE | PER_COMMAND),
    USE_MULTI_GPUS=Group(PER_COMMAND | SHARED, VALUE=FLAG_OR_NULL, GPU_IDS=Key(int | list[int], low=-1)),
    STRATEGY=Group(
        PER_COMMAND,
        NAME=Key(choices="utils.devices.strategy:STRATEGIES"),
        KUBERNETES_LABEL=Key(str),
        LOGICAL_CPUS=Key(int | None, low=1, high=64),
        SCALE_LEARNING_RATE=FLAG,
        TPU=Key(str),
    ),
    OPTIMIZATION=Group(
        PER_COMMAND, AMP=PRECISION, XLA=FLAG, RECOMPUTE=RESUMABLE_FLAG, KEEP_COMPILED=RESUMABLE_FLAG, DETERMINISTIC=FLAG
    ),
    EVALUATION=Group(
        RESUMABLE | SHARED,
        SPLITS=Key(list[str], choices=SPLITS),
        PREDICTIONS=Key(str | list[str] | None, roles=PER_COMMAND),
        OBJECTS=Key(bool, roles=PER_COMMAND),
        COCO_SCORE=Key(float, low=0, high=1, roles=PER_COMMAND),
        RATERS=Key(list[str] | None, roles=PER_COMMAND),
        TRUTH=Key(choices=("mask", "majority", "staple"), roles=PER_COMMAND),
        METRICS=Key(list[str] | None, choices="losses:CHOSEN_METRICS"),
        SIZE_BINS=Key(list[float] | None, low=0, high=1e12),
        GROUPS=Key(str | None, roles=PER_COMMAND),
        EMPTY_IMAGES=Key(choices=("skip", "one", "zero")),
        VOLUMES=FLAG_OR_NULL,
        SPACING_MM=Key(list[float] | None, low=1e-4, high=1e4, length=3),
        SURFACE=FLAG,
        SURFACE_TOLERANCE_MM=Key(float | list[float], low=0, high=1e4),
        KEEP_LARGEST_COMPONENT=FLAG,
        POSTPROCESS=FLAG,
        BOOTSTRAP=Key(int, low=0, high=100_000),
        KEEP_PROBABILITIES=Key(choices=(False, True, "flips", "dihedral"), roles=PER_COMMAND),
        GALLERY=Key(int, low=0, high=10_000),
        PATH=Key(str | None, roles=OUTPUT),
    ),
    TEMPERATURE=Group(RESUMABLE | PER_COMMAND, APPLY=FLAG, PER_CLASS=FLAG),
    PREDICT=Group(
        RESUMABLE | PER_COMMAND,
        INPUT=PATHS,
        OUTPUT_PATH=Key(str, roles=OUTPUT | SHARED),
        OVERWRITE=FLAG,
        KEEP_PREVIOUS=Key(int | None, low=1),
        MASK_VALUES=Key(choices=("classes", "labels", "binary")),
        MASK_PALETTE=FLAG,
        PICTURES=FLAG,
        SHOW=Key(int, low=0, high=100),
        PROBABILITIES=FLAG,
        RLE=FLAG,
        COCO=FLAG,
        TILE=Group(
            SIZE=Key(int | None, low=16, high=65536),
            OVERLAP=Key(float, low=0, high=0.9),
            BLEND=Key(choices=("gaussian", "crop")),
        ),
        TTA=Key(choices=("none", "flips", "dihedral")),
        ENSEMBLE=Key(list[str] | None),
        UNCERTAINTY=Key(choices=(None, "entropy", "mutual_information", "variance")),
        MC_SAMPLES=Key(int | None, low=2, high=1000),
        REVIEW_DICE=Key(float, low=0, high=1),
        SELECT=Key(int | None, low=1, high=1_000_000),
        INSTANCES=Group(
            METHOD=Key(choices=(None, "pieces", "distance", "probability")),
            DEPTH=Key(float | None, low=1e-3, high=1000),
            BORDER=Key(int | None, low=1, high=255),
        ),
        POSTPROCESS=Group(
            THRESHOLDS=Key(list[float] | None, low=0, high=1), LARGEST=FLAG, MINIMUM_SIZE=COUNT, FILL_HOLES=FLAG
        ),
    ),
    EXPORT=Group(
        RESUMABLE | PER_COMMAND,
        FORMAT=Key(choices="utils.export.formats:FORMATS"),
        PATH=Key(str),
        SIZE=Key(choices=("fixed", "dynamic")),
        QUANTIZE=Key(choices=(None, "float16", "int8")),
        CALIBRATION=Key(int, low=1, high=10_000),
        PREPROCESS=FLAG,
        OUTPUT=Key(choices=(None, "classes", "probabilities")),
    ),
    APP=Group(RESUMABLE | PER_COMMAND, PORT=Key(int, low=1024, high=65535)),
    AUGMENTATION=AUGMENTATION,
)

# Keys that have no default and are given with a plus: +bench_steps=100
OPTIONAL_KEYS = OptionalKeys(layers=FLAG, **dict.fromkeys(("warmup_steps", "bench_steps", "show", "serve"), COUNT))


def has_role(key: str, role: Role) -> bool:
    """Whether a key has a role, or a group above it; False for a key that does not exist.

    >>> has_role("PREDICT.TTA", Role.PER_COMMAND), has_role("SEED", Role.PER_COMMAND)
    (True, False)
    """
    node: Key | Group = SCHEMA
    for name in key.split("."):
        if role in node.roles or not isinstance(node, Group):
            break
        if name not in node.keys:
            return False
        node = node.keys[name]
    return role in node.roles


def keys_with_role(role: Role) -> list[str]:
    """The dotted names of all keys that have a role."""
    return [name for name, key in SCHEMA.leaves() if role in key.roles]
