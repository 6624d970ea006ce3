"""Killed runs end as others do, with every feature that keeps something from step to step or draws at random."""

import shutil

import pytest
from helpers import needs_dali
from interruption_helpers import kill_until_done, outcome, train_here, train_there

from data_preparation.tfrecord import write_shards

PLAIN = ["OPTIMIZER.EMA=null", "OPTIMIZER.ACCUMULATION_STEPS=1", "LR_SCHEDULE.NAME=constant"]
ALIKE = ["MODEL.WEIGHTS_FILE_NAME=model_unet"]  # of other models, for `outcome`
AUGMENTED = ["augmentation=light"]
FEATURES = {
    "boundary": ["loss=boundary"],
    "hybrid": ["loss=unet3plus_hybrid"],
    "lovasz": ["loss=cce_lovasz"],
    "threads": ["DATALOADER_WORKERS=8", *AUGMENTED],
    "cache": ["DATASET.CACHE=memory", *AUGMENTED, "DATA_GENERATOR_TYPE=TF_DATA"],
    "foreground": ["DATASET.FOREGROUND_FRACTION=0.6", "DATA_GENERATOR_TYPE=TF_DATA"],
    "crops": ["DATASET.CROP.MODE=random", "INPUT.HEIGHT=32", "INPUT.WIDTH=32"],
    "graph": ["AUGMENTATION.ENGINE=tensorflow", "DATA_GENERATOR_TYPE=TF_DATA"],
    "tfrecord": ["DATA_GENERATOR_TYPE=TFRECORD"],
    "dali": ["DATA_GENERATOR_TYPE=DALI_GENERATOR"],
    "plain": PLAIN,
    "ema": [*PLAIN, "OPTIMIZER.EMA=0.9"],
    "accumulation": [*PLAIN, "OPTIMIZER.ACCUMULATION_STEPS=3"],
    "restarts": [*PLAIN, "LR_SCHEDULE.NAME=cosine_restarts", "LR_SCHEDULE.PERIOD=2"],
    "by_step": [*PLAIN, "LR_SCHEDULE.NAME=cosine_restarts", "LR_SCHEDULE.PERIOD=3", "LR_SCHEDULE.BY=step"],
    "warmup": [*PLAIN, "LR_SCHEDULE.NAME=ramp_sustain_decay", "LR_SCHEDULE.WARMUP_EPOCHS=2"],
    "sgd": ["OPTIMIZER.NAME=sgd", "OPTIMIZER.CLIP_NORM=1.0"],
    "float16": ["OPTIMIZATION.AMP=True"],
    "bfloat16": ["OPTIMIZATION.AMP=bfloat16"],
    "xla": ["OPTIMIZATION.XLA=True", "CALLBACKS.MODEL_CHECKPOINT.KEEP=4"],
    "cgm": [*ALIKE, "MODEL.TYPE=unet3plus_deepsup_cgm", "MODEL.FILTERS=[4,4,6,6,8]", "loss=unet3plus_hybrid"],
    "classifier": [*ALIKE, "MODEL.TYPE=classifier"],
    "keep": ["CALLBACKS.MODEL_CHECKPOINT.KEEP=4", "CALLBACKS.MODEL_CHECKPOINT.SAVE_BEST_ONLY=False"],
    "freeze_end": ["MODEL.FREEZE=encoder", "MODEL.FREEZE_EPOCHS=3"],
    "mirrored": ["STRATEGY.NAME=mirrored", "STRATEGY.LOGICAL_CPUS=2"],
    "jax": ["BACKEND=jax", "HYPER_PARAMETERS.EPOCHS=40"],  # steps are fast: a run that ends would start anew
    "jax_freeze_end": ["BACKEND=jax", "HYPER_PARAMETERS.EPOCHS=40", "MODEL.FREEZE=encoder", "MODEL.FREEZE_EPOCHS=20"],
    "jax_devices": ["BACKEND=jax", "STRATEGY.LOGICAL_CPUS=8", "HYPER_PARAMETERS.BATCH_SIZE=1"],
}
THERE = ("mirrored", "jax", "jax_freeze_end", "jax_devices")  # not in the process of the tests
EPOCHS = "HYPER_PARAMETERS.EPOCHS=6"
KILLS = {"jax": 30, "jax_freeze_end": 30}  # of others 3


def prepare(feature, data, folder):
    """The phantom in the form that a feature reads; returns the folder and settings."""
    if feature == "tfrecord":
        for split in ("train", "val"):
            place = data / "data" / split
            write_shards(place / "images", place / "mask", folder / "shards", split, 1)
        return data, [
            f"DATASET.{split.upper()}.IMAGES_PATH={folder}/shards/{split}-*.tfrec" for split in ("train", "val")
        ]
    if feature == "classifier":
        settings = []
        for split in ("train", "val"):
            for number, image in enumerate(sorted((data / "data" / split / "images").iterdir())):
                kind = folder / "classes" / split / f"kind{number % 2}"
                kind.mkdir(parents=True, exist_ok=True)
                shutil.copy(image, kind)
            name = f"DATASET.{split.upper()}"
            settings += [f"{name}.IMAGES_PATH={folder}/classes/{split}", f"{name}.MASK_PATH=null"]
        return data, settings
    return data, []


def compare(feature, kills, folder, phantom):
    """Train undisturbed, and killed `kills` times; both must leave the same."""
    last = train_there if feature in THERE else train_here
    data, settings = prepare(feature, phantom, folder)
    options = [EPOCHS, *FEATURES[feature], *settings]
    train_there(folder / "whole", data, *options)
    hits = kill_until_done(folder / "killed", data, kills, feature, *options, last=last)
    assert hits > 0
    assert outcome(folder / "killed") == outcome(folder / "whole")
    print(f"{feature}: killed {hits} of {kills} times while running")


@pytest.mark.slow
@pytest.mark.parametrize(
    "feature", [pytest.param(name, marks=needs_dali) if name == "dali" else name for name in FEATURES]
)
def test_every_feature(feature, tmp_path, phantom):
    compare(feature, KILLS.get(feature, 3), tmp_path, phantom)
