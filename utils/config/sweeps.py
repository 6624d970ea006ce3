"""In a sweep, each job writes to folders of its own, named after what differs between the jobs.

`-m DATASET.FOLD=0,1,2`, the folds of a cross-validation, is a sweep too.
"""

import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.keys import Role
from utils.config.overrides import override_key, text_override
from utils.config.schema import has_role, keys_with_role

MAX_NAME = 180  # characters; file systems take 255 bytes
FOLD = "DATASET.FOLD"


class Job(NamedTuple):
    """A job of a sweep that is done.

    Attributes:
        cfg: its config.
        swept: its overrides whose keys got several values.
        typed: the overrides of the whole sweep; empty if the sweeper did not write them down.
        result: what the command returned.
    """

    cfg: DictConfig
    swept: list[str]
    typed: list[str]
    result: Any

    @property
    def is_fold(self) -> bool:
        """Whether the jobs differ in nothing but the fold."""
        return [override_key(override) for override in self.swept] == [FOLD]


def describe_job(settings: HydraConf) -> str:
    """The header of a job: `job 3 of 6: SEED=3`, or `fold 3 of 5: DATASET.FOLD=2`."""
    swept, choices = swept_overrides(settings), [len(values) for values in map(list_values, sweeps(settings))]
    kind = "fold" if [override_key(override) for override in swept] == [FOLD] else "job"
    total = f" of {math.prod(choices)}" if choices and all(choices) else ""
    return f"{kind} {settings.job.num + 1}{total}: {' '.join(swept)}"


def list_values(override: Override) -> list[str]:
    """The values that an override sweeps over; empty if only the sweeper knows them."""
    known = override.is_choice_sweep() or override.is_range_sweep()
    return list(override.sweep_string_iterator()) if known else []


def give_own_folders(cfg: DictConfig) -> list[str]:
    """Make a job of a sweep write below a folder that is named after its own overrides, so that no two share files.

    Keys of role SHARED are not in the name. The same sweep of `evaluate.py` and `predict.py` finds in these folders
    what that of `train.py` wrote.

    Returns:
        The overrides that give a single run the settings of this job: those typed, and these folders.
    """
    overrides = swept_overrides(HydraConfig.get())
    own = [override for override in overrides if not has_role(override_key(override), Role.SHARED)]
    name = ",".join(override.lstrip("+~").replace("/", "_") for override in own)
    if len(name) > MAX_NAME:
        name = f"{name[:MAX_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    folders: dict[str, str] = {}
    for key in keys_with_role(Role.OUTPUT) if name else ():
        path = OmegaConf.select(cfg, key)
        if isinstance(path, str):  # else it is reported as soon as the config is checked
            make_folder(cfg, path)
            folders[key] = f"{path.rstrip('/')}/{name}"
            OmegaConf.update(cfg, key, folders[key])
    typed = [override for override in HydraConfig.get().overrides.task if override_key(override) not in folders]
    return [*typed, *(text_override(key, path) for key, path in folders.items())]


def make_folder(cfg: DictConfig, path: str) -> None:
    """Create the folder above those of the jobs: `resolve_path` takes an absolute path whose parent exists."""
    try:
        resolve_path(cfg, path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path}: {error.strerror}") from None


def swept_overrides(settings: HydraConf) -> list[str]:
    """The overrides of this job whose keys got several values; all if the sweeper wrote no multirun.yaml."""
    if not typed_overrides(settings):
        return list(settings.overrides.task)
    parser, keys = OverridesParser.create(), {override.key_or_group for override in sweeps(settings)}
    return [text for text in settings.overrides.task if parser.parse_override(text).key_or_group in keys]


def sweeps(settings: HydraConf) -> list[Override]:
    """The overrides that were typed with several values."""
    typed = OverridesParser.create().parse_overrides(typed_overrides(settings))
    return [override for override in typed if override.is_sweep_override()]


def typed_overrides(settings: HydraConf) -> list[str]:
    """What was typed for the whole sweep; empty if the sweeper wrote no multirun.yaml."""
    multirun = Path(settings.sweep.dir) / "multirun.yaml"
    return list(OmegaConf.load(multirun).hydra.overrides.task) if multirun.is_file() else []
