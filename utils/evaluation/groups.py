"""Scores of groups of cases, such as those of one scanner or site, and how far the groups lie apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_generators.files.pairing import list_problems
from utils.base.errors import UserError
from utils.base.files import resolve_path, where_looked
from utils.base.text_files import Row, read_csv
from utils.evaluation.case_scores import Regions, ScoredCase, resample, score_set, score_table
from utils.evaluation.split_data import SplitData

MOST_GROUPS = 20  # of a column; more are numbers or names, not groups

Grouping = dict[str, str]  # {case: group}


def read_groups(cfg: DictConfig, cases: Iterable[str]) -> dict[str, Grouping]:
    """The groups of the cases of a split, from the table of EVALUATION.GROUPS: `{column: {case: group}}`.

    Args:
        cfg: checked config.
        cases: names of volumes or image files; in the table also without the suffix.

    Raises:
        UserError: no such file or no table of `case` and further columns; a case is missing or there twice; a column
            with over 20 groups. A case with an empty cell is in no group of that column.
    """
    value = cfg.EVALUATION.GROUPS
    if value is None:
        return {}
    path = resolve_path(cfg, value)
    if not path.is_file():
        raise UserError(f"EVALUATION.GROUPS={value}: there is no such file; {where_looked(cfg, value)}.")
    head, *rows = read_csv(path) or [Row(str(path), [])]
    if "case" not in head.cells or len(set(head.cells)) < max(2, len(head.cells)):
        raise UserError(f"{path}: its first line must name the columns: case, and one for each grouping, such as site.")
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        line = dict(zip(head.cells, row.cells, strict=False))
        if len(row.cells) != len(head.cells) or line["case"] in lines:
            what = "the case is there twice" if line.get("case") in lines else f"needs {len(head.cells)} cells"
            raise UserError(f"{row.where}: {what}.")
        lines[line["case"]] = line
    found = {case: lines.get(case, lines.get(Path(case).stem)) for case in dict.fromkeys(cases)}
    if missing := [f"{case}: has no line in {path} (EVALUATION.GROUPS)." for case, line in found.items() if not line]:
        raise UserError(f"these cases have no group:\n{list_problems(missing)}")
    columns = [name for name in head.cells if name != "case"]
    groups = {name: {case: line[name] for case, line in found.items() if line and line[name]} for name in columns}
    for name, grouping in groups.items():
        if (count := len(set(grouping.values()))) > MOST_GROUPS:
            raise UserError(
                f"{path}: the column {name} has {count} groups, of which there may be {MOST_GROUPS}. Divide it into "
                "ranges, or leave it out."
            )
    return groups


def read_groups_of_split(cfg: DictConfig, data: SplitData) -> dict[str, Grouping]:
    """`read_groups` of the cases of a split: its volumes, or its images where there are none."""
    return read_groups(
        cfg, [place.volume for place in data.places] if data.places else [pair.image.name for pair in data.pairs]
    )


def score_groups(
    groups: Mapping[str, Grouping], cases: Sequence[ScoredCase], regions: Regions, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Scores of each group of each column, and the gap between the groups.

    Args:
        groups: of `read_groups`.
        cases, regions, bootstrap, seed: as of `score_set`.

    Returns:
        `{column: {"groups": {group: {"cases": int, "regions": of score_set}}, "gaps": {region: {score: gap}}}}`. A gap
        is `{"value", "low", "high", "highest", "lowest"}`: score of the highest group - that of the lowest, and its 95%
        percentile bootstrap, for which the cases of either group are drawn by themselves; None if one has a single
        case. Highest and lowest are chosen from the scores, which intervals between more than two groups do not cover.
    """
    return {column: score_column(grouping, cases, regions, bootstrap, seed) for column, grouping in groups.items()}


def lone_groups(found: Mapping[str, Any]) -> str | None:
    """A sentence about the groups of a column, of `score_groups`, that have one case; None if there are none.

    >>> lone_groups({"groups": {"A": {"cases": 3}, "B": {"cases": 1}}})
    'One case only: B. Its scores have no interval, nor have gaps to it.'
    """
    names = [group for group, entry in found["groups"].items() if entry["cases"] == 1]
    its, to = ("Its", "it") if len(names) == 1 else ("Their", "them")
    return (
        f"One case only: {', '.join(names)}. {its} scores have no interval, nor have gaps to {to}." if names else None
    )


def score_column(
    grouping: Grouping, cases: Sequence[ScoredCase], regions: Regions, bootstrap: int, seed: int
) -> dict[str, Any]:
    """See `score_groups`."""
    counts = Counter(grouping[case.name] for case in cases if case.name in grouping)
    scored: dict[str, dict[str, Any]] = {}
    resamples: dict[str, dict[tuple[str, str], np.ndarray]] = {}
    for number, group in enumerate(sorted(counts)):
        own = [case for case in cases if grouping.get(case.name) == group]
        scored[group] = {"cases": len(own), "regions": score_set(own, regions, bootstrap, seed)}
        keys, table = score_table(own, regions)
        drawn = resample(table, bootstrap, seed + number) if len(own) > 1 else np.empty((0, len(keys)))
        resamples[group] = dict(zip(keys, drawn.T, strict=True))
    gaps: dict[str, dict[str, Any]] = {region: {} for region in regions}
    for region, score in dict.fromkeys(key for found in resamples.values() for key in found):
        values = {
            group: entry["regions"][region][score]["value"]
            for group, entry in scored.items()
            if score in entry["regions"][region]
        }
        if len(values) > 1:
            lowest, *_, highest = sorted(values, key=values.__getitem__)  # two groups, also of equal scores
            ends = [resamples[group][region, score] for group in (highest, lowest)]
            low, high = (None, None)
            drawn = ends[0] - ends[1] if all(map(len, ends)) else np.empty(0)
            if not np.isnan(drawn).all():
                low, high = np.nanpercentile(drawn, (2.5, 97.5)).tolist()
            gaps[region][score] = {
                "value": values[highest] - values[lowest],
                "low": low,
                "high": high,
                "highest": highest,
                "lowest": lowest,
            }
    return {"groups": scored, "gaps": gaps}
