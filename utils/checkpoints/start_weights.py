"""MODEL.INIT: a network starts with what fits it of the weights of another run. Imports no Keras."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf

from models import build_model, model_settings
from utils.base.classes import is_multi_label
from utils.base.errors import UserError
from utils.base.files import atomic_write, resolve_path
from utils.base.keys import Role
from utils.checkpoints.first_kernel import fit_channels, same_names
from utils.checkpoints.foreign.convert import build_foreign, is_foreign, read_foreign, settings_of
from utils.checkpoints.paths import ENDING, START, companion_path
from utils.checkpoints.saved_config import read_config
from utils.checkpoints.weights import load_file
from utils.config.class_names import given_class_names, mask_class_names
from utils.config.overrides import assignment
from utils.config.schema import keys_with_role

if TYPE_CHECKING:
    import keras

EXPORTED = (".keras", ".onnx", ".tflite", ".pb", ".zip", ".tar", ".gz")
BY_COUNT = "as many classes, without names"
INTENSITIES = ("IMAGE_PREPROCESSING_TYPE", "PERCENTILES", "FOREGROUND", "SCOPE", "WINDOW", "VALUE_RANGE")
HEADS = ("_logits/kernel", "_logits/bias")  # endings of the paths of the arrays that have a part for each class


@dataclass
class Taken:
    """What became of the arrays of a network: `{path of an array: what was done}`, and the values there were in all."""

    source: Path
    settings: list[str] = field(default_factory=list)  # of the network there, where they differ
    intensities: list[str] = field(default_factory=list)  # how the images were seen there, where that differs
    taken: dict[str, str] = field(default_factory=dict)  # "" where nothing is to be said
    adapted: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """A line for each kind, with the first three names where only some arrays are meant."""
        kinds = (("adapted", self.adapted), ("new", self.left))
        shown = [f"{len(self.taken)} arrays taken as they are from {self.source}"]
        for kind, arrays in kinds:
            names = [f"{path} ({why})" for path, why in arrays.items()]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            if names:
                shown.append(f"{len(names)} {kind}: {', '.join(names[:3])}{more}")
        if self.settings:
            shown.append(f"built there with {' '.join(self.settings)}")
        if self.intensities:
            shown.append(f"trained there on images seen with {' '.join(self.intensities)}")
        return shown

    def save(self, weights: Path) -> None:
        """Write a row for each array to `<weights>.start.csv`: its path, what was done, and why."""
        kinds = (("taken", self.taken), ("adapted", self.adapted), ("new", self.left))
        rows = [(path, what, why) for what, arrays in kinds for path, why in arrays.items()]
        with (
            atomic_write(companion_path(weights, START)) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows([("array", "what", "why"), *rows])


def count_taken(cfg: DictConfig, weights: Path) -> dict[str, Any] | None:
    """`{"weights": MODEL.INIT, "taken", "adapted", "new": numbers of arrays}` of the table beside the weights of a run.

    None without MODEL.INIT, or if the table is not there.
    """
    if cfg.MODEL.INIT is None:
        return None
    try:
        with open(companion_path(weights, START), newline="", encoding="utf-8") as file:
            found = Counter(row["what"] for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, csv.Error):
        return None
    return {"weights": cfg.MODEL.INIT, **{what: found[what] for what in ("taken", "adapted", "new")}}


def find_start(cfg: DictConfig) -> Path | None:
    """The weights that MODEL.INIT names, a file or the folder of a run; None without MODEL.INIT.

    Raises:
        UserError: there is no such file, or the folder holds none or several; names them. Weights of another program
            that are refused.
    """
    if cfg.MODEL.INIT is None:
        return None
    path = resolve_path(cfg, cfg.MODEL.INIT)
    if path.is_dir():
        found = sorted(path.glob(f"*{ENDING}"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise UserError(
                f"MODEL.INIT={cfg.MODEL.INIT}: the folder {path} has to hold one file of weights (*{ENDING}), found: "
                f"{names}. Name the file."
            )
        path = found[0]
    if path.suffix in EXPORTED:
        raise UserError(
            f"MODEL.INIT={cfg.MODEL.INIT}: is an exported or whole model. Name the weights that training "
            f"left (*{ENDING}, with the config beside them), or their folder."
        )
    if not path.is_file():
        raise UserError(f"MODEL.INIT={cfg.MODEL.INIT}: there is no {path}. Name a run's folder or its *{ENDING}.")
    if is_foreign(path):
        read_foreign(path)
    elif not companion_path(path, ".yaml").is_file():
        raise UserError(
            f"MODEL.INIT={cfg.MODEL.INIT}: {companion_path(path, '.yaml')} is missing, the config that training leaves "
            "beside its weights and that says which network they are of."
        )
    return path


def start_with(network: keras.Model, cfg: DictConfig, path: Path) -> Taken:
    """Give the arrays of a network the values of those of the same name and shape in other weights.

    Input channels of the same name keep their part of the first kernel (`utils.checkpoints.first_kernel`). Without
    names it is spread over other numbers of channels, so that equal channels give the response they gave; with a
    normalisation of the image before it and fewer channels, nearly.
    Classes of another order or number keep the kernels of the class of the same name; kernels of new classes stay as
    they are.

    Args:
        network: of `build_model`; its arrays are set.
        cfg: its config.
        path: of `find_start`.

    Raises:
        UserError: the weights are damaged, or nothing of them fits.
    """
    import keras

    its, source = load_source(path)
    complete_classes(its, cfg, path)
    values = {variable.path: keras.ops.convert_to_numpy(variable) for variable in source.weights}
    paths = [variable.path for variable in network.weights]
    first = next(place for place, path in enumerate(paths) if path.endswith("/kernel"))
    places, channels = class_places(its, cfg), same_names(its, cfg)
    report = Taken(path, other_settings(its, cfg), [] if is_foreign(path) else other_intensities(its, cfg))
    for place, variable in enumerate(network.weights):
        name, shape, value = variable.path, tuple(variable.shape), values.get(variable.path)
        if value is None:
            report.left[name] = "not there"
        elif name.endswith(HEADS) and places is not None:
            new, layer = np.array(keras.ops.convert_to_numpy(variable)), network.get_layer(name.split("/")[0])
            matched = match_classes(new, value, places, layer)
            if matched is None or not places:
                report.left[name] = "classes differ"
            else:
                variable.assign(matched)
                report.adapted[name] = f"{len(places)} of {len(channel_names(cfg))} classes by name"
        elif place <= first and (fitted := fit_channels(value, shape, channels, its, cfg)) is not None:
            variable.assign(fitted[0])
            report.adapted[name] = fitted[1]
        elif value.shape == shape:
            variable.assign(value)
            report.taken[name] = BY_COUNT if name.endswith(HEADS) and by_count(its, cfg) else ""
        else:
            report.left[name] = f"{'x'.join(map(str, value.shape))} there, {'x'.join(map(str, shape))} here"
    if not report.taken:
        raise UserError(
            f"MODEL.INIT={cfg.MODEL.INIT}: nothing of {path} fits this network. It is {its.MODEL.TYPE} on "
            f"{its.MODEL.BACKBONE.TYPE}; choose the same MODEL.TYPE or MODEL.BACKBONE.TYPE, with the same widths."
        )
    return report


def load_source(path: Path) -> tuple[DictConfig, keras.Model]:
    """The network of some weights and its config.

    Raises:
        UserError: the weights are damaged.
    """
    if is_foreign(path):
        foreign = read_foreign(path)
        return settings_of(foreign), build_foreign(foreign, path)
    its = read_config(companion_path(path, ".yaml"))
    source = build_model(its, pretrained=False)
    load_file(source, its, path)
    return its, source


def other_settings(source: DictConfig, target: DictConfig) -> list[str]:
    """The settings of the network of the source that are others here: some of them no shape of an array tells.

    >>> from utils.config import load_config
    >>> unet = load_config(["MODEL.TYPE=unet", "MODEL.DECODER.NORM_EPSILON=1e-5", "OUTPUT.CLASSES=3"])
    >>> other_settings(unet, load_config(["MODEL.TYPE=unet", "MODEL.FILTERS=[64,128,256,512,1024]"]))
    ['MODEL.DECODER.NORM_EPSILON=1e-05']
    """
    there, here = (OmegaConf.create({"MODEL": model_settings(cfg)[0]}) for cfg in (source, target))
    return differences(there, here, [key for key in keys_with_role(Role.ARCHITECTURE) if key.startswith("MODEL.")])


def other_intensities(source: DictConfig, target: DictConfig) -> list[str]:
    """The settings of what the network of the source saw of the values of an image, that are others here.

    >>> from utils.config import load_config
    >>> other_intensities(load_config(["PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=zscore"]), load_config())
    ['PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=zscore']
    """
    return differences(source, target, [f"PREPROCESS_DATA.{key}" for key in INTENSITIES])


def differences(there: DictConfig, here: DictConfig, keys: Sequence[str]) -> list[str]:
    """The values there, as they are typed, of the keys that have others here."""
    pairs = [(key, OmegaConf.select(there, key), OmegaConf.select(here, key)) for key in keys]
    different = [(key, value) for key, value, ours in pairs if value != ours]
    return [assignment(key, list(value) if isinstance(value, ListConfig) else value) for key, value in different]


def channel_names(cfg: DictConfig) -> list[str]:
    """The class of each channel of the mask: one without the background, where a sigmoid stands for each class."""
    return mask_class_names(cfg)[-cfg.OUTPUT.CLASSES :]


def complete_classes(source: DictConfig, target: DictConfig, path: Path) -> None:
    """Weights of another program do not say whether their classes overlap: they are taken to be as those here."""
    if is_foreign(path):
        source.OUTPUT.MULTI_LABEL = target.OUTPUT.MULTI_LABEL


def class_places(source: DictConfig, target: DictConfig) -> dict[int, int] | None:
    """`{channel here: channel there}` of the classes that both have by name; None: the channels are the same.

    >>> from utils.config import load_config
    >>> sigmoids = load_config(["OUTPUT.MULTI_LABEL=True", "OUTPUT.CLASS_NAMES=[background,a,b]", "OUTPUT.CLASSES=2"])
    >>> class_places(sigmoids, load_config(["OUTPUT.CLASSES=3", "OUTPUT.CLASS_NAMES=[background,b,new]"]))
    {1: 1}
    """
    theirs, ours = channel_names(source), channel_names(target)
    if theirs == ours or by_count(source, target):
        return None
    lowered = [name.lower() for name in theirs]
    return {place: lowered.index(name.lower()) for place, name in enumerate(ours) if name.lower() in lowered}


def by_count(source: DictConfig, target: DictConfig) -> bool:
    """Whether equal numbers are taken for equal classes: one of the two does not name its own.

    Never where the classes of one of them overlap: its first channel is a class, that of the other the background.
    """
    named = given_class_names(source) is not None and given_class_names(target) is not None
    same_number = source.OUTPUT.CLASSES == target.OUTPUT.CLASSES
    return not named and same_number and is_multi_label(source) == is_multi_label(target)


def match_classes(
    new: np.ndarray, value: np.ndarray, places: dict[int, int], layer: keras.layers.Layer
) -> np.ndarray | None:
    """The kernel or bias of a head with the parts of the known classes; None if the rest of the shape differs."""
    import keras

    transposed = isinstance(layer, keras.layers.Conv2DTranspose) and new.ndim == 4
    axis = new.ndim - 2 if transposed else new.ndim - 1
    per_class = layer.name != "presence_logits"
    if not per_class or np.delete(new.shape, axis).tolist() != np.delete(value.shape, axis).tolist():
        return None
    new, value = np.moveaxis(new, axis, 0), np.moveaxis(value, axis, 0)
    for here, there in places.items():
        new[here] = value[there]
    return np.moveaxis(new, 0, axis)
