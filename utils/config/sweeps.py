"""In a sweep each job has folders of its own, named after what differs between the jobs."""

import hashlib
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.config.folds import OUTPUTS

# In a sweep each job has folders of its own below OUTPUTS, named after what differs between the jobs, but for these,
# which do not change the weights; folds have folders of their own.
OF_ALL_JOBS = (
    *(f"{key}=" for key in ("WORK_DIR", "VERBOSE", "DATALOADER_WORKERS", *OUTPUTS)),
    *("USE_MULTI_GPUS.", "EVALUATION.", "DATASET.FOLD="),
)

LONGEST_NAME = 180  # file systems take 255 bytes


def give_own_folders(cfg):
    """Let a job of a sweep write below a folder that is named after what it alone was given: no two share files.

    The same sweep of `evaluate.py` and `predict.py` finds there what that of `train.py` wrote.
    """
    swept = [override for override in swept_overrides(HydraConfig.get()) if not override.startswith(OF_ALL_JOBS)]
    name = ",".join(override.lstrip("+~").replace("/", "_") for override in swept)
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    for key in OUTPUTS if name else ():
        path = OmegaConf.select(cfg, key)
        if isinstance(path, str):  # else it is reported as soon as the config is checked
            make_folder(cfg, path)
            OmegaConf.update(cfg, key, f"{path.rstrip('/')}/{name}")


def make_folder(cfg, path):
    """Make the folder that holds those of the jobs: `resolve_path` takes an absolute path whose parent is there."""
    try:
        resolve_path(cfg, path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path}: {error.strerror}") from None


def swept_overrides(settings):
    """The overrides of this job whose keys got several values; all where the sweeper left no note of that."""
    note = Path(settings.sweep.dir) / "multirun.yaml"
    if not note.is_file():
        return list(settings.overrides.task)
    parser = OverridesParser.create()
    asked = parser.parse_overrides(list(OmegaConf.load(note).hydra.overrides.task))
    keys = {override.key_or_group for override in asked if override.is_sweep_override()}
    return [text for text in settings.overrides.task if parser.parse_override(text).key_or_group in keys]
