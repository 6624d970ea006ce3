"""The model card: what an exported model is, in a page of text beside it."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from omegaconf import DictConfig

from utils.base.files import write_whole
from utils.checkpoints import beside
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
    export, model = cfg.EXPORT, cfg.MODEL
    size = (None, None) if export.SIZE == "dynamic" else (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    shape = " x ".join(str(side or "any") for side in (*size, cfg.INPUT.CHANNELS))
    takes = "uint8 as stored (scaled inside)" if export.PREPROCESS else "float32 in [0, 1] (grey values / 255)"
    gives = "class index of each pixel, int32" if export.PREPROCESS else "probability of each class, float32"
    loss = " + ".join(f"{weight:g} {name}" for name, weight in cfg.LOSS.items() if weight)
    loss = "cross-entropy" if model.TYPE == "classifier" else loss
    names = ", ".join(cfg.OUTPUT.CLASS_NAMES) if cfg.OUTPUT.CLASS_NAMES else f"{cfg.OUTPUT.CLASSES}, without names"
    quantised = f", quantised to {export.QUANTIZE}" if export.QUANTIZE else ""
    text = f"""# {weights.name}

Exported on {date.today().isoformat()} as {export.FORMAT}{quantised}: `{exported.name}`.

| | |
| --- | --- |
| model | {model.TYPE}, encoder {model.BACKBONE.TYPE} |
| input | (batch, {shape}), {takes} |
| output | {gives} |
| classes | {names} |
| compared with the model | on {compared_on}: {describe_agreement(rows)} |

## Training

| | |
| --- | --- |
| data | {cfg.DATASET.TRAIN.IMAGES_PATH} |
| validation data | {cfg.DATASET.VAL.IMAGES_PATH} |
| loss | {loss} |
| epochs, at most | {cfg.HYPER_PARAMETERS.EPOCHS} |
| seed | {cfg.SEED} |

All settings: `{beside(weights, ".yaml").name}` beside the weights.

## Scores

{score_tables(beside(weights, ".evaluation") / "evaluation.json")}
## Intended use

Segmentation of images like those it was trained on: same source, same preparation (intensity window, size, slices as
channels).

## Limits

The scores hold for the data above and say nothing about other scanners, sites or kinds of images. The probabilities are
not calibrated. This is not a medical device: do not base treatment on its output without the judgement of a qualified
person.
"""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def describe_agreement(rows: Sequence[Agreement]) -> str:
    """The worst values over all images.

    >>> describe_agreement([Agreement(1e-6, 1.0, None), Agreement(2e-6, 0.5, 0.75)])
    'largest difference 2.00e-06, same class 50.0000%, Dice of the two 0.7500 (worst of all images)'
    """
    dices = [row.dice for row in rows if row.dice is not None]
    dice = f", Dice of the two {min(dices):.4f}" if dices else ""
    difference, same = max(row.difference for row in rows), min(row.same_class for row in rows)
    return f"largest difference {difference:.2e}, same class {same:.4%}{dice} (worst of all images)"


def score_tables(path: Path) -> str:
    """The scores of each split in `evaluation.json`, under the names they have there."""
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
        return "Not measured: `python evaluate.py` writes them.\n"
    return "\n".join(lines)
