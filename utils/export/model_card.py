"""The model card: what an exported file is and how to run it, in a page of text beside it."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import DictConfig

from utils.base.files import atomic_write, file_hash
from utils.base.version import VERSION
from utils.base.wording import counted
from utils.checkpoints import companion_path
from utils.checkpoints.paths import evaluate_command, evaluation_folder
from utils.export.comparison import Agreement
from utils.export.interface import example_code


def write_model_card(
    path: Path,
    cfg: DictConfig,
    weights: Path,
    exported: Path,
    interface: Mapping[str, str],
    rows: Sequence[Agreement],
    compared_on: str,
) -> None:
    """Write the card of an exported file: the model, how to run it, its data, its scores if there are some, limits.

    Args:
        path: to write to.
        cfg: config of the weights.
        weights: their path.
        exported: path of the file in the other format.
        interface: of `utils.export.interface.describe_interface`, with the tensors.
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
        scores=score_tables(evaluation_folder(cfg) / "evaluation.json", file_hash(weights), evaluate_command(cfg)),
        compared_on=compared_on,
        agreement=describe_agreement(rows),
        interface=interface,
        code=example_code(cfg),
        loss="cross-entropy" if cfg.MODEL.TYPE == "classifier" else describe_loss(cfg.LOSS),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def describe_loss(terms: DictConfig) -> str:
    """LOSS of the config in a line."""
    return " + ".join(f"{weight:g} {name!s}" for name, weight in terms.items() if weight)


def describe_agreement(rows: Sequence[Agreement]) -> str:
    """The worst values over all images.

    >>> describe_agreement([Agreement(1e-6, 1.0, None), Agreement(2e-6, 0.5, 0.75)])
    'largest difference 2.00e-06, same class 50.0000%, Dice of the two 0.7500 (worst of all images)'
    """
    dices = [row.dice for row in rows if row.dice is not None]
    dice = f", Dice of the two {min(dices):.4f}" if dices else ""
    difference, same = max(row.difference for row in rows), min(row.same_class for row in rows)
    return f"largest difference {difference:.2e}, same class {same:.4%}{dice} (worst of all images)"


def score_tables(path: Path, weights: str, command: str = "python evaluate.py") -> str:
    """The scores of each split in `evaluation.json`, under the names they have there.

    Args:
        path: of `evaluation.json`.
        weights: SHA-256 of the weights; scores of others are not theirs.
        command: what writes the file.
    """
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        if evaluation["weights_sha256"] != weights:
            return f"Not measured: `{path.parent.name}` is of other weights; `{command}` writes theirs.\n"
        postprocessing = evaluation.get("cleaned")
        applied = f"; postprocessing: {postprocessing}." if postprocessing else "."
        lines = [f"Of the model before export, by `evaluate.py`{applied}", ""]
        for split, entry in evaluation["splits"].items():
            numbers = {name: value for name, value in entry["scores"].items() if isinstance(value, (int, float))}
            lines += [
                f"Split {split}, {counted(entry['images'], 'image')}:",
                "",
                "| score | value | best constant answer |",
                "| --- | --- | --- |",
            ]
            constant = {name: f"{found['value']:.4f}" for name, found in entry.get("best_constant_answer", {}).items()}
            lines += [*(f"| {name} | {value:.4f} | {constant.get(name, '')} |" for name, value in numbers.items()), ""]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or a damaged one
        return f"Not measured: `{command}` writes them.\n"
    return "\n".join(lines)
