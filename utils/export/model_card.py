"""What an exported model is, in a page of text that goes with it."""

import json
from datetime import date

from utils.base.files import write_whole
from utils.checkpoints import beside


def write_model_card(path, cfg, weights, exported, rows, what):
    """Write `model_card.md`: the model, its data, its scores where evaluate.py measured some, use and limits.

    Args:
        path: to write to.
        cfg: config of the weights.
        weights: their path.
        exported: path of the file in the other format.
        rows: list of (largest difference, share of the same class, Dice of the two or None), of the file to the model.
        what: str, on what it was compared.
    """
    export, model = cfg.EXPORT, cfg.MODEL
    shape = f"{cfg.INPUT.HEIGHT or 'any'} x {cfg.INPUT.WIDTH or 'any'} x {cfg.INPUT.CHANNELS}"
    takes = "uint8 as stored (scaled inside)" if export.PREPROCESS else "float32 in [0, 1] (grey values / 255)"
    gives = "class index of each pixel, int32" if export.PREPROCESS else "probability of each class, float32"
    loss = " + ".join(f"{weight:g} {name}" for name, weight in cfg.LOSS.items() if weight)
    loss = "cross-entropy" if model.TYPE == "classifier" else loss
    names = ", ".join(cfg.OUTPUT.CLASS_NAMES) if cfg.OUTPUT.CLASS_NAMES else f"{cfg.OUTPUT.CLASSES}, without names"
    quantised = f", quantised to {export.QUANTIZE}" if export.QUANTIZE else ""
    largest, same = max(row[0] for row in rows), min(row[1] for row in rows)
    dice = min((row[2] for row in rows if row[2] is not None), default=None)
    agreement = "" if dice is None else f", Dice of the two {dice:.4f}"
    text = f"""# {weights.name}

Exported on {date.today().isoformat()} as {export.FORMAT}{quantised}: `{exported.name}`.

| | |
| --- | --- |
| model | {model.TYPE}, encoder {model.BACKBONE.TYPE} |
| input | (batch, {shape}), {takes} |
| output | {gives} |
| classes | {names} |
| compared with the model | on {what}: largest difference {largest:.2e}, same class {same:.4%}{agreement}, at worst |

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

{scores(beside(weights, ".evaluation") / "evaluation.json")}
## Intended use

Segmentation of images of the kind it was trained on: same source, same preparation (window, size, slices as channels).

## Limits

Scores hold for the data above and say nothing of other scanners, sites or kinds of images. The probabilities are not
calibrated. It is no medical device: nobody may be treated on what it finds without the judgement of a qualified person.
"""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def scores(path):
    """A table of the scores of each split in `evaluation.json`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        splits, cleaned = found["splits"], found.get("cleaned")
        lines = [
            "Of the model before export, by `evaluate.py`" + (f"; masks cleaned: {cleaned}." if cleaned else "."),
            "",
        ]
        for split, found in splits.items():
            numbers = {name: value for name, value in found["scores"].items() if isinstance(value, (int, float))}
            lines += [f"Split {split}, {found['images']} images:", "", "| score | value |", "| --- | --- |"]
            lines += [*(f"| {name} | {value:.4f} |" for name, value in numbers.items()), ""]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or a damaged one
        return "Not measured: `python evaluate.py` writes them.\n"
    return "\n".join(lines)
