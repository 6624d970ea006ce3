"""Where the files of a run are: weights, what lies beside them, and those of the run before."""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from utils.base.backups import list_backups
from utils.base.files import resolve_path
from utils.config.folds import ALL
from utils.config.overrides import EXPERIMENT, command_line, override_key, text_override

ENDING = ".weights.h5"
START = ".start.csv"  # what MODEL.INIT gave each array
PREVIOUS = ".previous"  # in the names of the files of the run before
# What an evaluation must be told to find weights, beside what was swept; all else is in the config beside them.
NAMES_OF_A_RUN = (
    "WORK_DIR",
    EXPERIMENT,
    "MODEL.TYPE",
    "MODEL.WEIGHTS_FILE_NAME",
    "CALLBACKS.MODEL_CHECKPOINT.PATH",
    "DATASET.FOLDS",
)
OF_FOLDS = ".folds.evaluation"  # ending of the evaluation of all folds together
ARCHIVED = (  # what is renamed together with weights
    ".ensemble.review.json",
    ".evaluation",
    ".fingerprint.json",
    ".keras",
    ".review.json",
    ".run.json",
    START,
    ".temperature.json",
    ".yaml",
)


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
    """Where an evaluation is written: in EVALUATION.PATH, or beside the weights or the masks that are scored.

    All folds together have a folder of their own: a single run may have the same name.

    >>> from utils.config import load_config
    >>> evaluation_folder(load_config(["WORK_DIR=/tmp", "EVALUATION.PATH=scores", "MODEL.WEIGHTS_FILE_NAME=m"]))
    PosixPath('/tmp/scores/m.evaluation')
    >>> evaluation_folder(load_config(["DATASET.FOLDS=folds", "DATASET.FOLD=all"])).name
    'model_unet3plus.folds.evaluation'

    Of masks that are scored without weights, beside them:
    >>> evaluation_folder(load_config(["WORK_DIR=/tmp", "EVALUATION.PREDICTIONS=other/masks"]))
    PosixPath('/tmp/other/masks.evaluation')
    """
    path, predictions = cfg.EVALUATION.PATH, cfg.EVALUATION.PREDICTIONS
    if predictions is not None:
        first = resolve_path(cfg, predictions if isinstance(predictions, str) else predictions[0])
        beside = first.with_name(f"{first.stem if first.is_file() else first.name}.evaluation")
    else:
        beside = companion_path(weights_path(cfg), OF_FOLDS if cfg.DATASET.FOLD == ALL else ".evaluation")
    return beside if path is None else resolve_path(cfg, path) / beside.name


def evaluate_command(cfg: DictConfig) -> str:
    """What to type to evaluate the weights of this run.

    An experiment stays, for what it says about evaluation; the settings of training are beside the weights.

    >>> from utils.config import load_config
    >>> evaluate_command(load_config(["WORK_DIR=/tmp", "MODEL.TYPE=unet"]))
    'python evaluate.py WORK_DIR=/tmp MODEL.TYPE=unet'
    >>> evaluate_command(load_config(["+experiment=isbi_unet", "SEED=1"]))
    'python evaluate.py +experiment=isbi_unet'
    """
    overrides = [override for override in cfg.OVERRIDES if override_key(override) in ("WORK_DIR", EXPERIMENT)]
    folder, name = cfg.CALLBACKS.MODEL_CHECKPOINT.PATH, cfg.MODEL.WEIGHTS_FILE_NAME
    if folder != "/checkpoint":
        overrides.append(text_override("CALLBACKS.MODEL_CHECKPOINT.PATH", folder))
    default = name == f"model_{cfg.MODEL.TYPE}"
    key, value = ("MODEL.TYPE", cfg.MODEL.TYPE) if default else ("MODEL.WEIGHTS_FILE_NAME", name)
    typed = {override_key(override) for override in cfg.OVERRIDES}
    if EXPERIMENT not in typed or typed & {"MODEL.TYPE", "MODEL.WEIGHTS_FILE_NAME"}:
        overrides.append(text_override(key, value))
    return command_line("evaluate.py", overrides)


def evaluate_sweep_command(typed: Sequence[str], swept: Iterable[str], all_folds: bool = False) -> str:
    """What to type to evaluate the weights of a sweep.

    Args:
        typed: the overrides of the sweep.
        swept: the keys that got several values.
        all_folds: whether they are the folds of a cross-validation, which are evaluated together.

    >>> evaluate_sweep_command(["SEED=1,2", "MODEL.TYPE=unet", "HYPER_PARAMETERS.EPOCHS=3"], ["SEED"])
    'python evaluate.py -m SEED=1,2 MODEL.TYPE=unet'
    >>> evaluate_sweep_command(["DATASET.FOLDS=folds", "DATASET.FOLD=0,1"], ["DATASET.FOLD"], all_folds=True)
    'python evaluate.py DATASET.FOLDS=folds DATASET.FOLD=all'
    """
    kept = [override for override in typed if override_key(override) in {*swept, *NAMES_OF_A_RUN}]
    if all_folds:
        others = (override for override in kept if override_key(override) != "DATASET.FOLD")
        return command_line("evaluate.py", [*others, "DATASET.FOLD=all"])
    return command_line("evaluate.py", ["-m", *kept])


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
