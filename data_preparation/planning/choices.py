"""The settings of an experiment, each with the reason for its value."""

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_generators.files.channels import is_pattern
from data_generators.files.preparation import CHANNELS, CLASS_NAMES, MULTI_LABEL
from data_preparation.common.colour_tables import VOID
from data_preparation.planning.class_names import Names
from data_preparation.planning.classes import (
    COLOUR,
    NO_VALUE,
    Classes,
    choose_channels,
    choose_class_weights,
    choose_classes,
    choose_overlapping_classes,
)
from data_preparation.planning.experiment_file import Choice
from data_preparation.planning.input_size import InputSize, choose_input_size
from data_preparation.planning.intensities import choose_intensities
from data_preparation.planning.label_sets import OPTION, known_sets
from data_preparation.planning.networks import choose_network
from data_preparation.planning.objects import BOUNDARY, choose_objects
from data_preparation.planning.pair_properties import PairProperties, count_values
from data_preparation.planning.slices import choose_slices, holds_neighbours
from data_preparation.planning.splitting import Split
from data_preparation.planning.start_weights import Start
from data_preparation.planning.stored_form import StoredForm
from data_preparation.planning.void import refuse_to_guess
from utils.base.class_bits import count_classes
from utils.base.errors import UserError
from utils.base.wording import counted
from utils.config.class_names import is_background

RARE_FOREGROUND = 0.05  # share of foreground pixels below which crops are sampled around it
FEW_IMAGES = 200  # of training, below which they are varied
UPDATES = 3000
LOSS = Choice("/loss", "cce_dice", "cross-entropy and the Dice of each class: for balanced and for rare classes")
BY_PREPARATION = "prepared.json beside the data"
EPOCHS, PATIENCE = "HYPER_PARAMETERS.EPOCHS", "CALLBACKS.EARLY_STOPPING.PATIENCE"


def choose_settings(
    options: Namespace,
    split: Split,
    form: StoredForm,
    classes: Classes,
    prepared: Mapping[str, Any],
    start: Start | None = None,
) -> list[Choice]:
    """Choose the settings that differ from their defaults.

    Args:
        options: of the command line.
        split: the pairs.
        form: how they are stored.
        classes: of `find_classes`.
        prepared: `{key: value}` that the preparation noted.
        start: of --init.
    """
    measured = split.measured
    everything = [*measured["train"], *measured["val"]]
    network, network_choices = choose_network(options.model, options.weights, start)
    has_neighbours = form.channels is None and holds_neighbours(split.pairs["train"], prepared)
    channels, kind = choose_channels(everything, has_neighbours, form.channels, prepared.get(CHANNELS))
    channels, channels_reason, slices = choose_slices(options.slices_around, channels, kind)
    size = choose_input_size(measured["train"], measured["val"], network, options.size, options.memory)
    background, background_reason = choose_background(options, classes.names)
    has_colours = channels_reason == COLOUR
    standardised = start is not None and start.is_standardised
    has_weights = (start is not None and not standardised) or options.weights is not None
    augmentation, augmentation_reason = choose_augmentation(len(measured["train"]), has_colours)
    epochs = usual_epochs(math.ceil(len(measured["train"]) / size.batch))
    # A pixel of a label image belongs to one object.
    named = classes.names or prepared.get(CLASS_NAMES)
    objects = [] if classes.overlapping else choose_objects(options.masks, split.pairs, named)
    loss = next((choice for choice in objects if choice.key == LOSS.key and choice.value), LOSS)
    chosen = [
        loss,
        Choice("/augmentation", augmentation, augmentation_reason),
        Choice("DATASET.CHANNELS", form.channels, "--channels"),
        *slices,
        *choose_mask_values(form, classes),
        Choice("DATASET.CROP.MODE", "random" if size.needs_crop else None,
               "details are kept; validation takes the centre"),
        choose_foreground_fraction(measured["train"], classes, size, background is None),
        Choice("PREPROCESS_DATA.RESIZE.VALUE", size.needs_resize or None, "to the size of INPUT"),
        *choose_intensities(everything, has_weights, size.needs_crop, prepared, standardised,
                            form.channels or prepared.get(CHANNELS)),
        *network_choices,
        Choice("MODEL.WEIGHTS_FILE_NAME", options.name),
        Choice("SHOW_CENTER_CHANNEL_IMAGE", False if has_colours else None, "colours"),
        Choice("INPUT.HEIGHT", size.height, size.reason),
        Choice("INPUT.WIDTH", size.width),
        Choice("INPUT.CHANNELS", channels, channels_reason),
        Choice(MULTI_LABEL, True if classes.overlapping > 1 else None, classes.reason),
        Choice("OUTPUT.CLASSES", classes.overlapping or len(classes.values), describe_shares(everything, classes)),
        Choice(CLASS_NAMES, classes.names, classes.names_reason),
        Choice("OUTPUT.BACKGROUND", background, background_reason),
        Choice("HYPER_PARAMETERS.BATCH_SIZE", size.batch, size.batch_reason),
        Choice(EPOCHS, epochs, f"about {UPDATES} updates in total, but 20 to 300 epochs"),
        Choice("LR_SCHEDULE.NAME", "cosine", "needs no knowledge of the data"),
        Choice(PATIENCE, patience(epochs), "a third of the epochs"),
        choose_weights_of_classes(measured["train"], classes, loss),
        *(choice for choice in objects if choice.key != LOSS.key),
    ]  # fmt: skip
    return [choice for choice in chosen if choice.value is not None]


def choose_mask_values(form: StoredForm, classes: Classes) -> list[Choice]:
    """What the values of masks mean."""
    is_index = classes.overlapping or classes.values == list(range(len(classes.values)))
    return [
        Choice("DATASET.CLASS_MASKS", form.class_masks_key, "--class-masks: a plane of 0 and another value for each"),
        Choice("DATASET.IGNORE_LABEL", classes.ignored, classes.ignored_reason),
        Choice("DATASET.LABEL_SETS", form.label_sets, f"{OPTION}: the classes of each value, which overlap"),
        Choice("DATASET.LABEL_VALUES", None if is_index else classes.values, classes.reason),
    ]


def choose_foreground_fraction(
    train: Sequence[PairProperties], classes: Classes, size: InputSize, has_background: bool
) -> Choice:
    """Whether batches are filled up with foreground; without background every pixel is of a class that counts."""
    pixels = count_values(train).pixels[classes.values]
    share = pixels[1:].sum() / max(pixels.sum(), 1)
    with_foreground = np.mean([pair.has_any(classes.values[1:]) for pair in train])
    is_rare = with_foreground < 0.5 or (share < RARE_FOREGROUND and size.needs_crop)
    return Choice(
        "DATASET.FOREGROUND_FRACTION",
        0.5 if is_rare and has_background else None,
        f"{with_foreground:.0%} of the training masks have foreground, {share:.2%} of their pixels",
    )


def choose_weights_of_classes(train: Sequence[PairProperties], classes: Classes, loss: Choice) -> Choice:
    """Weights of classes; of overlapping ones that of class 0 would be of pixels without the class of a channel."""
    weights, reason = None, ""
    if not classes.overlapping:
        weights, reason = choose_class_weights(count_values(train).shares[classes.values])
    term = "boundary_weighted_ce" if loss.value == BOUNDARY else "cce"
    return Choice(f"LOSS_OPTIONS.{term}.class_weights", weights, reason)


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
    return "medical", f"only {images} training images, no colours, as scans and microscopy: warps, and no mirroring"


def ignore_reason(options: Namespace, ignored: int | None, names: Names | None) -> str:
    """Why DATASET.IGNORE_LABEL is set."""
    if options.ignore is not None:
        return "--ignore"
    if names and ignored in names.by_value:
        return f"--names calls it {names.by_value[ignored]}"
    if names and ignored != VOID:
        return "by its name in --names"
    return "255 after 0, 1, ... usually means not labelled; otherwise --ignore none"


def find_classes(
    options: Namespace, split: Split, form: StoredForm, names: Names | None, prepared: Mapping[str, Any]
) -> Classes:
    """The classes that the values of masks mean: bits where the user or the preparation says that classes overlap.

    Args:
        options, split, form, prepared: see `choose_settings`.
        names: of --names.

    Raises:
        UserError: see `choose_classes`; or a value that looks like void, which only the user knows.
    """
    counts = count_values([pair for pairs in split.measured.values() for pair in pairs])
    found = np.flatnonzero(counts.pixels).tolist()
    chosen, reason = names, "--names"
    if form.classes is not None:
        option = "--class-masks" if form.label_sets is None else OPTION
        if prepared.get(MULTI_LABEL):
            raise UserError(f"The preparation noted that the bits of these masks are classes: leave {option} out.")
        if names is not None and form.label_sets is not None:
            raise UserError(f"{OPTION} names the classes: leave --names out.")
        # A mask of all eight classes is 255, which therefore means void only if the user says so.
        ignore = NO_VALUE if options.ignore is None else options.ignore
        of_planes = ["background", *form.classes]
        classes = choose_overlapping_classes(found, of_planes, options.values, ignore, option)
        if names is None and not any(map(is_pattern, form.classes)):
            chosen, reason = Names(of_planes, {}, {}), f"{option}, after the background"
    elif prepared.get(MULTI_LABEL):
        reason_of_bits = "the data was prepared so: the bits of a mask are classes"
        of_bits = prepared.get(CLASS_NAMES)
        classes = choose_overlapping_classes(found, of_bits, options.values, options.ignore, reason_of_bits)
        if names is None and of_bits:
            chosen, reason = Names(of_bits, {}, {}), BY_PREPARATION
    elif names is None and (noted := noted_names(found, options, prepared)):
        ignore = options.ignore if options.ignore is not None else VOID if found[-1] == VOID else NO_VALUE
        classes = choose_classes(found, None, ignore, noted)._replace(reason=BY_PREPARATION)
        chosen, reason = noted, BY_PREPARATION
    else:
        classes = choose_classes(found, options.values, options.ignore, names)
        if options.ignore is None and not (options.values or names or prepared.get(CLASS_NAMES)):
            known = known_sets(classes.values, form.channels or prepared.get(CHANNELS))
            refuse_to_guess([pair for pairs in split.pairs.values() for pair in pairs], classes.values, known)
    return classes._replace(
        names=chosen and chosen.of_classes(classes.in_order),
        names_reason=reason,
        ignored_reason=ignore_reason(options, classes.ignored, names),
    )


def noted_names(found: Sequence[int], options: Namespace, prepared: Mapping[str, Any]) -> Names | None:
    """The names of the classes that the preparation noted, those without a pixel too; None if masks hold other values.

    Args:
        found: sorted values of all masks.
        options, prepared: see `choose_settings`.
    """
    noted = dict(enumerate(prepared.get(CLASS_NAMES) or ()))
    values = set(found) - {VOID if options.ignore is None else options.ignore}
    if options.values or VOID in noted or options.ignore in noted or len(values) < 2 or not values <= noted.keys():
        return None
    return Names([], noted, {})


def describe_shares(measured: Sequence[PairProperties], classes: Classes) -> str:
    """The share of pixels and the number of masks of the first classes."""
    labelled = count_values(measured).pixels[classes.values].sum()
    values = classes.values
    if classes.overlapping:
        values = classes.in_order
        measured = [of_bits(pair, classes) for pair in measured]
    pixels, images, _ = count_values(measured)
    shares = [f"{value}: {pixels[value] / labelled:.2%} in {counted(int(images[value]), 'mask')}" for value in values]
    return "; ".join(shares[:4] + ["..."] * (len(values) > 4))


def of_bits(pair: PairProperties, classes: Classes) -> PairProperties:
    """A pair whose `values` count the pixels of each overlapping class, the first those without any."""
    values = pair.values.copy()
    if classes.ignored is not None:
        values[classes.ignored : classes.ignored + 1] = 0
    return pair._replace(values=count_classes(values, classes.overlapping + 1, multi_label=True))
