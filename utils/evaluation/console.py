"""Print the main scores of an evaluation: tables that fit 80 columns."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from utils.base.job_table import fold_table, job_table, number
from utils.base.terminal import make_table, say, show
from utils.base.wording import counted, cut
from utils.checkpoints.paths import evaluation_folder
from utils.config.sweeps import Job
from utils.evaluation.class_table import (
    COLUMNS,
    class_rows,
    constant_of_folds,
    find_baseline,
    find_warnings,
    fold_rows,
    region_labels,
)
from utils.evaluation.groups import lone_groups
from utils.evaluation.report_calibration import calibration_lines
from utils.evaluation.report_review import review_lines
from utils.evaluation.score_table import size_text

if TYPE_CHECKING:
    from utils.evaluation.split_result import SplitResult

# Further scores of the classes: {heading: columns}; printed where a split has them.
CASE_TABLES = {
    "mean over {case}s": ("dice_per_case", "iou_per_case", "volume_error"),
    "mean over {case}s, surfaces": ("hd95_mm", "assd_mm", "surface_dice"),
    "all pixels": ("roc_auc", "pr_auc"),
    "objects": ("object_ap50", "object_ap", "object_f1", "object_pq", "object_aji"),
    "mean over {case}s, centrelines": ("cldice", "cldice_precision", "cldice_sensitivity"),
    "mean over images, outlines": ("boundary_iou",),
    "mean over {case}s, lesions": ("lesion_f1_any", "lesion_f1_10", "lesion_f1_50"),
    "lesions found": ("lesion_sensitivity_any", "lesion_sensitivity_10"),
    "mean over images, Rand": ("v_rand", "v_rand_split", "v_rand_merge"),
    "mean over images, information": ("v_info", "v_info_split", "v_info_merge"),
}

# Of the whole set; the others say nearly the same, or differ in how they average.
MAIN_SCORES = ("loss", "dice_coef", "iou_all_classes", "pixel_accuracy", "presence_accuracy")

FOLD_COLUMNS = ("dice", "iou", "dice_per_case")  # as many as fit; the report has more
OF_JOBS = ("dice", "iou", "dice_coef", "roc_auc", "accuracy")  # scores in the table after a sweep, where there are such

Rows = list[list[str]]


def print_results(cfg: DictConfig, results: Sequence[SplitResult], folder: Path) -> None:
    """Print the scores of each split: a row a class, then scores of cases, then those of the whole set."""
    for result in results:
        for warning in find_warnings(cfg, result):
            print(f"Warning: {result.split}: {warning}", file=sys.stderr)
    if not cfg.VERBOSE:
        return
    masks = cfg.EVALUATION.PREDICTIONS
    say(f"weights {cfg.MODEL.WEIGHTS_FILE_NAME}" if masks is None else f"masks {masks}")
    for result in results:
        say(f"\n{describe(result)}")
        for columns, rows in tables(cfg, result):
            say("")
            show(make_table(columns, rows))
        if more := len(whole_set_names(result)) - len(shown_names(cfg, result)):
            say(f"{more} more scores, and how each averages: report.html, evaluation.json")
        if result.summary and cfg.EVALUATION.BOOTSTRAP and result.summary["cases"] == 1:
            say(f"no confidence intervals: there is one {result.summary['case']}")
        for column, found in (result.summary or {}).get("groups", {}).items():
            if lone := lone_groups(found):
                say(f"{column}: {lone}")
        if result.raters:
            say("")
            show(make_table(*rater_table(cfg, result.raters)))
        for line in (*calibration_lines(result), *review_lines(result)):
            say(line)
        if result.evaluator and (folds := fold_rows(result.evaluator, FOLD_COLUMNS)):
            say("\nmeans over the classes")
            show(fold_table(FOLD_COLUMNS, folds, constant_of_folds(cfg, result.evaluator, FOLD_COLUMNS)))
    say(f"\nsaved {folder}")
    if (folder / "report.html").exists():
        say(f"open {folder / 'report.html'}")


def print_sweep(jobs: Sequence[Job]) -> None:
    """Say how the jobs of a sweep scored in their first split: the best first, or the folds with their mean."""
    columns = [name for name in OF_JOBS if all(name in job.result for job in jobs)]
    rows = [(" ".join(job.swept), [job.result[name] for name in columns]) for job in jobs]
    constants = [("", [constants.get(name) for name in columns]) for constants in map(constant_scores, jobs)]
    say("")
    if jobs[0].is_fold:
        show(fold_table(columns, rows, constants))
    else:
        show(job_table(columns, rows, constants=constants))


def constant_scores(job: Job) -> dict[str, float]:
    """What constant answers have in the first split of a job; empty if its files do not say so."""
    try:
        saved = json.loads((evaluation_folder(job.cfg) / "evaluation.json").read_text(encoding="utf-8"))
        found = next(iter(saved["splits"].values()))["best_constant_answer"]
        return {name: entry["value"] for name, entry in found.items()}
    except (OSError, ValueError, KeyError, StopIteration):  # of a classifier, or removed meanwhile
        return {}


def describe(result: SplitResult) -> str:
    """`val: 20 images in 2 volumes, 5.1 images/s`."""
    volumes = result.summary["cases"] if result.summary and result.summary["case"] == "volume" else 0
    inside = f" in {counted(volumes, 'volume')}" if volumes else ""
    images = counted(result.images, "image")
    return f"{result.split}: {images}{inside}, {result.speed:.1f} images/s, reading included"


def tables(cfg: DictConfig, result: SplitResult) -> Iterator[tuple[list[str], Rows]]:
    """`(headings, rows)` of each table of a split."""
    if result.evaluator and result.summary:
        rows = list(class_rows(cfg, result.summary, result.evaluator))
        yield (
            ["class", COLUMNS[0], "95% interval", *COLUMNS[1:], "n"],
            [
                [
                    cut(row.name),
                    number(row.scores.get("dice")),
                    "" if row.low is None else f"{row.low:.4f}-{row.high:.4f}",
                    *(number(row.scores.get(name)) for name in COLUMNS[1:]),
                    "" if row.cases is None else str(row.cases),
                ]
                for row in rows
            ],
        )
        names = {row.region: row.name for row in rows if row.region}
        for heading, columns in CASE_TABLES.items():
            yield from case_table(heading.format(case=result.summary["case"]), columns, names, result)
        yield from size_tables(names, result.summary["regions"])
        for column, found in result.summary.get("groups", {}).items():
            yield group_table(column, found, names)
    yield whole_set_table(cfg, result)


def case_table(
    heading: str, columns: Sequence[str], names: dict[str, str], result: SplitResult
) -> Iterator[tuple[list[str], Rows]]:
    """The table of some scores of cases, if the split has one of them."""
    assert result.summary is not None
    regions: dict[str, dict[str, Any]] = result.summary["regions"]
    columns = [name for name in columns if any(name in found for found in regions.values())]
    if columns:
        values = {
            region: [found.get(name, {}).get("value") for name in columns]
            for region, found in regions.items()
            if any(name in found for name in columns)  # "foreground" has no scores of whole images
        }
        yield [heading, *columns], [[cut(names[region]), *map(number, found)] for region, found in values.items()]


def size_tables(names: dict[str, str], regions: dict[str, dict[str, Any]]) -> Iterator[tuple[list[str], Rows]]:
    """How many true objects there are of each size and how many are found, with EVALUATION.SIZE_BINS."""
    for kind in ("object", "lesion"):
        counts, shares = f"{kind}_count_size_", f"{kind}_sensitivity_size_"
        rows = [
            [cut(names[region]), size_text(size), str(found[counts + size]["value"]), number(share.get("value"))]
            for region, found in regions.items()
            for size in (name.removeprefix(counts) for name in found if name.startswith(counts))
            for share in (found.get(shares + size, {}),)
        ]
        if rows:
            yield [f"{kind}s by size", "size", "true", "sensitivity"], rows


def group_table(column: str, found: dict[str, Any], names: dict[str, str]) -> tuple[list[str], Rows]:
    """`(headings, rows)`: mean Dice per case of each group, and the gap; as many classes as fit."""
    score, shown = "dice_per_case", list(names)[:4]
    rows = [
        [
            cut(group),
            str(entry["cases"]),
            *(number(entry["regions"][name].get(score, {}).get("value")) for name in shown),
        ]
        for group, entry in found["groups"].items()
    ]
    gaps = [found["gaps"][name].get(score, {}) for name in shown]
    rows.append(["gap", "", *(number(gap.get("value")) for gap in gaps)])
    if any(gap.get("low") is not None for gap in gaps):
        rows.append(["95% interval", "", *(interval(gap) for gap in gaps)])
    headings = [f"{cut(column)}, {score}", "n", *(cut(names[name]) for name in shown)]
    return headings, rows


def interval(entry: Mapping[str, Any]) -> str:
    """`0.9000-0.9500`, or nothing where there is none."""
    return "" if entry.get("low") is None else f"{entry['low']:.4f}-{entry['high']:.4f}"


def whole_set_table(cfg: DictConfig, result: SplitResult) -> tuple[list[str], Rows]:
    """Loss and metrics of the whole set, beside what the best constant answer has; which: see `shown_names`."""
    baseline = find_baseline(cfg, result.evaluator) if result.evaluator else {}
    names = shown_names(cfg, result)
    if not baseline:
        return ["whole set", "score"], [[name, number(result.scores[name])] for name in names]
    return (
        ["whole set", "score", "best constant answer"],
        [[name, number(result.scores[name]), number(baseline.get(name, (None,))[0])] for name in names],
    )


def rater_table(cfg: DictConfig, raters: dict[str, Any]) -> tuple[list[str], Rows]:
    """`(headings, rows)`: how raters agree, and the prediction with them."""
    means, labels = raters["mean_dice_per_case"], region_labels(cfg, raters["mean_dice_per_case"])
    titles = ("between raters", "prediction and raters")
    return ["mean Dice per case", *titles], [
        [cut(labels[region]), *(number(found[title]) for title in titles)] for region, found in means.items()
    ]


def shown_names(cfg: DictConfig, result: SplitResult) -> list[str]:
    """The metrics of the whole set that are printed: MAIN_SCORES, or all if EVALUATION.METRICS asks for some."""
    names = whole_set_names(result)
    if result.evaluator is None or cfg.EVALUATION.METRICS is not None:
        return names
    return [name for name in names if name in MAIN_SCORES]


def whole_set_names(result: SplitResult) -> list[str]:
    """The metrics of a split that are no column of the classes, and not of a single one."""
    return [name for name in result.rules if name not in COLUMNS and not re.search(r"_class\d+$", name)]
