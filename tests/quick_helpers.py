"""What tests need not do again and again: read the same files, compose the same settings, draw what none looks at."""

import copy
import io
import os
import pickle
import re

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import utils.config.load
from utils.base import learning_curves
from utils.base.files import atomic_write
from utils.config.defaults import CONFIGS

# Composing a configuration is half of what the tests without a network take, and reading its files a third of that.
load_yaml, files_read = OmegaConf.load, {}
compose, composed = hydra.compose, {}
# A setting, by its name: SEED=1, +MODEL.L2=1, ~LOSS.bce. All else may choose a group, as loss=dice does.
SETTING = re.compile(r"[+~]{0,2}[A-Z][A-Z_0-9]*[.=]")


def load_once(file):
    """`OmegaConf.load`, which reads a file that has not changed a single time."""
    if not isinstance(file, io.TextIOWrapper):  # a path, a text
        return load_yaml(file)
    state = os.stat(file.name)
    key = (file.name, state.st_ino, state.st_size, state.st_mtime_ns)
    if key not in files_read:
        files_read[key] = load_yaml(file)
    return copy.deepcopy(files_read[key])


def compose_once(name, overrides):
    """`hydra.compose`, which composes each choice of groups a single time; the settings are applied as Hydra does it.

    What goes wrong is left to Hydra from the start, and so are the tests with files of their own.
    """
    if utils.config.load.CONFIGS is not CONFIGS:
        return compose(name, overrides)
    settings = [override for override in overrides if SETTING.match(override)]
    groups = tuple(override for override in overrides if not SETTING.match(override))
    files = tuple((path, path.stat().st_mtime_ns) for path in sorted(CONFIGS.glob("**/*.yaml")))
    key = (name, groups, files)
    if key not in composed:
        composed[key] = pickle.dumps(compose(name, list(groups)))
    cfg = pickle.loads(composed[key])
    try:
        parsed = OverridesParser.create().parse_overrides(settings)
        if any(override.is_sweep_override() for override in parsed):
            return compose(name, overrides)
        ConfigLoaderImpl._apply_overrides_to_config(parsed, cfg)
    except (HydraException, OmegaConfBaseException):  # a bad setting: Hydra says it to the test as to a user
        return compose(name, overrides)
    return cfg


def plot_little(history, path, *_):
    """In place of `plot_curves`: a picture without axes."""
    from matplotlib.figure import Figure

    with atomic_write(path) as temporary:
        Figure(figsize=(1, 1)).savefig(temporary, dpi=10)


def save_work():
    """Put these in place."""
    OmegaConf.load, hydra.compose = load_once, compose_once
    # A quarter of a training of one epoch. The commands draw their curves, and tests of curves call `draw_curves`.
    learning_curves.plot_curves = plot_little
    # Commands compile the files of the application a single time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
