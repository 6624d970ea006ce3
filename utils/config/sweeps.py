"""In a sweep, each job writes to folders of its own, named after what differs between the jobs."""

import hashlib
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.keys import Role
from utils.config.overrides import override_key, text_override
from utils.config.schema import has_role, keys_with_role

MAX_NAME = 180  # characters; file systems take 255 bytes


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
    multirun = Path(settings.sweep.dir) / "multirun.yaml"
    if not multirun.is_file():
        return list(settings.overrides.task)
    parser = OverridesParser.create()
    typed = parser.parse_overrides(list(OmegaConf.load(multirun).hydra.overrides.task))
    keys = {override.key_or_group for override in typed if override.is_sweep_override()}
    return [text for text in settings.overrides.task if parser.parse_override(text).key_or_group in keys]
