"""Which weights of a folder can be used, and what each of them expects. Imports no Keras."""

from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from losses.monitor import build_monitor
from utils.base.backups import list_backups
from utils.base.errors import UserError
from utils.base.files import resolve_path
from utils.base.listing import list_folder
from utils.base.wording import counted
from utils.checkpoints import ENDING, companion_path, restore_config, weights_path
from utils.checkpoints.training_log import read_best, read_history
from utils.config.class_names import has_background, mask_class_names
from utils.inference.members import check_members, member_config, network_size


class Expectation(NamedTuple):
    """What a network was trained for, as text.

    Attributes:
        model: MODEL.TYPE.
        size: of the images, pixels.
        channels: of the images.
        classes: names, class 0 first.
        score: of the best epoch on the validation data, beside that of the constant answer; empty if no log has it.
        has_background: whether class 0 is the background, which has no colour.
    """

    model: str
    size: str
    channels: int
    classes: list[str]
    score: str
    has_background: bool = True

    def __str__(self) -> str:
        """One short line.

        >>> str(Expectation("unet", "any size", 3, ["background", "liver"], "dice 0.912"))
        'unet, any size, 3 channels, 2 classes, dice 0.912'
        """
        classes = counted(len(self.classes), "class", "classes")
        parts = [self.model, self.size, counted(self.channels, "channel"), classes, self.score]
        return ", ".join(part for part in parts if part)


def available_weights(cfg: DictConfig) -> tuple[list[str], dict[str, str]]:
    """Weights for masks in CALLBACKS.MODEL_CHECKPOINT.PATH.

    Returns:
        `(names, problems)`: those that can be used, the newest first; `{name: why not}` of the others. Earlier versions
        that are kept as backups are neither.
    """
    folder = resolve_path(cfg, cfg.CALLBACKS.MODEL_CHECKPOINT.PATH)
    paths = list_folder(folder, [ENDING]).files if folder.is_dir() else []
    backups = {backup for path in paths for backup in list_backups(path)}
    names, problems = [], {}
    for path in sorted(set(paths) - backups, key=lambda path: (-path.stat().st_mtime, path.name)):
        name = path.name.removesuffix(ENDING)
        try:
            check_available(cfg, name, path)
            names.append(name)
        except UserError as error:
            problems[name] = str(error)
    return names, problems


def check_available(cfg: DictConfig, name: str, path: Path) -> None:
    """Check all of a weights file but the checksum and the arrays, which loading it does.

    Raises:
        UserError: it is damaged, labels whole images, or nothing says what network it is of.
    """
    if not companion_path(path, ".yaml").exists() and path != weights_path(cfg):
        raise UserError(f"it has no {name}.yaml beside it; name it with MODEL.WEIGHTS_FILE_NAME and type its settings.")
    channels = restore_masks_config(cfg, name).DATASET.CHANNELS
    if channels is not None:
        raise UserError(f"it takes {len(channels)} files an image (DATASET.CHANNELS={channels}); use predict.py.")
    if not any(map(opens, (path, *list_backups(path)))):
        raise UserError("the file is damaged.")


def restore_masks_config(cfg: DictConfig, name: str) -> DictConfig:
    """The config of weights by name, as if MODEL.WEIGHTS_FILE_NAME had been typed.

    Raises:
        UserError: it is damaged, or of a classifier.
    """
    trained = restore_config(member_config(cfg, name))
    if trained.MODEL.TYPE == "classifier":
        raise UserError(f"{name} labels whole images: use predict.py.")
    if trained.PREDICT.MASK_VALUES == "binary":
        raise UserError("PREDICT.MASK_VALUES=binary makes several files, app.py one: leave it out, or use predict.py.")
    check_members([trained])
    return trained


def opens(path: Path) -> bool:
    """Whether a file is HDF5 that is not cut short."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return len(file) > 0
    except (OSError, RuntimeError, KeyError):
        return False


def expectation(cfg: DictConfig, name: str) -> Expectation:
    """What the weights of that name expect; see `available_weights`."""
    trained = restore_masks_config(cfg, name)
    size = network_size(trained)
    shown = "any size" if size is None else f"{size[0]} x {size[1]}"
    return Expectation(
        trained.MODEL.TYPE,
        shown,
        trained.INPUT.CHANNELS,
        mask_class_names(trained),
        best_score(trained),
        has_background(trained),
    )


def best_score(trained: DictConfig) -> str:
    """The score of the best epoch of the run that trained the weights, with that of the best constant answer.

    Empty if no log has it; without the constant answer if the summary of the run does not hold it.
    """
    history, monitor = read_history(trained), build_monitor(trained)
    if not history or monitor.log not in history:
        return ""
    epochs = [dict(zip(history, values, strict=True)) for values in zip(*history.values(), strict=True)]
    constant = read_best(trained).get("constant_answer")
    beside = f" (constant answer {constant:.3f})" if isinstance(constant, float) else ""
    return f"{monitor.name} {max(epochs, key=monitor.rank)[monitor.log]:.3f}{beside}"
