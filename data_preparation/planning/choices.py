"""The settings of an experiment, each with the reason for its value."""

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_generators.files.pairing import Pair
from data_generators.files.preparation import CLASS_NAMES, MULTI_LABEL, single_preparation
from data_preparation.common.colour_tables import VOID
from data_preparation.planning.class_names import Names
from data_preparation.planning.classes import (
    COLOUR,
    Classes,
    choose_channels,
    choose_class_weights,
    choose_classes,
    choose_overlapping_classes,
)
from data_preparation.planning.input_size import choose_input_size
from data_preparation.planning.pair_properties import PairProperties, count_values
from data_preparation.planning.void import refuse_to_guess
from utils.base.class_bits import count_classes
from utils.config.class_names import is_background

RARE_FOREGROUND = 0.05  # share of foreground pixels below which crops are sampled around it
FEW_IMAGES = 200  # of training, below which they are varied
UPDATES = 3000
DEFAULT_MODEL = "tiny_unet3plus"
EPOCHS, PATIENCE = "HYPER_PARAMETERS.EPOCHS", "CALLBACKS.EARLY_STOPPING.PATIENCE"


class Choice(NamedTuple):
    """A key of the config, its value (None: the default), and the reason for it.

    A key such as /loss is a group, and its value the name of a file there.
    """

    key: str
    value: Any
    reason: str = ""


def choose_settings(
    options: Namespace,
    splits: Mapping[str, Sequence[Pair]],
    measured: Mapping[str, Sequence[PairProperties]],
    classes: Classes,
    names: Names | None,
) -> list[Choice]:
    """Choose the settings that differ from their defaults.

    Args:
        options: of the command line.
        splits: {"train": pairs, "val": pairs}.
        measured: their properties.
        classes: of `find_classes`.
        names: of --names.
    """
    everything = [*measured["train"], *measured["val"]]
    train_counts = count_values(measured["train"])
    values, overlapping = classes.values, classes.overlapping
    train_pixels, train_shares = train_counts.pixels[values], train_counts.shares[values]
    foreground = train_pixels[1:].sum() / max(train_pixels.sum(), 1)
    with_foreground = np.mean([pair.has_any(values[1:]) for pair in measured["train"]])
    channels, channels_reason = choose_channels(everything, splits["train"])
    size = choose_input_size(measured["train"], measured["val"], options.model, options.size, options.memory)
    wants_foreground = bool(with_foreground < 0.5 or (foreground < RARE_FOREGROUND and size.needs_crop))
    class_names = names and names.of_classes(classes.in_order)
    background, background_reason = choose_background(options, class_names)
    wants_foreground &= background is None  # otherwise every pixel is of a class that counts
    epochs = usual_epochs(math.ceil(len(splits["train"]) / size.batch))
    # Of overlapping classes the factor of class 0 would be that of pixels without the class of a channel.
    weights, weights_reason = (None, "") if overlapping else choose_class_weights(train_shares)
    augmentation, augmentation_reason = choose_augmentation(len(splits["train"]), channels_reason == COLOUR)
    chosen = [
        Choice("/loss", "cce_dice", "cross-entropy and the Dice of each class: for balanced and for rare classes"),
        Choice("/augmentation", augmentation, augmentation_reason),
        Choice("DATASET.IGNORE_LABEL", classes.ignored, ignore_reason(options, classes, names)),
        Choice("DATASET.LABEL_VALUES", None if overlapping or values == list(range(len(values))) else values,
               classes.reason),
        Choice("DATASET.CROP.MODE", "random" if size.needs_crop else None,
               "details are kept; validation takes the centre"),
        Choice("DATASET.FOREGROUND_FRACTION", 0.5 if wants_foreground else None,
               f"{with_foreground:.0%} of the training masks have foreground, {foreground:.2%} of their pixels"),
        Choice("PREPROCESS_DATA.RESIZE.VALUE", size.needs_resize or None, "to the size of INPUT"),
        Choice("MODEL.TYPE", options.model, model_reason(options)),
        Choice("MODEL.WEIGHTS_FILE_NAME", options.name),
        Choice("SHOW_CENTER_CHANNEL_IMAGE", False if channels_reason == COLOUR else None, "colours"),
        Choice("INPUT.HEIGHT", size.height, size.reason),
        Choice("INPUT.WIDTH", size.width),
        Choice("INPUT.CHANNELS", channels, channels_reason),
        Choice(MULTI_LABEL, True if overlapping else None, "the data was prepared so: the bits of a mask are classes"),
        Choice("OUTPUT.CLASSES", overlapping or len(values), describe_shares(everything, classes)),
        Choice(CLASS_NAMES, class_names, "--names"),
        Choice("OUTPUT.BACKGROUND", background, background_reason),
        Choice("HYPER_PARAMETERS.BATCH_SIZE", size.batch, size.batch_reason),
        Choice(EPOCHS, epochs, f"about {UPDATES} updates in total, but 20 to 300 epochs"),
        Choice("HYPER_PARAMETERS.LEARNING_RATE", 1e-3, "usual with Adam for networks without pretrained weights"),
        Choice("LR_SCHEDULE.NAME", "cosine", "needs no knowledge of the data"),
        Choice(PATIENCE, patience(epochs), "a third of the epochs"),
        Choice("LOSS_OPTIONS.cce.class_weights", weights, weights_reason),
    ]  # fmt: skip
    return [choice for choice in chosen if choice.value is not None]


def usual_epochs(steps: int) -> int:
    """Epochs of so many steps that make UPDATES: a multiple of 10 from 20 to 300."""
    return min(max(round(UPDATES / steps / 10) * 10, 20), 300)


def patience(epochs: int) -> int:
    """Epochs without a better one after which training ends."""
    return max(epochs // 3, 10)


def choose_background(options: Namespace, names: Sequence[str] | None) -> tuple[bool | None, str]:
    """Return `(False if class 0 is a class like the others, else None, reason)`."""
    if options.no_background:
        return False, "--no-background"
    if names and not is_background(names[0]):
        return False, f"class 0 is called {names[0]}"
    return None, ""


def choose_augmentation(images: int, has_colours: bool) -> tuple[str, str]:
    """Return `(policy in configs/augmentation, reason)` for a number of training images."""
    if images >= FEW_IMAGES:
        return "none", f"{images} training images vary enough to begin with; try light"
    if has_colours:
        return "light", f"only {images} training images; mirrors left and right: if they differ in meaning, choose none"
    return "medical", f"only {images} training images, grey as scans and microscopy are: warps, and no mirroring"


def ignore_reason(options: Namespace, classes: Classes, names: Names | None) -> str:
    """Why DATASET.IGNORE_LABEL is set."""
    if options.ignore is not None:
        return "--ignore"
    if names and classes.ignored in names.by_value:
        return f"--names calls it {names.by_value[classes.ignored]}"
    if names and classes.ignored != VOID:
        return "by its name in --names"
    return "255 after 0, 1, ... usually means not labelled; otherwise --ignore none"


def model_reason(options: Namespace) -> str:
    """Why MODEL.TYPE is what it is."""
    if options.model == DEFAULT_MODEL:
        return "trains without a GPU too; with one, try --model unet3plus"
    return "--model"


def find_classes(
    options: Namespace,
    splits: Mapping[str, Sequence[Pair]],
    measured: Mapping[str, Sequence[PairProperties]],
    names: Names | None,
) -> Classes:
    """The classes that the values of masks mean: bits where the preparation noted so beside the images.

    Raises:
        UserError: see `choose_classes`; or a value that looks like void, which only the user knows.
    """
    counts = count_values([pair for split in measured.values() for pair in split])
    found = np.flatnonzero(counts.pixels).tolist()
    pairs = [pair for split in splits.values() for pair in split]
    prepared = single_preparation(pair.image for pair in pairs)
    settings = prepared.settings if prepared else {}
    if settings.get(MULTI_LABEL):
        return choose_overlapping_classes(found, settings.get(CLASS_NAMES), options.values, options.ignore)
    classes = choose_classes(found, options.values, options.ignore, names)
    if options.ignore is None and not (options.values or names or settings.get(CLASS_NAMES)):
        refuse_to_guess(pairs, classes.values)
    return classes


def describe_shares(measured: Sequence[PairProperties], classes: Classes) -> str:
    """The share of pixels and the number of masks of the first classes."""
    labelled = count_values(measured).pixels[classes.values].sum()
    values = classes.values
    if classes.overlapping:
        values = classes.in_order
        measured = [of_bits(pair, classes) for pair in measured]
    pixels, images, _ = count_values(measured)
    shares = [f"{value}: {pixels[value] / labelled:.2%} in {int(images[value])} masks" for value in values]
    return "; ".join(shares[:4] + ["..."] * (len(values) > 4))


def of_bits(pair: PairProperties, classes: Classes) -> PairProperties:
    """A pair whose `values` count the pixels of each overlapping class, the first those without any."""
    values = pair.values.copy()
    if classes.ignored is not None:
        values[classes.ignored : classes.ignored + 1] = 0
    return pair._replace(values=count_classes(values, classes.overlapping + 1, multi_label=True))
