"""What an evaluation leaves beside the weights: `<name>.evaluation/` with JSON, CSV tables and the report."""

import csv
import hashlib
import json
import math
import time
from dataclasses import dataclass, field

from utils.base.files import write_whole
from utils.checkpoints import beside, weights_path
from utils.evaluation.case_scores import case_columns, find_regions
from utils.evaluation.report import write_report

LOSS_RULE = "mean over images of the training loss of their batches, plus weight regularisation"


@dataclass
class SplitResult:
    """All that was measured of one split.

    images: how many; first: number of the first one among those of all splits; scores {name: float}; rules {name of a
    Keras metric: how it averages}; measurement: Measurement and summary its result, None of a classifier.
    """

    split: str
    images: int
    first: int = 0
    scores: dict = field(default_factory=dict)
    rules: dict = field(default_factory=dict)
    measurement: object = None
    summary: dict | None = None
    seconds: float = 0.0

    def complete(self, loss, metrics, averaging, measurement, seconds):
        """Take the results of `metrics` {output: list of Keras metrics} and of the measurement.

        `averaging(name)` says how a metric of masks averages; of others it gives None.
        """
        self.scores, self.rules, self.seconds = {"loss": loss}, {"loss": LOSS_RULE}, seconds
        for metric in (metric for found in metrics.values() for metric in found):
            value = metric.result()
            values = value if isinstance(value, dict) else {metric.name: value}
            self.scores |= {name: float(value) for name, value in values.items()}
            self.rules |= {name: averaging(name) or first_paragraph(metric) for name in values}
        if measurement is not None:
            self.measurement, self.summary = measurement, measurement.result()
            for region, measures in self.summary["regions"].items():
                found = {name: entry["value"] for name, entry in measures.items() if name != "states"}
                self.scores |= {f"{name}_{region}": value for name, value in found.items()}

    @property
    def speed(self):
        """Images per second, reading included."""
        return self.images / self.seconds


def first_paragraph(metric):
    """What a metric is, by its documentation."""
    first = (type(metric).__doc__ or metric.name).strip().split("\n\n")[0]
    return " ".join(first.split())


def write_results(cfg, results, gallery, weights):
    """Write the folder of an evaluation.

    Args:
        cfg: config of the evaluation.
        results: list of SplitResult.
        gallery: Gallery of the report.
        weights: list of the weights files that were measured: one, or one of each fold.

    Returns:
        The folder: `evaluation.json`; but of a classifier `per_image.csv`, `per_volume.csv` (where there are volumes)
        and `report.html`.
    """
    folder = beside(weights_path(cfg), ".evaluation")
    names = [file.name if len(weights) == 1 else f"{file.parent.name}/{file.name}" for file in weights]
    newest = max(file.stat().st_mtime for file in weights)
    about = {
        "weights": ", ".join(names),
        "weights_date": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(newest)),
        "weights_sha256": ", ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in weights),
        "evaluated": time.strftime("%Y-%m-%d %H:%M:%S"),
        "prune": cfg.MODEL.PRUNE,
        "cleaned": cleaned_by(cfg),
    }
    splits = {
        result.split: {
            "images": result.images,
            "images_per_second": round(result.speed, 2),
            "scores": result.scores,
            **(result.summary or {}),
            **({"confusion": result.measurement.confusion().tolist()} if result.measurement else {}),
        }
        for result in results
    }
    with write_whole(folder / "evaluation.json") as temporary:
        temporary.write_text(json.dumps(without_nan({**about, "splits": splits}), indent=2, allow_nan=False))
    if results[0].measurement is None:
        return folder
    regions = find_regions(cfg.OUTPUT.CLASSES)
    write_table(folder / "per_image.csv", results, lambda found: found.images, regions)
    if any(result.measurement.volumes for result in results):
        write_table(folder / "per_volume.csv", results, lambda found: found.volumes, regions)
    else:
        (folder / "per_volume.csv").unlink(missing_ok=True)  # of an earlier evaluation
    write_report(folder / "report.html", cfg, about, results, gallery)
    return folder


def cleaned_by(cfg):
    """The settings that changed predictions before they were scored, as text, or None."""
    parts = ["EVALUATION.KEEP_LARGEST_COMPONENT"] if cfg.EVALUATION.KEEP_LARGEST_COMPONENT else []
    if cfg.EVALUATION.POSTPROCESS:
        parts += [f"PREDICT.POSTPROCESS.{key}={value}" for key, value in cfg.PREDICT.POSTPROCESS.items() if value]
    return ", ".join(parts) or None


def write_table(path, results, cases, regions):
    """One row per case of all splits; columns as `utils.evaluation.case_scores.case_columns`."""
    rows = [
        {"split": result.split, **case_columns(case, regions)}
        for result in results
        for case in cases(result.measurement)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with write_whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def without_nan(value):
    """The same for JSON, which knows no NaN: null where a score is not defined."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
