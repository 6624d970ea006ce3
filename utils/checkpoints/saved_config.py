"""The config beside weights: written by training, restored by the commands that use the weights."""

import hashlib
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from utils.base.errors import UserError, printable
from utils.base.files import atomic_write, exists
from utils.base.keys import Role
from utils.base.plain_yaml import MAX_CHARACTERS, read_plain_yaml
from utils.base.registry import load_object
from utils.base.terminal import say
from utils.checkpoints.paths import ENDING, companion_path, weights_path
from utils.config.checks import check_config
from utils.config.defaults import default_config
from utils.config.overrides import EXPERIMENT, assignment, override_key
from utils.config.schema import keys_with_role

SIGNATURE = "# sha256 of the lines below: "  # first line of the file
WRONG_TYPES = (AssertionError, AttributeError, TypeError, ValueError, KeyError, IndexError)


def save_config(cfg: DictConfig, weights: Path) -> None:
    """Write the resolved config beside its weights; its first line is the checksum of the others."""
    text = OmegaConf.to_yaml(cfg, resolve=True)
    with atomic_write(companion_path(weights, ".yaml")) as temporary:
        temporary.write_text(f"{SIGNATURE}{hashlib.sha256(text.encode()).hexdigest()}\n{text}", encoding="utf-8")


def restore_config(cfg: DictConfig) -> DictConfig:
    """Return the config that the weights of `cfg` were trained with, changed only by the overrides in `cfg`.

    Keys of role PER_COMMAND or OUTPUT keep their values of `cfg`: the file may come from elsewhere, and must not choose
    where this command writes, which weights it reads or which hosts it asks.

    Raises:
        UserError: there are no weights yet, their config is damaged, or an override contradicts them (another model,
            channels or their order, classes, another window of the scans).
    """
    weights = weights_path(cfg)
    if not exists(weights):
        raise UserError(
            f"No weights at {weights}. Train first (python train.py MODEL.TYPE={cfg.MODEL.TYPE}), or set "
            f"MODEL.WEIGHTS_FILE_NAME or CALLBACKS.MODEL_CHECKPOINT.PATH.{weights_there(weights)}"
        )
    path = companion_path(weights, ".yaml")
    if not path.exists():
        return cfg
    restored = read_config(path)
    overridden = overridden_keys(cfg)
    check_architecture(restored, cfg, overridden, weights)
    check_preparation(restored, cfg, overridden, weights)
    check_channels(restored, cfg, overridden, weights)
    own = (*keys_with_role(Role.PER_COMMAND), *keys_with_role(Role.OUTPUT))
    for key in (*own, *overridden):
        OmegaConf.update(restored, key, OmegaConf.select(cfg, key), merge=False)
    check_config(restored)
    return restored


def weights_there(weights: Path) -> str:
    """A sentence that names the weights in the folder, the newest first; empty if there are none."""
    found = sorted(weights.parent.glob(f"*{ENDING}"), key=lambda path: -path.stat().st_mtime)
    names = [printable(path.name.removesuffix(ENDING)) for path in found]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f" There: {', '.join(names[:10])}{more}." if names else ""


def overridden_keys(cfg: DictConfig) -> list[str]:
    """The keys that the overrides set; LOSS counts as a whole, however a part of it was chosen.

    What an experiment sets does not count: the weights know their settings.
    """
    keys = [override_key(override) for override in cfg.OVERRIDES]
    return ["LOSS" if key.startswith("LOSS.") else key for key in keys if key != EXPERIMENT]


def is_overridden(key: str, overridden: list[str]) -> bool:
    """Whether a key of the config, or a group that it is in, is among those of `overridden_keys`."""
    return any(key == name or key.startswith(f"{name}.") for name in overridden)


def check_architecture(trained: DictConfig, cfg: DictConfig, overridden: list[str], weights: Path) -> None:
    """Refuse an override of a key of role ARCHITECTURE if its value differs from that of the weights.

    Raises:
        UserError: names key and values.
    """
    expanded, wanted = with_model_settings(trained), with_model_settings(cfg)
    for key in keys_with_role(Role.ARCHITECTURE):
        if is_overridden(key, overridden) and OmegaConf.select(expanded, key) != OmegaConf.select(wanted, key):
            raise UserError(
                f"{key}={OmegaConf.select(cfg, key)} contradicts the weights {weights}, trained with {key}="
                f"{OmegaConf.select(expanded, key)}. Leave it out, or name other weights with MODEL.WEIGHTS_FILE_NAME."
            )


def check_preparation(trained: DictConfig, cfg: DictConfig, overridden: list[str], weights: Path) -> None:
    """Refuse a typed value that contradicts how the training data was prepared, where that is known.

    Raises:
        UserError: names key and values.
    """
    if trained.DATA_PREPARATION.PREPARED_BY is None:
        return
    for key in keys_with_role(Role.PREPARATION):
        value, known = OmegaConf.select(cfg, key), OmegaConf.select(trained, key)
        if value != known and is_overridden(key, overridden):
            raise UserError(
                f"{assignment(key, value)} contradicts the weights {weights}: their training data was prepared with "
                f"{assignment(key, known)}. Leave it out."
            )


def check_channels(trained: DictConfig, cfg: DictConfig, overridden: list[str], weights: Path) -> None:
    """Refuse the channels of the weights in another order; a note if other bands of the files become the channels.

    Other names may be those of the same channels in other data, and other bands those of another layout of its files.

    Raises:
        UserError: names both orders.
    """
    for key in ("DATASET.CHANNELS", "DATASET.BANDS"):
        typed, known = plain(OmegaConf.select(cfg, key)), plain(OmegaConf.select(trained, key))
        if typed == known or not is_overridden(key, overridden):
            continue
        if key == "DATASET.BANDS":
            note(
                f"{assignment(key, typed)}, the weights were trained with {assignment(key, known)}: right only if the "
                "bands of these files lie in another order."
            )
        elif typed and known and sorted(typed) == sorted(known):
            raise UserError(
                f"{assignment(key, typed)} contradicts the weights {weights}, trained with {assignment(key, known)}: "
                "the same channels in another order. Leave it out."
            )


def plain(value: ListConfig | None) -> list | None:
    """A list of the config as one of Python."""
    return None if value is None else list(value)


@cache
def note(text: str) -> None:
    """Write a line once, not for each of the networks that predict together."""
    say(f"Note: {text}", "stderr")


def with_model_settings(cfg: DictConfig) -> DictConfig:
    """A copy of the config in which the nulls of MODEL are what MODEL.TYPE stands for."""
    full = cfg.copy()
    full.MODEL = load_object("models:model_settings")(cfg)[0]
    return full


def read_config(path: Path) -> DictConfig:
    """The config saved beside weights; keys that are newer than the file have their defaults.

    Raises:
        UserError: the file is damaged.
    """
    try:
        text = read_text(path)
        check_signature(text)
        saved = read_plain_yaml(text)
        restored = OmegaConf.merge(default_config(), saved)
        assert isinstance(restored, DictConfig)
        restored.LOSS = saved.LOSS  # chosen as a whole: a merge would add the terms of the default
        check_config(restored)
    except PermissionError as error:
        raise UserError(
            f"The config of the weights, {path}, may not be read: {error.strerror}. Change its permissions."
        ) from None
    except (YAMLError, OmegaConfBaseException, OSError, UserError, RecursionError, *WRONG_TYPES) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The config of the weights, {path}, is damaged ({reason}). Restore the file, or remove it and type the "
            "settings."
        ) from None
    return restored


def read_text(path: Path) -> str:
    """The text of a config; never more of it than what `read_plain_yaml` takes."""
    with open(path, encoding="utf-8") as file:
        return file.read(MAX_CHARACTERS + 1)


def check_signature(text: str) -> None:
    """Raise a ValueError if a config was cut short or changed after it was written; one without checksum passes."""
    first, _, lines = text.partition("\n")
    if first.startswith(SIGNATURE) and first != SIGNATURE + hashlib.sha256(lines.encode()).hexdigest():
        raise ValueError("its checksum is wrong; if you changed it by hand, remove its first line")
