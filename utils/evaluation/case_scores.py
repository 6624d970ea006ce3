"""Scores of cases and of a set, from counted pixels, with the cases that a mean leaves out and confidence intervals.

A case is a volume, or an image where names carry no volumes. A region is a class, or all foreground classes together
(`foreground`, with several of them: the "liver" of the LiTS challenge, where tumours are part of it). Sources: Bilic et
al. 2023, "The Liver Tumor Segmentation Benchmark (LiTS)", https://arxiv.org/abs/1901.04056, for Dice per case and
global Dice.
"""

from dataclasses import dataclass, field

import numpy as np

# How a region lies in a case. A score that is not defined there is None and left out of the mean.
STATES = {
    "found": "in truth and prediction",
    "missed": "in the truth, not predicted",
    "false_positive": "absent in the truth, yet predicted",
    "absent": "absent in both",
}

# Measure -> (title, how it averages). {cases} becomes "volumes" or "images".
MEASURES = {
    "dice_global": ("Dice, global", "all pixels of the set as one image (LiTS: global Dice)"),
    "iou_global": ("IoU, global", "all pixels of the set as one image"),
    "recall": ("true-positive rate", "all pixels of the set: found of what is true"),
    "precision": ("precision", "all pixels of the set: true of what is predicted"),
    "dice_per_case": ("Dice per case", "mean over {cases}; absent in both: left out; false positive: 0"),
    "dice_per_case_lits": ("Dice per case, LiTS", "mean over {cases}; absent in both: 1; false positive: 0"),
    "iou_per_case": ("IoU per case", "mean over {cases}; absent in both: left out; false positive: 0"),
    "volume_error": ("volume error", "mean over volumes with it in the truth of (predicted - true) / true"),
    "volume_error_abs": (
        "volume error, absolute",
        "mean over volumes with it in the truth of |predicted - true| / true",
    ),
    "volume_error_ml": ("volume error in ml", "mean over all volumes of known spacing of predicted - true"),
    "hd95_mm": (
        "HD95 in mm",
        "mean over volumes where it is in truth and prediction; 95th percentile, both directions",
    ),
    "assd_mm": ("ASSD in mm", "mean over volumes where it is in truth and prediction"),
    "surface_dice": ("surface Dice", "mean over volumes; absent in both: left out; missed or false positive: 0"),
}
SURFACE_MEASURES = ("hd95_mm", "assd_mm", "surface_dice")


@dataclass
class Case:
    """Counted pixels of an image or of a volume.

    confusion int64 `(n, n)`, rows truth, columns prediction; voxel_ml the volume of a voxel, None where the spacing is
    not known; surface {region: scores of losses.surface}, None where it was not asked for.
    """

    name: str
    confusion: np.ndarray
    volume: str | None = None
    slice: int | None = None
    images: int = 1
    voxel_ml: float | None = None
    surface: dict | None = field(default=None)


def find_regions(classes):
    """`{name: class indices}`: each foreground class, and all of them together where there are several."""
    regions = {f"class{index}": [index] for index in range(1, max(classes, 2))}
    return {**regions, "foreground": list(range(1, classes))} if len(regions) > 1 else regions


def describe(confusion, region):
    """`{"true", "predicted", "common": pixels, "state", "dice", "iou"}` of a region of one case.

    Dice and IoU are None where the region is absent in truth and prediction.
    """
    common = int(confusion[np.ix_(region, region)].sum())
    true, predicted = int(confusion[region].sum()), int(confusion[:, region].sum())
    absent = true + predicted == 0
    return {
        "true": true,
        "predicted": predicted,
        "common": common,
        "state": {(1, 1): "found", (1, 0): "missed", (0, 1): "false_positive", (0, 0): "absent"}[
            int(true > 0), int(predicted > 0)
        ],
        "dice": None if absent else 2 * common / (true + predicted),
        "iou": None if absent else common / (true + predicted - common),
    }


def mean_dice(case, regions):
    """Mean Dice of the foreground classes that occur in truth or prediction; None where none does."""
    dices = [describe(case.confusion, region)["dice"] for name, region in regions.items() if name != "foreground"]
    dices = [dice for dice in dices if dice is not None]
    return sum(dices) / len(dices) if dices else None


def join_volumes(images):
    """Cases of slices -> one case for each volume, in the order of first appearance."""
    volumes = {}
    for image in images:
        found = volumes.get(image.volume)
        if found is None:
            volumes[image.volume] = Case(image.volume, image.confusion.copy(), image.volume, voxel_ml=image.voxel_ml)
        else:
            found.confusion += image.confusion
            found.images += 1
    return list(volumes.values())


def summarise(cases, regions, bootstrap, seed):
    """Scores of a set of cases.

    Args:
        cases: list of Case.
        regions: of `find_regions`.
        bootstrap: int, resamples of the cases; 0 for no intervals.
        seed: of the resampling.

    Returns:
        `{region: {"states": {state: cases}, measure: {"value", "low", "high": float or None, "cases": int}}}`; low and
        high are the 95% percentile bootstrap interval (Efron 1979) over cases, None with fewer than 2 cases.
        A measure that no case defines is left out.
    """
    summary, columns, keys = {}, [], []
    for name, region in regions.items():
        rows = [describe(case.confusion, region) for case in cases]
        states = [row["state"] for row in rows]
        summary[name] = {"states": {state: states.count(state) for state in STATES}}
        parts = [fractions(case, name, row) for case, row in zip(cases, rows, strict=True)]
        for measure in MEASURES:
            column = np.array([part.get(measure, (0, 0)) for part in parts], float)
            if column[:, 1].any():
                columns.append(column)
                keys.append((name, measure, int(np.count_nonzero(column[:, 1]))))
    if not keys:
        return summary
    table = np.stack(columns, axis=1)  # (case, measure, numerator and denominator)
    values, low, high = table.sum(0), *interval(table, bootstrap, seed)
    for number, (name, measure, count) in enumerate(keys):
        value = float(values[number, 0] / values[number, 1])
        summary[name][measure] = {"value": value, "low": low[number], "high": high[number], "cases": count}
    return summary


def fractions(case, name, row):
    """`{measure: (numerator, denominator)}` of a case: every score of a set is sum / sum over the cases."""
    true, predicted, common = row["true"], row["predicted"], row["common"]
    parts = {
        "dice_global": (2 * common, true + predicted),
        "iou_global": (common, true + predicted - common),
        "recall": (common, true),
        "precision": (common, predicted),
        "dice_per_case_lits": (1 if row["dice"] is None else row["dice"], 1),
    }
    if row["dice"] is not None:
        parts["dice_per_case"], parts["iou_per_case"] = (row["dice"], 1), (row["iou"], 1)
    if case.volume is not None and true:
        parts["volume_error"] = ((predicted - true) / true, 1)
        parts["volume_error_abs"] = (abs(predicted - true) / true, 1)
    if case.volume is not None and case.voxel_ml is not None:
        parts["volume_error_ml"] = ((predicted - true) * case.voxel_ml, 1)
    for measure, value in ((case.surface or {}).get(name) or {}).items():
        parts[measure] = (value, 1)
    return parts


def interval(table, bootstrap, seed):
    """Lists `(low, high)` of the 95% percentile bootstrap of `sum(numerators) / sum(denominators)` over axis 0."""
    cases, measures, _ = table.shape
    if not bootstrap or cases < 2:
        return [None] * measures, [None] * measures
    random = np.random.default_rng(seed)
    flat, resampled = table.reshape(cases, -1), np.empty((bootstrap, measures))
    for index in range(bootstrap):
        # How often each case was drawn; the cases themselves are not copied.
        drawn = np.bincount(random.integers(cases, size=cases), minlength=cases)
        top, bottom = (drawn @ flat).reshape(measures, 2).T
        with np.errstate(invalid="ignore", divide="ignore"):
            resampled[index] = top / bottom  # NaN where no drawn case defines it
    low, high = np.nanpercentile(resampled, (2.5, 97.5), axis=0)
    return low.tolist(), high.tolist()


def case_columns(case, regions):
    """`{column: value}` of a case, as the CSV tables hold it; "" where a score is not defined."""
    whole = case.volume is not None and case.slice is None
    columns = {"volume": case.volume, "images": case.images} if whole else {"image": case.name}
    if case.slice is not None:
        columns |= {"volume": case.volume, "slice": case.slice}
    for name, region in regions.items():
        row = describe(case.confusion, region)
        columns |= {f"{key}_{name}": "" if value is None else value for key, value in row.items()}
        if whole:
            error = row["predicted"] - row["true"]
            columns[f"volume_error_{name}"] = error / row["true"] if row["true"] else ""
            if case.voxel_ml is not None:
                columns[f"true_ml_{name}"] = row["true"] * case.voxel_ml
                columns[f"volume_error_ml_{name}"] = error * case.voxel_ml
        if case.surface is not None:
            scores = case.surface.get(name) or {}
            columns |= {f"{measure}_{name}": scores.get(measure, "") for measure in SURFACE_MEASURES}
    return columns
