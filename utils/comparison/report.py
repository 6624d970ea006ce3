"""What a comparison leaves: one HTML page that needs no network, JSON and CSV tables."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader

from utils.base.embedding import embed
from utils.base.files import atomic_write, write_json
from utils.base.palette import class_color, hex_color, line_color
from utils.base.text_files import SHOWN, spreadsheet_cell
from utils.base.wording import counted
from utils.comparison.beside import histories, most_different, read_cost
from utils.comparison.runs import MEAN, Run
from utils.comparison.statistics import (
    FEWEST,
    compare_pairs,
    compare_volumes,
    find_regions_compared,
    format_p,
    rank_runs,
    score_runs,
    shared_scores,
)
from utils.evaluation.report import format_number
from utils.evaluation.score_table import LOWER_IS_BETTER, score_texts
from utils.training.compare_curves import draw_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = 12  # images whose predictions are shown side by side
TEMPLATES = (Path(__file__).parent, Path(__file__).parents[1] / "evaluation")  # with the style of the report


def compare_runs(runs: Sequence[Run], score: str, bootstrap: int, seed: int) -> dict[str, Any]:
    """All numbers of a comparison, as `comparison.json` holds them.

    Args:
        runs: of `utils.comparison.runs.find_runs`.
        score: that ranks them.
        bootstrap: resamples of the cases, 0 for no intervals.
        seed: of the resampling.
    """
    region = find_regions_compared(runs)[0]
    return {
        "runs": {run.name: {"folder": str(run.folder), **run.metadata, "cost": read_cost(run)} for run in runs},
        "split": runs[0].split,
        "case": runs[0].unit,
        "cases": len(runs[0].cases),
        "compared": time.strftime("%Y-%m-%d %H:%M:%S"),
        "bootstrap": bootstrap,
        "scores": score_runs(runs, bootstrap, seed),
        "pairs": compare_pairs(runs, bootstrap, seed),
        "ranking": rank_runs(runs, score, region, bootstrap, seed),
        "volumes": compare_volumes(runs),
    }


def region_names(runs: Sequence[Run]) -> dict[str, str]:
    """`{region: what readers call it}`: the names of the classes, if all runs have the same."""
    named = runs[0].metadata.get("class_names") or []
    same = all(run.metadata.get("class_names") == named for run in runs)
    names = {MEAN: "mean of classes", "foreground": "all foreground"}
    for region in runs[0].classes:
        index = int(region.removeprefix("class"))
        names[region] = str(named[index]) if same and index < len(named) else region
    return names


def write_comparison(folder: Path, runs: Sequence[Run], found: dict[str, Any], command: str) -> None:
    """Write `comparison.html`, `comparison.json`, `scores.csv` and `pairs.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "comparison.json", {**found, "command": command})
    rows = [
        {"score": entry["score"], "region": entry["region"], "run": run, **values}
        for entry in found["scores"]
        for run, values in entry["runs"].items()
    ]
    write_table(folder / "scores.csv", rows)
    write_table(folder / "pairs.csv", found["pairs"])
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)  # names come from outside
    environment.filters |= {"number": format_number, "p": format_p, "signed": format_signed, "counted": counted}
    labels, curves = region_names(runs), dict(histories(runs))
    colors = {run.name: line_color(number) for number, run in enumerate(runs)}
    main = [entry for entry in found["scores"] if entry["region"] == found["ranking"]["region"]]
    context = {
        **found,
        "names": [run.name for run in runs],
        "colors": colors,
        "class_colors": {
            labels[region]: hex_color(class_color(int(region.removeprefix("class")))) for region in runs[0].classes
        },
        "labels": labels,
        "titles": {name: score_texts(name)[0] for name in shared_scores(runs)},
        "lower": [name for name in shared_scores(runs) if name in LOWER_IS_BETTER],
        "main": main,
        "regions": find_regions_compared(runs),
        "score_names": shared_scores(runs),
        "fewest": FEWEST,
        "agreement": embed(draw_agreement(found["volumes"], colors, labels)),
        "curves": embed(draw_runs(curves, colors)) if curves else None,
        "narrow_curves": embed(draw_runs(curves, colors, columns=1)) if curves else None,
        "without_curves": [run.name for run in runs if run.name not in curves],
        "pictures": most_different(runs, PICTURES),
        "command": command,
    }
    page = environment.get_template("comparison.html.j2").render(context)
    with atomic_write(folder / "comparison.html") as temporary:
        temporary.write_text(page, encoding="utf-8", errors=SHOWN)


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as CSV; what is not defined is empty."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors=SHOWN) as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["score"])
        writer.writeheader()
        writer.writerows({name: spreadsheet_cell(value) for name, value in row.items()} for row in rows)


def draw_agreement(volumes: Sequence[dict[str, Any]], colors: Mapping[str, str], labels: dict[str, str]) -> Figure:
    """Bland-Altman plots: a row for each region, a column for each run, `{run: colour}`."""
    from matplotlib.figure import Figure

    names = list(colors)
    regions = list(dict.fromkeys(entry["region"] for entry in volumes))
    figure = Figure(figsize=(max(2.8 * len(names), 5.5), 2.4 * len(regions) + 0.3), layout="constrained")
    axes = figure.subplots(len(regions), len(names), squeeze=False, sharey="row", sharex="row")
    for entry in volumes:
        axis = axes[regions.index(entry["region"])][names.index(entry["run"])]
        color = colors[entry["run"]]
        axis.scatter(entry["mean"], entry["difference"], s=10, alpha=0.6, color=color)
        axis.axhline(0, color="0.7", linewidth=0.8)
        axis.axhline(entry["bias"], color=color, linewidth=1.2)
        for limit in (entry["low"], entry["high"]):
            if limit is not None:
                axis.axhline(limit, color=color, linewidth=1, linestyle="--")
        axis.set_title(f"{entry['run']}: {labels[entry['region']]}", fontsize=9)
        axis.set_xlabel(f"mean of true and predicted, {entry['unit']}", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for row in axes:
        row[0].set_ylabel("predicted - true", fontsize=8)
    return figure


def format_signed(value: float | None) -> str:
    """A difference.

    >>> format_signed(0.0123), format_signed(-0.5)
    ('+0.0123', '\u22120.5000')
    """
    if value is None or math.isnan(value):
        return "\u2013"
    return f"{value:+.4f}".replace("-", "\u2212")
