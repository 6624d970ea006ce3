"""What lies beside evaluations: pictures in their reports, learning curves, what a run cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from utils.base.errors import UserError
from utils.base.learning_curves import History
from utils.comparison.runs import EVALUATION, Run, key_of
from utils.training.compare_curves import read_log

LAYERS = ("truth", "prediction", "errors")  # of a picture; the image itself is called by its name
SHOWN = ("loss", "dice", "iou", "dice_coef")  # curves on the sheet, with those of validation


class Picture(NamedTuple):
    """A picture of a report: Dice, mean over its classes, None without any; `{layer: URL that holds it}`."""

    dice: float | None
    layers: dict[str, str]


class ReportReader(HTMLParser):
    """Reads the pictures of a `report.html` and what it knows of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: dict[int, dict[str, str]] = {}
        self.rows: list[dict[str, Any]] = []
        self.current: int | None = None
        self.in_rows = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "figure" and (found.get("data-id") or "").isdigit():
            self.current = int(str(found["data-id"]))
        elif tag == "img" and self.current is not None:
            url, name = found.get("src") or "", str(found.get("alt"))
            if url.startswith("data:image/webp;base64,"):
                self.layers.setdefault(self.current, {})[name if name in LAYERS else "image"] = url
        self.in_rows = tag == "script" and found.get("id") == "rows"

    def handle_endtag(self, tag: str) -> None:
        self.in_rows = False
        if tag == "figure":
            self.current = None

    def handle_data(self, data: str) -> None:
        if self.in_rows:
            self.rows = json.loads(data)


def read_pictures(run: Run) -> dict[str, Picture]:
    """`{image: its picture}` of the split that is compared; empty if the report is not there or of another version."""
    reader = ReportReader()
    try:
        reader.feed((run.folder / "report.html").read_text(encoding="utf-8"))
        return {
            key_of({"image": row["name"]}, "image"): Picture(row["dice"][0], reader.layers[row["id"]])
            for row in reader.rows
            if row["split"] == run.split and row["id"] in reader.layers
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}


def most_different(runs: Sequence[Run], count: int) -> list[tuple[str, dict[str, Picture]]]:
    """`(image, {run: picture})` of the images whose Dice differs most between runs, as far as all reports show them."""
    pictures = {run.name: read_pictures(run) for run in runs}
    shared = [name for name in pictures[runs[0].name] if all(name in found for found in pictures.values())]

    def spread(name: str) -> float:
        dices = [found[name].dice for found in pictures.values()]
        defined = [1.0 if dice is None else dice for dice in dices]  # rightly empty
        return max(defined) - min(defined)

    chosen = sorted(shared, key=lambda name: (-spread(name), name))[:count]
    return [(name, {run: found[name] for run, found in pictures.items()}) for name in chosen if spread(name) > 0]


def weights_stem(run: Run) -> Path:
    """The path of the weights without ending, beside which the evaluation lies unless EVALUATION.PATH was set."""
    return run.folder.with_name(run.folder.name.removesuffix(EVALUATION))


def read_history(run: Run) -> History | None:
    """The learning curves of the training of a run; None if its log does not lie beside its weights."""
    stem = weights_stem(run)
    for name in dict.fromkeys((stem.name, stem.name.removeprefix("model_"))):
        path = stem.with_name(f"training_logs_{name}.csv")
        if "weights" in run.metadata and path.is_file():
            try:
                history = read_log(path)
            except UserError:
                return None
            kept = {log: values for log, values in history.items() if log.removeprefix("val_") in SHOWN}
            return kept or None
    return None


def read_cost(run: Run) -> dict[str, float | None]:
    """`{"parameters", "gflops", "ms", "seconds"}`: of the network; per image, reading included; of training. None where
    it is not known, as it is of masks of another tool."""
    if "weights" not in run.metadata:
        return dict.fromkeys(("parameters", "gflops", "ms", "seconds"))
    summary: dict[str, Any] = {}
    try:
        summary = json.loads(Path(f"{weights_stem(run)}.run.json").read_text(encoding="utf-8"))
        seconds = float(summary["since_last_start"]["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        seconds = None
    if run.metadata.get("training_seconds") is not None:  # evaluations of earlier versions do not say it
        seconds = run.metadata["training_seconds"]
    speed = run.entry.get("images_per_second")
    return {
        "parameters": run.metadata.get("parameters") or summary.get("parameters"),
        "gflops": run.metadata.get("gflops"),
        "ms": 1000 / speed if speed else None,
        "seconds": seconds,
    }


def histories(runs: Sequence[Run]) -> Iterator[tuple[str, History]]:
    """`(run, its learning curves)` of the runs that have some."""
    for run in runs:
        if history := read_history(run):
            yield run.name, history
