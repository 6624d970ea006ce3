"""The report of an evaluation: one self-contained HTML file, which opens without a network."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from omegaconf import DictConfig, OmegaConf

from losses.surface import surface_dice_names
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.embedding import data_url, embed
from utils.base.files import atomic_write
from utils.base.job_table import mean_and_deviation
from utils.base.palette import ERROR_COLORS, VOID, class_color, hex_color
from utils.base.text_files import SHOWN
from utils.base.wording import counted
from utils.checkpoints import companion_path, read_config, weights_path
from utils.config.class_names import has_background, mask_class_names
from utils.config.overrides import command_line
from utils.evaluation.case_scores import Regions, case_columns, find_regions, mean_dice, score_region
from utils.evaluation.class_table import (
    OF_FOLDS,
    class_means,
    constant_row,
    find_baseline,
    find_warnings,
    fold_rows,
    region_labels,
)
from utils.evaluation.gallery import Gallery
from utils.evaluation.groups import lone_groups
from utils.evaluation.report_calibration import calibration_context
from utils.evaluation.report_curves import curves_context
from utils.evaluation.report_review import review_context
from utils.evaluation.score_table import SCORES, STATES, in_order, score_texts
from utils.evaluation.split_data import evaluates_any_size
from utils.evaluation.split_result import SplitResult
from utils.inference.mask_meaning import MaskMeaning

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(
    path: Path,
    cfg: DictConfig,
    folds: Sequence[DictConfig],
    metadata: Mapping[str, Any],
    results: Sequence[SplitResult],
    gallery: Gallery,
) -> None:
    """Write the report.

    Args:
        path: HTML file.
        cfg: config of the command.
        folds: the restored config of each fold; usually one.
        metadata: {name: value} of weights and time, as in `evaluation.json`.
        results: one per split.
        gallery: the pictures.
    """
    trained = folds[0]
    context = {
        "cfg": trained,
        "folds": len(folds),
        "metadata": metadata,
        "title": metadata.get("weights") or Path(str(metadata["predictions"])).name,
        "input": describe_input(trained),
        "commands": commands(cfg, folds, "weights" in metadata),
        "settings": OmegaConf.to_yaml(trained, resolve=True),
        **(curves_context(trained, len(folds)) if "weights" in metadata else {}),
        **score_context(trained, results),
        **calibration_context(trained, results),
        **review_context(results),
        **picture_context(trained, results, gallery),
    }
    with atomic_write(path) as temporary:
        temporary.write_text(templates().get_template("report.html.j2").render(context), encoding="utf-8", errors=SHOWN)


@functools.cache
def templates() -> Environment:
    """What renders the templates beside this module, and compiles each a single time."""
    # File names come from outside: everything is escaped.
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters |= {"number": format_number, "hex": hex_color, "counted": counted}
    return environment


def score_context(cfg: DictConfig, results: Sequence[SplitResult]) -> dict[str, Any]:
    """What the template needs for tables and charts."""
    regions = find_regions(number_of_classes(cfg), has_background(cfg))
    labels = region_labels(cfg, regions)
    evaluators = [(result.split, result.evaluator) for result in results if result.evaluator]
    return {
        "results": results,
        "warnings": {result.split: find_warnings(cfg, result) for result in results},
        "constant": {split: find_baseline(cfg, evaluator) for split, evaluator in evaluators},
        "constant_rows": {split: constant_row(cfg, evaluator) for split, evaluator in evaluators},
        "fold_rows": {split: fold_rows(evaluator) for split, evaluator in evaluators},
        "mean_and_deviation": mean_and_deviation,
        "lone_groups": lone_groups,
        "regions": list(regions),
        "labels": labels,
        "scores": {
            region: [
                (name, *score_texts(name))
                for name in in_order(
                    name for result in results if result.summary for name in result.summary["regions"][region]
                )
            ]
            for region in regions
        },
        "first_tolerance": surface_dice_names(cfg.EVALUATION.SURFACE_TOLERANCE_MM)["surface_dice"],
        "class_names": class_regions(regions),
        "class_scores": OF_FOLDS,
        "means": {result.split: class_means(result.summary["regions"]) for result in results if result.summary},
        "class_metrics": [
            name
            for name in results[0].rules
            if (found := re.fullmatch(r"(.+)_class\d+", name)) and found[1] not in SCORES  # those stand at the class
        ],
        "states": STATES,
        "histogram": embed(draw_histograms(results, regions, labels)),
        "multi_label": is_multi_label(cfg),
        "confusions": [
            (split, confusion_cells(matrix))
            for split, evaluator in evaluators
            if (matrix := evaluator.confusion()).ndim == 2
        ],
        "confusion_labels": mask_class_names(cfg),
        "volumes": [
            {"split": split, **case_columns(case, regions)}
            for split, evaluator in evaluators
            for case in evaluator.volumes
        ],
    }


def picture_context(cfg: DictConfig, results: Sequence[SplitResult], gallery: Gallery) -> dict[str, Any]:
    """What the template needs for the gallery and the table of images."""
    regions = find_regions(number_of_classes(cfg), has_background(cfg))
    rows = [row for result in results for row in image_rows(result, regions)]
    return {
        "rows": rows,
        "pictures": [
            (rows[number], {name: data_url(data, "image/webp") for name, data in layers._asdict().items()})
            for number, layers in gallery.pictures()
        ],
        "contours": gallery.meaning.draws_contours,
        "errors": error_legend(gallery.meaning),
        "colors": {name: class_color(regions[name][0]) for name in class_regions(regions)},
    }


def error_legend(meaning: MaskMeaning) -> dict[str, tuple[int, int, int]]:
    """`{what is wrong or not scored: RGB colour}`, as far as masks of this meaning can have it."""
    names = ["missed", "excess"] if meaning.has_background else []
    names += ["other class"] if len(meaning.class_names) > 2 or not meaning.has_background else []
    return {name: ERROR_COLORS[name] for name in names} | (
        {"not scored": VOID} if meaning.ignore_label is not None else {}
    )


def class_regions(regions: Regions) -> list[str]:
    """The regions that are single classes."""
    return [name for name in regions if name != "foreground"]


def image_rows(result: SplitResult, regions: Regions) -> Iterator[dict[str, Any]]:
    """What the page knows of each image: Dice, the mean first, then each class, and the state of each class."""
    assert result.evaluator is not None
    for number, case in enumerate(result.evaluator.images, start=result.first):
        found = [score_region(case.confusion, regions[name]) for name in class_regions(regions)]
        dices = [mean_dice(case, regions), *(entry["dice"] for entry in found)]
        yield {
            "id": number,
            "split": result.split,
            "name": case.name,
            "volume": case.volume,
            "slice": case.slice,
            "dice": [None if dice is None else round(dice, 4) for dice in dices],
            "state": [entry["state"] for entry in found],
        }


def describe_input(cfg: DictConfig) -> str:
    """The size of the images that the model took."""
    size = ("any", "any") if evaluates_any_size(cfg) else (cfg.INPUT.HEIGHT or "any", cfg.INPUT.WIDTH or "any")
    return " x ".join(map(str, (*size, cfg.INPUT.CHANNELS)))


def commands(cfg: DictConfig, folds: Sequence[DictConfig], of_weights: bool = True) -> dict[str, str]:
    """`{script: command line}` of this evaluation and, if it is known, of the training of the weights."""
    typed = {"evaluate.py": command_line("evaluate.py", cfg.OVERRIDES)}
    path = companion_path(weights_path(folds[0]), ".yaml")
    if of_weights and len(folds) == 1 and path.exists():
        typed = {"train.py": command_line("train.py", read_config(path).OVERRIDES), **typed}
    return typed


def draw_histograms(results: Sequence[SplitResult], regions: Regions, labels: Mapping[str, str]) -> "Figure":
    """Distribution of Dice over images, a panel per class, the splits beside each other."""
    from matplotlib.figure import Figure

    classes = class_regions(regions)
    columns = min(len(classes), 4)
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(max(2.9 * columns, 5.5), 2.3 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, classes, strict=False):
        dices = {result.split: image_dices(result, regions[name]) for result in results}
        axis.hist(
            list(dices.values()),
            np.linspace(0, 1, 21),
            label=[f"{split} ({len(found)})" for split, found in dices.items()],
        )
        count = "" if len(dices) > 1 else f" ({len(dices[results[0].split])})"
        axis.set_title(f"{labels[name]}{count}", fontsize=10)
        axis.set_xlabel("Dice")
        axis.set_ylabel("images")
        axis.set_xlim(0, 1)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
        if len(dices) > 1:
            axis.legend(fontsize=8)
    for axis in axes[len(classes) :]:
        axis.set_visible(False)
    return figure


def image_dices(result: SplitResult, region: Sequence[int]) -> list[float]:
    """Dice of a region in each image that has it in truth or prediction."""
    assert result.evaluator is not None
    dices = [score_region(case.confusion, region)["dice"] for case in result.evaluator.images]
    return [dice for dice in dices if dice is not None]


def confusion_cells(confusion: np.ndarray) -> list[list[tuple[int, float | None]]]:
    """`(pixels, share of the row)` of every cell; the share of an empty row is None.

    >>> confusion_cells(np.array([[3, 1], [0, 0]]))
    [[(3, 0.75), (1, 0.25)], [(0, None), (0, None)]]
    """
    totals = confusion.sum(axis=1)
    return [
        [(int(value), float(value / total) if total else None) for value in row]
        for row, total in zip(confusion, totals, strict=True)
    ]


def format_number(value: Any, digits: int = 3) -> str:
    """A number as the report prints it; a dash for a score that is not defined.

    >>> format_number(0.5), format_number(12345)
    ('0.500', '12,345')
    """
    if value is None or value == "" or value != value:
        return "\u2013"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"
