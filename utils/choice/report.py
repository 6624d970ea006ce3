"""What a choice leaves: `experiment/best.yaml`, `choice.json` and `choice.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.base.files import atomic_write, write_json
from utils.base.text_files import SHOWN
from utils.base.wording import counted
from utils.choice.settings import NAME, experiment_text

HEADINGS = ("step", "chosen on all cases", "held-out score", "gain", "95% interval", "used")


def write_choice(folder: Path, found: dict[str, Any], settings: dict[str, Any], command: str) -> None:
    """Write the three files.

    Args:
        folder: made if it is not there.
        found: what `choice.json` holds.
        settings: of `utils.choice.settings.settings_of`.
        command: what was typed.
    """
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "experiment" / f"{NAME}.yaml") as temporary:
        temporary.write_text(experiment_text(settings, command), encoding="utf-8", errors=SHOWN)
    write_json(folder / "choice.json", found)
    with atomic_write(folder / "choice.md") as temporary:
        temporary.write_text(to_markdown(found), encoding="utf-8", errors=SHOWN)


def step_rows(found: dict[str, Any]) -> list[list[str]]:
    """A row for each step, under HEADINGS."""
    rows = []
    for entry in found["steps"]:
        gain = "" if entry is found["steps"][0] else f"{entry['gain']:+.4f}"
        used = "yes" if entry["used"] else "no"
        rows.append(
            [entry["name"], entry["what"], f"{entry['score']:.4f}", gain, interval(entry) if gain else "", used]
        )
    total = found["total"]
    return [*rows, ["all used", "", f"{total['score']:.4f}", f"{total['gain']:+.4f}", interval(total), ""]]


def interval(entry: dict[str, Any]) -> str:
    return "" if entry["low"] is None else f"{entry['low']:+.4f} to {entry['high']:+.4f}"


def how_tested(found: dict[str, Any]) -> str:
    """A sentence on the cross-validation."""
    cases, groups = counted(found["cases"], found["unit"]), counted(found["groups"], "group")
    return (
        f"{found['score']}, mean over the classes, of {cases} in {groups} ({found['grouping']}). Each is scored with "
        f"what was chosen on the other {found['folds'] - 1} of {found['folds']} parts; groups stay in one part."
    )


def to_markdown(found: dict[str, Any]) -> str:
    """The report as a page."""
    runs = [[entry["run"], entry["tta"], f"{entry['score']:.4f}"] for entry in found["runs"]]
    lines = [
        "# Chosen for prediction",
        "",
        how_tested(found),
        "",
        *table(HEADINGS, step_rows(found)),
        "",
        f"On the cases that it was made on, the choice has {found['same_cases']:.4f}: what is above the held-out score "
        "comes from choosing.",
        "",
        f"    {found['predict']}",
        "",
        "## Runs as they are",
        "",
        *table(("run", "test-time augmentation", found["score"]), runs),
        "",
        f"Written by `{found['command']}`.",
    ]
    return "\n".join(lines) + "\n"


def table(headings: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table.

    >>> table(("a", "b"), [["x|y", "1"]])
    ['| a | b |', '| --- | --- |', '| x\\\\|y | 1 |']
    """
    cells = [list(headings), ["---"] * len(headings), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]
