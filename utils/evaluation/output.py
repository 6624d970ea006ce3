"""What an evaluation leaves beside the weights: `<name>.evaluation/` with JSON, CSV tables and the report."""

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from losses.constant_answer import Answer
from utils.base.classes import is_multi_label, number_of_classes
from utils.base.files import atomic_write, file_hash, write_json
from utils.base.text_files import SHOWN, spreadsheet_cell
from utils.checkpoints.paths import evaluation_folder, weights_path
from utils.checkpoints.temperature import describe_temperatures
from utils.checkpoints.training_log import training_seconds
from utils.config.class_names import has_background, mask_class_names
from utils.config.folds import ALL
from utils.config.overrides import command_line
from utils.evaluation.case_scores import Regions, ScoredCase, case_columns, find_regions
from utils.evaluation.class_table import find_baseline, score_folds
from utils.evaluation.gallery import Gallery
from utils.evaluation.postprocessing import describe_postprocessing
from utils.evaluation.report import write_report
from utils.evaluation.report_calibration import reliability_bins
from utils.evaluation.split_result import SplitResult
from utils.inference.uncertainty.learnt import flag_text

TIME = "%Y-%m-%d %H:%M:%S"


def write_results(
    cfg: DictConfig,
    folds: Sequence[DictConfig],
    results: Sequence[SplitResult],
    gallery: Gallery,
    cost: Mapping[str, Any] | None = None,
) -> Path:
    """Write the folder of an evaluation; what an earlier one left there is replaced.

    Args:
        cfg: config of the command.
        folds: the restored config of each fold; usually one.
        results: one per split.
        gallery: pictures of the report.
        cost: `parameters` and `gflops` of the network.

    Returns:
        The folder: `evaluation.json`; except for a classifier also `per_image.csv`, `per_volume.csv` (if there are
        volumes) and `report.html`.
    """
    weights = [weights_path(fold) for fold in folds]
    folder = results_folder(cfg, folds)
    what = {**describe_weights(folds, weights), **(cost or {})}
    return write_folder(folder, cfg, folds, what, results, gallery)


def results_folder(cfg: DictConfig, folds: Sequence[DictConfig]) -> Path:
    """The folder of an evaluation, see `write_results`."""
    return evaluation_folder(cfg if cfg.DATASET.FOLD == ALL else folds[0])


def write_folder(
    folder: Path,
    cfg: DictConfig,
    folds: Sequence[DictConfig],
    what: Mapping[str, Any],
    results: Sequence[SplitResult],
    gallery: Gallery,
) -> Path:
    """`write_results` in a folder; `what` was evaluated, as `evaluation.json` says it."""
    trained = folds[0]
    named = {} if trained.MODEL.TYPE == "classifier" else {"class_names": mask_class_names(trained)}
    metadata = {**what, **named, "command": command_line("evaluate.py", cfg.OVERRIDES)}
    splits = {result.split: split_entry(trained, result) for result in results}
    write_json(folder / "evaluation.json", {**metadata, "splits": splits})
    evaluators = {result.split: result.evaluator for result in results if result.evaluator}
    if not evaluators:
        return folder
    regions = find_regions(number_of_classes(trained), has_background(trained))
    write_table(folder / "per_image.csv", {split: found.images for split, found in evaluators.items()}, regions)
    if any(found.volumes for found in evaluators.values()):
        write_table(folder / "per_volume.csv", {split: found.volumes for split, found in evaluators.items()}, regions)
    else:
        (folder / "per_volume.csv").unlink(missing_ok=True)  # of an earlier evaluation
    write_reviewed(folder / "uncertainty.csv", results)
    write_report(folder / "report.html", cfg, folds, metadata, results, gallery)
    return folder


def describe_weights(folds: Sequence[DictConfig], weights: Sequence[Path]) -> dict[str, Any]:
    """What `evaluation.json` says about the weights and the evaluation."""
    cfg = folds[0]
    names = [file.name if len(weights) == 1 else f"{file.parent.name}/{file.name}" for file in weights]
    newest = max(file.stat().st_mtime for file in weights)
    return {
        "weights": ", ".join(names),
        "weights_date": time.strftime(TIME, time.localtime(newest)),
        "weights_sha256": ", ".join(file_hash(file) for file in weights),
        "training_seconds": training_seconds(folds),
        "evaluated": time.strftime(TIME),
        "prune": cfg.MODEL.PRUNE,
        "cleaned": describe_postprocessing(cfg),
        "temperature": describe_temperatures(folds),
    }


def describe_predictions(cfg: DictConfig, left_out: Sequence[str]) -> dict[str, Any]:
    """What `evaluation.json` says about masks that were scored without a network.

    Args:
        cfg: config of the command.
        left_out: the metrics that need probabilities.
    """
    predictions, masks = cfg.EVALUATION.PREDICTIONS, cfg.DATASET[cfg.EVALUATION.SPLITS[0].upper()].MASK_PATH
    return {
        "predictions": predictions if isinstance(predictions, str) else list(predictions),
        "masks": masks if isinstance(masks, str) else list(masks),
        "truth": cfg.EVALUATION.TRUTH,
        "left_out": list(left_out),
        "evaluated": time.strftime(TIME),
        "cleaned": describe_postprocessing(cfg),
    }


def split_entry(cfg: DictConfig, result: SplitResult) -> dict[str, Any]:
    """What `evaluation.json` says about a split."""
    constant = find_baseline(cfg, result.evaluator) if result.evaluator else {}
    answers = {name: {"value": value, **answer_entry(cfg, answer)} for name, (value, answer) in constant.items()}
    baseline = {"best_constant_answer": answers} if answers else {}
    folds = {"folds": found} if result.evaluator and (found := score_folds(result.evaluator)) else {}
    # Overlapping classes have no confusion matrix.
    matrix = result.evaluator.confusion() if result.evaluator else None
    confusion = {"confusion": matrix.tolist()} if matrix is not None and matrix.ndim == 2 else {}
    return {
        "images": result.images,
        "images_per_second": round(result.speed, 2),
        "scores": result.scores,
        **baseline,
        **(result.summary or {}),
        **folds,
        **confusion,
        **reliability_entry(result),
        **({"raters": result.raters} if result.raters else {}),
        **({"review": result.review} if result.review else {}),
    }


def reliability_entry(result: SplitResult) -> dict[str, Any]:
    """The bins of the reliability diagrams, if calibration was measured; with a temperature also what was before it."""
    evaluator = result.evaluator
    if not evaluator or not evaluator.calibration:
        return {}
    entry: dict[str, Any] = {"reliability": reliability_bins(evaluator.calibration)}
    if before := evaluator.uncalibrated:
        entry["before_temperature"] = {"scores": before.results(), "reliability": reliability_bins(before)}
    return entry


def answer_entry(cfg: DictConfig, answer: Answer) -> dict[str, Any]:
    """The class of a constant answer; of overlapping classes those that every pixel gets."""
    return {"classes": list(answer)} if is_multi_label(cfg) else {"class": answer[0]}


def write_reviewed(path: Path, results: Sequence[SplitResult]) -> None:
    """Write the expected, predicted and true Dice of each case, with PREDICT.UNCERTAINTY."""
    if not any(result.reviewed for result in results):
        path.unlink(missing_ok=True)  # of an earlier evaluation
        return
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors=SHOWN) as file:
        rows = csv.writer(file)
        rows.writerow(["split", "kind", "case", "dice", "expected_dice", "predicted_dice", "flag"])
        for result in results:
            for kind, found in result.reviewed.items():
                for case, predicted, flag in found:
                    numbers = [
                        "" if value is None else f"{value:.4f}" for value in (case.dice, case.expected_dice, predicted)
                    ]
                    rows.writerow([result.split, kind, spreadsheet_cell(case.name), *numbers, flag_text(flag)])


def write_table(path: Path, cases: dict[str, list[ScoredCase]], regions: Regions) -> None:
    """One row per case of all splits; columns as `utils.evaluation.case_scores.case_columns`."""
    rows = [{"split": split, **case_columns(case, regions)} for split, found in cases.items() for case in found]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors=SHOWN) as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({name: spreadsheet_cell(value) for name, value in row.items()} for row in rows)
