"""Compare evaluated runs: python compare.py checkpoint/model_unet checkpoint/model_unet3plus

A run is an evaluation folder, weights that were evaluated, a folder of predictions that was scored, a folder that holds
such (the jobs of a sweep), or a pattern of these in quotes. All must be measured on the same cases.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.base.files import check_folder_writable
from utils.base.terminal import make_table, say, show
from utils.base.wording import counted
from utils.comparison.report import compare_runs, write_comparison
from utils.comparison.runs import find_runs
from utils.comparison.statistics import format_p, shared_scores
from utils.config.command import option_command


def compare(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare runs, print the differences in the score that ranks them, and write page and tables.

    Args:
        arguments: as typed, None for those of this process.

    Returns:
        What `comparison.json` holds: `scores`, `pairs` (difference with interval, p, wins), `ranking`, `volumes`.

    Raises:
        UserError: fewer than two runs, or runs that were not measured on the same cases.
    """
    options = parse(arguments)
    folder = Path(options.output).absolute()
    check_folder_writable(folder, "--output")

    runs = find_runs(options.runs, options.split)
    if options.score not in shared_scores(runs):
        raise UserError(f"--score {options.score}: the runs have {', '.join(shared_scores(runs))} of each case.")
    found = compare_runs(runs, options.score, options.bootstrap, options.seed)
    typed = ["python", "compare.py", *(map(str, options.typed))]
    try:
        write_comparison(folder, runs, found, shlex.join(typed))
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror}. Set --output.") from None
    print_comparison(found)
    say(f"\nsaved {folder}\nopen {folder / 'comparison.html'}")
    return found


def print_comparison(found: dict[str, Any]) -> None:
    """Print the scores and the differences of the score that ranks, in its first region."""
    ranking, (score, region) = found["ranking"], (found["ranking"]["score"], found["ranking"]["region"])
    say(f"{found['split']}: {counted(found['cases'], found['case'])}, {score} ({region})\n")
    values = next(entry for entry in found["scores"] if (entry["score"], entry["region"]) == (score, region))["runs"]
    first = {name: (entry["shares"] or [None])[0] for name, entry in ranking["runs"].items()}
    rows = [
        [name, number(entry["value"]), interval(entry), ranking["runs"][name]["rank"] or "-", number(first[name], 3)]
        for name, entry in values.items()
    ]
    show(make_table(["run", score, "95% interval", "rank", "share first"], rows))
    say("")
    pairs = [entry for entry in found["pairs"] if (entry["score"], entry["region"]) == (score, region)]
    rows = [
        [
            f"{entry['one']} - {entry['other']}",
            number(entry["difference"]),
            interval(entry),
            "-" if entry["p_holm"] is None else format_p(entry["p_holm"]),
            f"{entry['wins']}/{entry['ties']}/{entry['losses']}",
        ]
        for entry in pairs
    ]
    show(make_table(["difference", score, "95% interval", "p (Holm)", "win/tie/loss"], rows))
    if found["cases"] < 2:
        say("one case has no interval and no test")


def number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def interval(entry: dict[str, Any]) -> str:
    return "" if entry["low"] is None else f"{entry['low']:.4f} to {entry['high']:.4f}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command; `typed` are the words themselves."""
    parser = argparse.ArgumentParser(
        prog="python compare.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="what was evaluated")
    parser.add_argument("--output", default="comparison", help="folder of page and tables (default comparison)")
    parser.add_argument("--score", default="dice", help="score of the cases that ranks the runs (default dice)")
    parser.add_argument("--split", choices=("train", "val", "test"), help="default: the first that was evaluated")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples of the cases (default 1000; 0 for none)")
    parser.add_argument("--seed", type=int, default=5, help="of the resampling (default 5)")
    options = parser.parse_args(arguments)
    options.typed = sys.argv[1:] if arguments is None else list(arguments)
    if options.bootstrap < 0 or options.seed < 0:
        parser.error("--bootstrap and --seed must be 0 or more")
    return options


main = option_command(compare)


if __name__ == "__main__":
    main()
