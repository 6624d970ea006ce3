"""The runs to compare: evaluation folders, found from whatever names a run, with their cases and scores."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_generators.files.pairing import composed
from utils.base.errors import UserError
from utils.base.text_files import read_csv, read_json
from utils.checkpoints.paths import ENDING, PREVIOUS
from utils.evaluation.score_table import COMPARED, in_order, is_compared

EVALUATION = ".evaluation"
MEAN = "mean"  # the region that is the mean over the classes


@dataclass
class Run:
    """An evaluated run, or masks that were scored.

    Attributes:
        name: short, unique among those compared.
        folder: of its evaluation.
        metadata: of `evaluation.json`, without the splits.
        split: that is compared; entry: what `evaluation.json` says about it.
        unit: "volume" or "image".
        cases: {name of the case: {column: number, NaN where undefined}}, of `per_volume.csv` or `per_image.csv`.
    """

    name: str
    folder: Path
    metadata: dict[str, Any]
    split: str
    entry: dict[str, Any]
    unit: str
    cases: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def regions(self) -> list[str]:
        """class1, class2, ... and foreground."""
        return list(self.entry["regions"])

    @property
    def classes(self) -> list[str]:
        """The regions that are single classes."""
        return [region for region in self.regions if region != "foreground"]

    def column(self, score: str, region: str) -> np.ndarray:
        """A score of each case, float64 `(cases,)`, NaN where it is not defined; of MEAN the mean over the classes."""
        if region == MEAN:
            table = np.stack([self.column(score, name) for name in self.classes])
            defined = ~np.isnan(table)
            sums, counts = np.where(defined, table, 0).sum(0), defined.sum(0)
            return np.where(counts, sums / np.maximum(counts, 1), np.nan)
        name = "volume_error" if score == "volume_error_abs" else score
        values = np.array([case.get(f"{name}_{region}", np.nan) for case in self.cases.values()])
        return np.abs(values) if score == "volume_error_abs" else values

    def scores(self) -> list[str]:
        """The scores that its cases have, by which runs are compared."""
        return [
            score
            for score in in_order([*COMPARED, *(name for found in self.entry["regions"].values() for name in found)])
            if is_compared(score) and any(not np.isnan(self.column(score, region)).all() for region in self.classes)
        ]


def find_runs(names: Sequence[str], split: str | None = None, fewest: int = 2) -> list[Run]:
    """The runs that are named: evaluation folders, weights, folders of predictions, folders and patterns of these.

    Args:
        names: as typed.
        split: to compare; None: the first that the first run has.
        fewest: how many there must be.

    Raises:
        UserError: nothing was evaluated there, or too few runs are left.
    """
    folders = list(dict.fromkeys(folder.resolve() for name in names for folder in resolve(name)))
    if len(folders) < fewest:
        found = f"only {folders[0]}" if folders else "none"
        raise UserError(f"{' '.join(names)}: a comparison needs two evaluated runs, found {found}.")
    runs = []
    for name, folder in zip(name_folders(folders), folders, strict=True):
        runs.append(read_run(name, folder, split))
        split = runs[0].split
    check_same_cases(runs)
    return runs


def resolve(name: str) -> list[Path]:
    """The evaluation folders that a name stands for.

    Raises:
        UserError: there are none; says how to make one.
    """
    if any(character in name for character in "*?["):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        found = [folder for match in matches for folder in evaluations_of(match)]
        if not found:
            raise UserError(f"{name}: matches no evaluation folder (*{EVALUATION}) and no evaluated run.")
        return found
    path = Path(name)
    if found := evaluations_of(path):
        return found
    stem = Path(name.removesuffix(ENDING))
    if Path(f"{stem}{ENDING}").exists():
        advice = f"Evaluate it first: python evaluate.py MODEL.WEIGHTS_FILE_NAME={stem.name}"
    elif path.is_dir():
        advice = f"Score its masks first: python evaluate.py EVALUATION.PREDICTIONS={name} DATASET.VAL.MASK_PATH=..."
    else:
        advice = "Name an evaluation folder, weights that were evaluated, or a folder of predictions that was scored"
    raise UserError(f"{name}: there is no evaluation. {advice}.")


def evaluations_of(path: Path) -> list[Path]:
    """The folder itself, that beside weights or predictions, or all below a folder; those of earlier runs left out."""
    stem = str(path).removesuffix(ENDING).rstrip("/")
    for folder in (path, Path(f"{stem}{EVALUATION}"), path.with_name(f"{path.stem}{EVALUATION}")):
        if (folder / "evaluation.json").is_file():
            return [folder]
    found = sorted(path.glob(f"**/*{EVALUATION}/evaluation.json")) if path.is_dir() else []
    return [file.parent for file in found if not file.parent.name.endswith(f"{PREVIOUS}{EVALUATION}")]


def name_folders(folders: Sequence[Path]) -> list[str]:
    """Short names: what the folders are called, with as many folders above as tell them apart.

    >>> name_folders([Path("a/m.evaluation"), Path("b/m.evaluation"), Path("b/n.evaluation")])
    ['a/m', 'b/m', 'b/n']
    """
    length = 1
    while True:
        names = ["/".join(folder.parts[-length:]).removesuffix(EVALUATION) for folder in folders]
        if len(set(names)) == len(names):
            break
        length += 1
    own = [folder.name.removesuffix(EVALUATION) for folder in folders]
    if len(set(own)) == 1 and length == 2:  # a sweep: the folder of the job says it all
        return [name.rpartition("/")[0] for name in names]
    return names


def read_run(name: str, folder: Path, split: str | None) -> Run:
    """An evaluation.

    Raises:
        UserError: its files are damaged or of an earlier version, or it has no such split or no cases.
    """
    saved = read_json(folder / "evaluation.json")
    try:
        splits = saved.pop("splits")
        chosen = split or next(iter(splits))
        if chosen not in splits:
            raise UserError(f"{folder}: the split {chosen} was not evaluated, but {', '.join(splits)}.")
        run = Run(name, folder, saved, chosen, splits[chosen], splits[chosen]["case"])
        if not run.classes:
            raise KeyError("regions")
    except (KeyError, AttributeError, TypeError, StopIteration):
        raise UserError(f"{folder / 'evaluation.json'}: has no scores of cases. Evaluate masks again.") from None
    table = read_csv(folder / f"per_{run.unit}.csv")
    headings = table[0].cells if table else []
    for row in table[1:]:
        cells = dict(zip(headings, row.cells, strict=False))
        if cells.get("split") == chosen:
            run.cases[key_of(cells, run.unit)] = {name: to_number(cell) for name, cell in cells.items()}
    if not run.cases:
        raise UserError(f"{folder / f'per_{run.unit}.csv'}: has no rows of the split {chosen}. Evaluate again.")
    run.cases = dict(sorted(run.cases.items()))
    return run


def key_of(cells: dict[str, str], unit: str) -> str:
    """The name of a case: images and their masks may have been named."""
    if unit == "volume":
        return composed(cells["volume"])
    return re.sub(r"_mask$", "", composed(Path(cells["image"]).stem)).replace("mask", "image")


def to_number(cell: str) -> float:
    """The number in a cell; NaN for a text or an empty cell."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def check_same_cases(runs: Sequence[Run]) -> None:
    """Refuse runs that were not measured on the same cases with the same truth.

    Raises:
        UserError: names a case.
    """
    first = runs[0]
    for other in runs[1:]:
        both = f"{first.name} and {other.name} were not measured on the same cases"
        if first.unit != other.unit:
            raise UserError(
                f"{both}: one has scores of {first.unit}s, the other of {other.unit}s (EVALUATION.VOLUMES)."
            )
        if first.regions != other.regions:
            raise UserError(f"{both}: one has {', '.join(first.regions)}, the other {', '.join(other.regions)}.")
        for one, two in ((first, other), (other, first)):
            missing = [case for case in one.cases if case not in two.cases]
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise UserError(f"{both}: {missing[0]}{more} {'are' if more else 'is'} in {one.name} alone.")
        for case, columns in first.cases.items():
            for region in first.regions:
                true, of_other = (found.get(f"true_{region}") for found in (columns, other.cases[case]))
                if true != of_other:
                    raise UserError(
                        f"{both}: {case} has {true:g} true pixels of {region} in one, {of_other:g} in the other. "
                        "Masks of another size or another truth do not compare."
                    )
