"""The model card: what an exported model is, in a page of text beside it."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import DictConfig

from utils.base.classes import is_multi_label
from utils.base.files import atomic_write
from utils.base.version import VERSION
from utils.checkpoints import companion_path
from utils.checkpoints.paths import evaluate_command, evaluation_folder
from utils.export.comparison import Agreement


def write_model_card(
    path: Path, cfg: DictConfig, weights: Path, exported: Path, rows: Sequence[Agreement], compared_on: str
) -> None:
    """Write `model_card.md`: the model, its data, its scores if evaluate.py measured some, use and limits.

    Args:
        path: to write to.
        cfg: config of the weights.
        weights: their path.
        exported: path of the file in the other format.
        rows: how far file and model agree on each image.
        compared_on: what the images are.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown, not HTML
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    text = environment.get_template("model_card.md.j2").render(
        cfg=cfg,
        date=date.today().isoformat(),
        version=VERSION,
        weights=weights.name,
        exported=exported.name,
        settings=companion_path(weights, ".yaml").name,
        scores=score_tables(evaluation_folder(cfg) / "evaluation.json", evaluate_command(cfg)),
        compared_on=compared_on,
        agreement=describe_agreement(rows),
        **describe_interface(cfg),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def describe_interface(cfg: DictConfig) -> dict[str, str]:
    """Input, output, classes, slices and loss of the model in words."""
    names, preprocess = cfg.OUTPUT.CLASS_NAMES, cfg.EXPORT.PREPROCESS
    if names and is_multi_label(cfg):
        names = names[1:]  # the background has no channel
    size = (None, None) if cfg.EXPORT.SIZE == "dynamic" else (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    terms = " + ".join(f"{weight:g} {name}" for name, weight in cfg.LOSS.items() if weight)
    return {
        "shape": " x ".join(str(side or "any") for side in (*size, cfg.INPUT.CHANNELS)),
        "takes": "uint8 as stored (scaled inside)" if preprocess else "float32 in [0, 1] (grey values / 255)",
        "returns": describe_output(cfg),
        "classes": ", ".join(names) if names else f"{cfg.OUTPUT.CLASSES}, without names",
        "slices": describe_slices(cfg),
        "loss": "cross-entropy" if cfg.MODEL.TYPE == "classifier" else terms,
    }


def describe_output(cfg: DictConfig) -> str:
    """What a pixel of the output is."""
    if is_multi_label(cfg):
        bits = "classes of each pixel, int32: bit n is that of channel n"
        return bits if cfg.EXPORT.PREPROCESS else "probability of each class by a sigmoid of its own, float32"
    return "class index of each pixel, int32" if cfg.EXPORT.PREPROCESS else "probability of each class, float32"


def describe_slices(cfg: DictConfig) -> str:
    """How the slices of scans become images, in words; empty if the training data was not made of scans."""
    group = cfg.DATA_PREPARATION
    if group.PREPARED_BY is None:
        return ""
    window = "0.5th to 99.5th percentile of the volume"
    if group.SCAN_MIN_VALUE is not None:
        window = f"{group.SCAN_MIN_VALUE:g} to {group.SCAN_MAX_VALUE:g}"
    by_slice = ", then the range of the slice within it" if group.INTENSITY_SCALING == "slice_min_max" else ""
    size = "as in the scan"
    if group.RESIZED_HEIGHT is not None:
        size = f"{group.RESIZED_HEIGHT} x {group.RESIZED_WIDTH} ({group.RESIZE_METHOD})"
    return f"window {window}{by_slice}; size {size}; channels: slice below, slice, slice above; radiological view"


def describe_agreement(rows: Sequence[Agreement]) -> str:
    """The worst values over all images.

    >>> describe_agreement([Agreement(1e-6, 1.0, None), Agreement(2e-6, 0.5, 0.75)])
    'largest difference 2.00e-06, same class 50.0000%, Dice of the two 0.7500 (worst of all images)'
    """
    dices = [row.dice for row in rows if row.dice is not None]
    dice = f", Dice of the two {min(dices):.4f}" if dices else ""
    difference, same = max(row.difference for row in rows), min(row.same_class for row in rows)
    return f"largest difference {difference:.2e}, same class {same:.4%}{dice} (worst of all images)"


def score_tables(path: Path, command: str = "python evaluate.py") -> str:
    """The scores of each split in `evaluation.json`, under the names they have there; `command` writes it."""
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        postprocessing = evaluation.get("cleaned")
        applied = f"; postprocessing: {postprocessing}." if postprocessing else "."
        lines = [f"Of the model before export, by `evaluate.py`{applied}", ""]
        for split, entry in evaluation["splits"].items():
            numbers = {name: value for name, value in entry["scores"].items() if isinstance(value, (int, float))}
            lines += [f"Split {split}, {entry['images']} images:", "", "| score | value |", "| --- | --- |"]
            lines += [*(f"| {name} | {value:.4f} |" for name, value in numbers.items()), ""]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or a damaged one
        return f"Not measured: `{command}` writes them.\n"
    return "\n".join(lines)
