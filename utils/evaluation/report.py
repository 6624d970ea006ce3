"""The report of an evaluation: one HTML file with everything in it, which opens without a network."""

import base64
import csv
import io
import re
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from omegaconf import OmegaConf

from utils.base.files import resolve_path, write_whole
from utils.base.learning_curves import draw_curves
from utils.base.pictures import class_color
from utils.checkpoints import beside, weights_path
from utils.evaluation.case_scores import MEASURES, STATES, case_columns, describe, find_regions, mean_dice
from utils.evaluation.gallery import prediction_color


def write_report(path, cfg, about, results, gallery):
    """Write the report.

    Args:
        path: HTML file.
        cfg: config of the evaluation.
        about: {name: value} of weights and time, as in `evaluation.json`.
        results: list of SplitResult.
        gallery: Gallery with the pictures.
    """
    # Names of files come from outside: everything is escaped.
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters |= {"number": number, "hex": "#{0[0]:02x}{0[1]:02x}{0[2]:02x}".format}
    regions = find_regions(cfg.OUTPUT.CLASSES)
    classes = [name for name in regions if name != "foreground"]
    rows = [row for result in results for row in image_rows(result, regions, classes)]
    context = {
        "cfg": cfg,
        "about": about,
        "results": results,
        "regions": list(regions),
        "labels": {name: region_label(cfg, name) for name in regions},
        "colors": {
            name: {"truth": class_color(index), "predicted": prediction_color(index)}
            for index, name in enumerate(classes, start=1)
        },
        "contours": gallery.contours,
        "of_classes": [name for name in results[0].rules if re.search(r"_class\d+$", name)],
        "measures": [(name, *texts) for name, texts in MEASURES.items()],
        "states": STATES,
        "curves": curves(cfg),
        "histogram": embed(draw_histograms(results, regions, classes, region_label, cfg), "svg"),
        "confusions": [(result.split, confusion_cells(result.measurement.confusion())) for result in results],
        "confusion_labels": [region_label(cfg, f"class{index}") for index in range(max(cfg.OUTPUT.CLASSES, 2))],
        "volumes": [
            {"split": result.split, **case_columns(case, regions)}
            for result in results
            for case in result.measurement.volumes
        ],
        "rows": rows,
        "pictures": [(rows[order], data_url(data, "image/webp")) for order, data in gallery.pictures()],
        "settings": OmegaConf.to_yaml(cfg, resolve=True),
        "typed": typed(cfg),
    }
    with write_whole(path) as temporary:
        temporary.write_text(environment.get_template("report.html.j2").render(context), encoding="utf-8")


def image_rows(result, regions, classes):
    """What the page knows of each image: the Dice of every class, the mean first, and how each class lies in it."""
    for order, case in enumerate(result.measurement.images, start=result.first):
        found = [describe(case.confusion, regions[name]) for name in classes]
        dices = [mean_dice(case, regions), *(entry["dice"] for entry in found)]
        yield {
            "id": order,
            "split": result.split,
            "name": case.name,
            "volume": case.volume,
            "slice": case.slice,
            "dice": [None if dice is None else round(dice, 4) for dice in dices],
            "state": [entry["state"] for entry in found],
        }


def region_label(cfg, name):
    """What a region is called: the name of its class where the config gives it."""
    if name == "foreground":
        return "all foreground"
    index, names = int(name.removeprefix("class")), cfg.OUTPUT.CLASS_NAMES
    if names is not None and index < len(names) and len(names) >= max(cfg.OUTPUT.CLASSES, 2):
        return names[index]
    return "background" if index == 0 else f"class {index}"


def typed(cfg):
    """`{command: overrides}`: what was typed for this evaluation and, where it is noted, for the training."""
    path = beside(weights_path(cfg), ".yaml")
    commands = {"evaluate.py": list(cfg.OVERRIDES)}
    if path.exists():
        commands = {"train.py": list(OmegaConf.load(path).get("OVERRIDES", [])), **commands}
    return commands


def curves(cfg):
    """Picture of the training log of MODEL.TYPE as a URL; None where there is no log that can be read."""
    path = resolve_path(cfg, cfg.CALLBACKS.CSV_LOGGER.PATH) / f"training_logs_{cfg.MODEL.TYPE}.csv"
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        history = {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {})}
    except (OSError, ValueError, TypeError):
        return None
    return embed(draw_curves(history), "svg") if history else None


def draw_histograms(results, regions, classes, label, cfg):
    """Distribution of Dice over images, a panel per class, the splits beside each other."""
    from matplotlib.figure import Figure

    columns = min(len(classes), 4)
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(max(2.9 * columns, 5.5), 2.3 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, classes, strict=False):
        dices = []
        for result in results:
            found = [describe(case.confusion, regions[name])["dice"] for case in result.measurement.images]
            dices.append([dice for dice in found if dice is not None])
        names = [f"{result.split} ({len(found)})" for result, found in zip(results, dices, strict=True)]
        axis.hist(dices, np.linspace(0, 1, 21), label=names)
        axis.set_title(label(cfg, name) if len(results) > 1 else f"{label(cfg, name)} ({len(dices[0])})", fontsize=10)
        axis.set_xlabel("Dice")
        axis.set_ylabel("images")
        axis.set_xlim(0, 1)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
        if len(results) > 1:
            axis.legend(fontsize=8)
    for axis in axes[len(classes) :]:
        axis.set_visible(False)
    return figure


def confusion_cells(confusion):
    """`(pixels, share of the row)` of every cell; the share of an empty row is None."""
    totals = confusion.sum(axis=1)
    return [
        [(int(value), float(value / total) if total else None) for value in row]
        for row, total in zip(confusion, totals, strict=True)
    ]


def embed(figure, kind):
    """A matplotlib figure as the URL of a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return data_url(buffer.getvalue(), "image/svg+xml")


def data_url(data, kind):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def number(value, digits=3):
    """A number as the report prints it; a dash for what is not defined."""
    if value is None or value == "" or value != value:
        return "\u2013"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"
