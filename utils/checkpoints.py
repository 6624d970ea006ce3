"""Weights on disk: weights only, whole or not there, with the config that rebuilds their model beside them.

`<name>.weights.h5`, `<name>.yaml` (config), `<name>.evaluation` (folder of scores). Imports no Keras.
"""

import hashlib
import math
import re
import shutil
import sys
import warnings
from pathlib import Path
from textwrap import shorten

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from utils.base.errors import UserError
from utils.base.files import atomic_write, list_backups, reserve, resolve_path
from utils.base.registry import load_object
from utils.config.checks import check_config
from utils.config.defaults import CONFIGS, default_config

ENDING = ".weights.h5"
CHECKSUM = "sha256"  # attribute of a weights file: the checksum of its arrays
OVERHEAD = 8192  # bytes of HDF5 beside an array, more than it needs
SIGNATURE = "# sha256 of the lines below: "  # in the config beside them

# A run that differs from its weights in one of these keys could not load them.
ARCHITECTURE = ("MODEL.", "INPUT.CHANNELS", "OUTPUT.CLASSES")
NOT_ARCHITECTURE = (
    "MODEL.WEIGHTS_FILE_NAME",
    "MODEL.PRUNE",
    "MODEL.L2",
    "MODEL.SYNC_BATCH_NORM",
    "MODEL.EXACT_FAST_UPSAMPLE",
    "MODEL.WINOGRAD",
    "MODEL.DEEP_SUPERVISION_WEIGHTS",
    "MODEL.BACKBONE.TRAINABLE",
    "MODEL.DECODER.DROPOUT",
    "MODEL.DECODER.NORM_MOMENTUM",
)

# These concern the machine and the moment, not the weights: each command's own values hold.
OF_THE_COMMAND = (
    "WORK_DIR",
    "VERBOSE",
    "DATALOADER_WORKERS",
    "DATASET.CACHE",
    "USE_MULTI_GPUS",
    "STRATEGY",
    "OPTIMIZATION",
    "PREDICT",
    "EXPORT",
    "APP",
    "RESUME",
    "OVERRIDES",
)


def weights_path(cfg):
    """Where the best weights of this run are: `<checkpoint folder>/<name>.weights.h5`.

    The endings .hdf5, .h5 and .weights.h5 of WEIGHTS_FILE_NAME are accepted and mean the same file.
    """
    name = re.sub(r"(\.weights)?\.(h5|hdf5)$", "", cfg.MODEL.WEIGHTS_FILE_NAME)
    return resolve_path(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH) / f"{name}{ENDING}"


def companion_path(weights, ending):
    """The file of the same name with another ending: `companion_path(weights, ".yaml")` is their config."""
    return Path(str(weights).removesuffix(ENDING) + ending)


def save_weights(network, path, backups=0):
    """Write the weights of a Keras model to `path` (ends in .weights.h5), with a checksum in them.

    An interrupted write leaves the old file; so many older versions are kept.
    """
    with atomic_write(path, backups) as temporary:
        write_weights(network, temporary)


def save_first_weights(network, cfg, path):
    """Write the first weights of a run: those of an earlier one are renamed, and the config is written.

    Whenever it is ended, or the disk is full, weights with their config are there: these or the earlier run's.
    """
    with atomic_write(path) as temporary:
        write_weights(network, temporary)
        archive_previous_run(path, cfg.RUN)
        save_config(cfg, path)


def write_weights(network, path):
    """Let Keras write the weights, and note the checksum of all arrays in the file."""
    import h5py

    reserve(path.parent, sum(math.prod(variable.shape) * 4 + OVERHEAD for variable in network.variables))
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.attrs[CHECKSUM] = checksum_of(file)


def checksum_of(file):
    """SHA-256, as hexadecimal text, of names, types, shapes and bytes of all arrays of an open HDF5 file."""
    import h5py

    total = hashlib.sha256()

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            total.update(f"{name} {item.dtype.str} {item.shape} ".encode())
            total.update(item[()].tobytes())

    file.visititems(add)
    return total.hexdigest()


def save_config(cfg, weights):
    """Write the resolved config beside its weights; its first line is the checksum of the others."""
    text = OmegaConf.to_yaml(cfg, resolve=True)
    with atomic_write(companion_path(weights, ".yaml")) as temporary:
        temporary.write_text(f"{SIGNATURE}{hashlib.sha256(text.encode()).hexdigest()}\n{text}", encoding="utf-8")


def load_weights(network, cfg):
    """Load the weights that `cfg` names; the version before where they are damaged, with a warning.

    Raises:
        UserError: there are none, or they belong to another model.
    """
    path = weights_path(cfg)
    if not path.exists():
        raise UserError(f"No weights at {path}. Train first, or set MODEL.WEIGHTS_FILE_NAME.")
    problems = []
    for candidate in (path, *list_backups(path)):
        try:
            load_file(network, cfg, candidate)
        except UserError as error:
            problems.append(error)
            continue
        if problems:
            print(f"Warning: {problems[0]} {candidate.name}, the version before it, is used.", file=sys.stderr)
        return
    raise problems[0]


# What a file that is damaged, or of another model, raises: h5py the first four, Keras the others (its warnings of
# parts that the file does not have are made errors).
UNREADABLE = (OSError, RuntimeError, SystemError, KeyError, ValueError, TypeError, Warning)


def load_file(network, cfg, path):
    """Load a weights file, or raise a UserError."""
    try:
        check_weights_file(path)
        with warnings.catch_warnings():
            # Keras only warns about parts of a model that the file does not have; they would stay untrained.
            warnings.simplefilter("error")
            network.load_weights(path)
    except UserError:
        raise
    except (PermissionError, MemoryError) as error:
        raise UserError(f"The weights {path} cannot be read: {error}") from None
    except UNREADABLE as error:
        reason = str(error).strip().splitlines() or [""]
        raise UserError(
            f"The weights {path} do not fit MODEL.TYPE={cfg.MODEL.TYPE} with {cfg.OUTPUT.CLASSES} classes, "
            f"or the file is damaged ({type(error).__name__}: {shorten(reason[0], 120)})."
        ) from None


def check_weights_file(path):
    """Refuse a weights file that names other files, arrays that it does not hold, or has another checksum.

    Raises:
        UserError: says which entry.
    """
    import h5py

    size, problems = path.stat().st_size, []

    def check(name, link):
        if not isinstance(link, h5py.HardLink):
            problems.append(f"{name} is a link to elsewhere, not an array")
            return
        item = file[name]
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual or item.nbytes > size):
            problems.append(f"{name} claims {item.nbytes:,} bytes that the file does not hold")

    with h5py.File(path, "r") as file:
        file.visititems_links(check)
        if problems:
            raise UserError(f"The weights {path} are refused: {problems[0]}.")
        if file.attrs.get(CHECKSUM, "") not in ("", checksum_of(file)):
            raise UserError(f"The weights {path} are damaged: their checksum is wrong.")


def archive_previous_run(weights, run):
    """Rename the files of an earlier run to `<name>.previous<ending>`: weights, config and scores together.

    Files that the config says are of this same `run`, which was interrupted and goes on, are left to be replaced.
    It may be ended at any moment and called again: weights that are there last are never given up for none.
    """
    config = companion_path(weights, ".yaml")
    if config.exists() and f"RUN: {run}" in config.read_text(encoding="utf-8", errors="replace").splitlines():
        return
    others = (".evaluation", ".keras", ".run.json", ".yaml")
    for older in list_backups(weights):
        older.unlink()
    if weights.exists():
        for ending in others:
            remove(companion_path(weights, f".previous{ending}"))
        weights.replace(companion_path(weights, f".previous{ENDING}"))
    for ending in others:
        path, previous = companion_path(weights, ending), companion_path(weights, f".previous{ending}")
        if path.exists() and not previous.exists():
            path.replace(previous)


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def restore_config(cfg):
    """Return the config that `cfg`'s weights were trained with, changed only by what the user typed.

    Raises:
        UserError: there are no weights yet, their config is damaged, or an override contradicts them (another model,
            channels, classes).
    """
    weights = weights_path(cfg)
    if not weights.exists():
        raise UserError(
            f"No weights at {weights}. Train first (python train.py MODEL.TYPE={cfg.MODEL.TYPE}), or set "
            "MODEL.WEIGHTS_FILE_NAME or CALLBACKS.MODEL_CHECKPOINT.PATH."
        )
    if not companion_path(weights, ".yaml").exists():
        return cfg
    restored = read_config(companion_path(weights, ".yaml"))
    trained = with_model_settings(restored)
    wanted = with_model_settings(cfg)
    for key in OF_THE_COMMAND:
        OmegaConf.update(restored, key, OmegaConf.select(cfg, key), merge=False)
    for key in typed_keys(cfg):
        is_architecture = key.startswith(ARCHITECTURE) and key not in NOT_ARCHITECTURE
        if is_architecture and OmegaConf.select(trained, key) != OmegaConf.select(wanted, key):
            raise UserError(
                f"{key}={OmegaConf.select(cfg, key)} contradicts the weights {weights}, trained with {key}="
                f"{OmegaConf.select(trained, key)}. Leave it out, or name other weights with MODEL.WEIGHTS_FILE_NAME."
            )
        OmegaConf.update(restored, key, OmegaConf.select(cfg, key), merge=False)
    check_config(restored)
    return restored


def read_config(path):
    """The config saved beside weights; keys that are newer than it have their defaults."""
    try:
        check_signature(path.read_text(encoding="utf-8"))
        saved = OmegaConf.load(path)
        restored = OmegaConf.merge(default_config(), saved)
        restored.LOSS = saved.LOSS  # chosen as a whole: a merge would add the terms of the default
        check_config(restored)
    except (YAMLError, OmegaConfBaseException, AttributeError, TypeError, ValueError, OSError, UserError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The config of the weights, {path}, is damaged ({reason}). Restore it, or remove it and type the settings."
        ) from None
    return restored


def check_signature(text):
    """Raise a ValueError where a config was cut short or changed since it was written; one without checksum passes."""
    first, _, lines = text.partition("\n")
    if first.startswith(SIGNATURE) and first != SIGNATURE + hashlib.sha256(lines.encode()).hexdigest():
        raise ValueError("its checksum is wrong; if you changed it by hand, remove its first line")


def with_model_settings(cfg):
    """A copy of the config in which the nulls of MODEL are what MODEL.TYPE stands for."""
    full = cfg.copy()
    full.MODEL = load_object("models:model_settings")(cfg)[0]
    return full


def typed_keys(cfg):
    """The keys that the overrides name; LOSS counts as a whole, however a part of it was chosen."""
    keys = []
    for override in cfg.OVERRIDES:
        key = override.split("=", 1)[0].lstrip("+~")
        key = key.upper() if (CONFIGS / key).is_dir() else key
        keys.append("LOSS" if key.startswith("LOSS.") else key)
    return keys
