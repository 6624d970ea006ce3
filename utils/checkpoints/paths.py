"""Where the files of a run are: weights, what lies beside them, and those of the run before."""

import re
import shutil
from pathlib import Path

from omegaconf import DictConfig

from utils.base.backups import list_backups
from utils.base.files import resolve_path
from utils.config.overrides import command_line, override_key, text_override

ENDING = ".weights.h5"
PREVIOUS = ".previous"  # in the names of the files of the run before
ARCHIVED = (".evaluation", ".keras", ".run.json", ".yaml")  # what is renamed together with weights


def weights_path(cfg: DictConfig) -> Path:
    """Where the best weights of this run are: `<checkpoint folder>/<name>.weights.h5`.

    WEIGHTS_FILE_NAME may end in .hdf5, .h5 or .weights.h5; all mean the same file.

    >>> from utils.config import load_config
    >>> weights_path(load_config(["MODEL.WEIGHTS_FILE_NAME=liver.h5"])).name
    'liver.weights.h5'
    """
    name = re.sub(r"(\.weights)?\.(h5|hdf5)$", "", cfg.MODEL.WEIGHTS_FILE_NAME)
    return resolve_path(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH) / f"{name}{ENDING}"


def companion_path(weights: Path, ending: str) -> Path:
    """The file beside weights with the same name and another ending.

    >>> companion_path(Path("liver.weights.h5"), ".yaml").name
    'liver.yaml'
    """
    return Path(str(weights).removesuffix(ENDING) + ending)


def evaluation_folder(cfg: DictConfig) -> Path:
    """Where an evaluation is written: in EVALUATION.PATH, or beside the weights.

    >>> from utils.config import load_config
    >>> evaluation_folder(load_config(["WORK_DIR=/tmp", "EVALUATION.PATH=scores", "MODEL.WEIGHTS_FILE_NAME=m"]))
    PosixPath('/tmp/scores/m.evaluation')
    """
    beside = companion_path(weights_path(cfg), ".evaluation")
    path = cfg.EVALUATION.PATH
    return beside if path is None else resolve_path(cfg, path) / beside.name


def evaluate_command(cfg: DictConfig) -> str:
    """What to type to evaluate the weights of this run.

    >>> from utils.config import load_config
    >>> evaluate_command(load_config(["WORK_DIR=/tmp", "MODEL.TYPE=unet"]))
    'python evaluate.py WORK_DIR=/tmp MODEL.TYPE=unet'
    """
    overrides = [override for override in cfg.OVERRIDES if override_key(override) == "WORK_DIR"]
    folder, name = cfg.CALLBACKS.MODEL_CHECKPOINT.PATH, cfg.MODEL.WEIGHTS_FILE_NAME
    if folder != "/checkpoint":
        overrides.append(text_override("CALLBACKS.MODEL_CHECKPOINT.PATH", folder))
    default = name == f"model_{cfg.MODEL.TYPE}"
    key, value = ("MODEL.TYPE", cfg.MODEL.TYPE) if default else ("MODEL.WEIGHTS_FILE_NAME", name)
    return command_line("evaluate.py", [*overrides, text_override(key, value)])


def log_path(cfg: DictConfig) -> Path:
    """The log of this run; named after its weights, as everything of a run, or after MODEL.TYPE if these are.

    >>> from utils.config import load_config
    >>> log_path(load_config(["MODEL.TYPE=unet"])).name, log_path(load_config(["MODEL.WEIGHTS_FILE_NAME=liver"])).name
    ('training_logs_unet.csv', 'training_logs_liver.csv')
    """
    return resolve_path(cfg, cfg.CALLBACKS.CSV_LOGGER.PATH) / f"training_logs_{run_label(cfg)}.csv"


def curves_path(cfg: DictConfig) -> Path:
    """The picture of the learning curves of this run, beside its weights."""
    return weights_path(cfg).parent / f"training_curves_{run_label(cfg)}.png"


def pictures_path(cfg: DictConfig) -> Path:
    """The picture of validation images of this run, beside its weights."""
    return weights_path(cfg).parent / f"validation_{run_label(cfg)}.png"


def run_label(cfg: DictConfig) -> str:
    """MODEL.TYPE, or the name of the weights if it was chosen; with ".previous" for those of the run before."""
    name = companion_path(weights_path(cfg), "").name
    return name.removeprefix("model_") if name.removesuffix(PREVIOUS) == f"model_{cfg.MODEL.TYPE}" else name


def previous_path(path: Path) -> Path:
    """What a file of the run before is called.

    >>> previous_path(Path("training_logs_liver.csv")).name
    'training_logs_liver.previous.csv'
    """
    return path.with_name(f"{path.stem}{PREVIOUS}{path.suffix}")


def archive_previous_run(weights: Path, run: str | None) -> None:
    """Rename weights, config and scores of an earlier run to `<name>.previous<ending>`, together.

    Files of this same `run`, which was interrupted and continues, stay to be replaced; the config says whose they are.
    It may be killed at any moment and called again: the last weights there are never lost.
    """
    config = companion_path(weights, ".yaml")
    if config.exists() and f"RUN: {run}" in config.read_text(encoding="utf-8", errors="replace").splitlines():
        return
    for backup in list_backups(weights):
        backup.unlink()
    if weights.exists():
        for ending in ARCHIVED:
            remove(companion_path(weights, f"{PREVIOUS}{ending}"))
        weights.replace(companion_path(weights, f"{PREVIOUS}{ENDING}"))
    for ending in ARCHIVED:
        path, previous = companion_path(weights, ending), companion_path(weights, f"{PREVIOUS}{ending}")
        if path.exists() and not previous.exists():
            path.replace(previous)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
