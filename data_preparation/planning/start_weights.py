"""MODEL.INIT: the planned network is that of another run and starts with its weights. Imports no Keras."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from data_preparation.planning.experiment_file import Choice
from utils.base.errors import UserError
from utils.base.keys import Role
from utils.checkpoints.foreign.convert import is_foreign, read_foreign, settings_of
from utils.checkpoints.paths import companion_path
from utils.checkpoints.saved_config import read_config
from utils.checkpoints.start_weights import channel_names, class_places, complete_classes, find_start
from utils.config import load_config
from utils.config.class_names import is_background
from utils.config.defaults import default_config
from utils.config.schema import keys_with_role

OPTION = "--init"
PLAIN = "unet3plus"  # MODEL.BACKBONE.TYPE of networks without a pretrained encoder
NOT_TAKEN = ("MODEL.TYPE", "MODEL.BACKBONE.WEIGHTS", "MODEL.BACKBONE.WEIGHTS_BY_NAME", "MODEL.CLASSIFIER_")
STANDARDISED = ("zscore", "dataset")  # IMAGE_PREPROCESSING_TYPE of networks that do not expect [0, 1]


class Start(NamedTuple):
    """The weights of --init and the config of their network."""

    path: Path
    cfg: DictConfig

    @property
    def is_standardised(self) -> bool:
        """Whether its network was trained with values of mean 0 in place of [0, 1]."""
        return self.cfg.PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE in STANDARDISED


def find_run(text: str | None) -> Start | None:
    """The weights that --init names; None without the option.

    Raises:
        UserError: there are none, their config is missing or damaged, or they are of another program and refused.
    """
    if text is None:
        return None
    cfg = load_config()
    cfg.MODEL.INIT = text
    try:
        path = find_start(cfg)
    except UserError as error:
        raise UserError(str(error).replace("MODEL.INIT=", f"{OPTION} ", 1)) from None
    assert path is not None, "MODEL.INIT is set"
    its = settings_of(read_foreign(path)) if is_foreign(path) else read_config(companion_path(path, ".yaml"))
    return Start(path.resolve(), its)


def choose_start(start: Start) -> list[Choice]:
    """The network of the weights, so that all of them fit; classes and channels are adapted as training starts."""
    model, default = start.cfg.MODEL, default_config()
    is_classifier = model.TYPE == "classifier"
    settings = [Choice("MODEL.TYPE", "unet" if is_classifier else model.TYPE, f"the network of {OPTION}")]
    for key in keys_with_role(Role.ARCHITECTURE):
        value = OmegaConf.select(start.cfg, key)
        if key.startswith("MODEL.") and not key.startswith(NOT_TAKEN) and value != OmegaConf.select(default, key):
            settings.append(Choice(key, OmegaConf.to_container(value) if OmegaConf.is_config(value) else value))
    return [*settings, Choice("MODEL.INIT", str(start.path), f"{OPTION}: what fits is taken")]


def start_notes(start: Start | None, cfg: DictConfig) -> list[str]:
    """A line on the classes whose kernels are taken over, where they are not all the same.

    Args:
        start: of --init, or None.
        cfg: the planned config, with its names of classes.
    """
    if start is None:
        return []
    complete_classes(start.cfg, cfg, start.path)
    places = class_places(start.cfg, cfg)
    if places is None:
        return []
    names = channel_names(cfg)
    taken = [names[place] for place in places if not is_background(names[place])]
    if taken:
        return [f"{OPTION}: of its classes those of the same name go on: {', '.join(taken)}"]
    return [f"{OPTION}: no class has the name of one there ({listed(channel_names(start.cfg))}): the last layer is new"]


def listed(names: Sequence[str]) -> str:
    """The first names."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
