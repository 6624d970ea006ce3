"""Choose what predicts best: python choose.py checkpoint/model_unet checkpoint/model_unet3plus

Tries each run, their ensemble, test-time augmentation, thresholds and postprocessing on the probabilities that
evaluate.py EVALUATION.KEEP_PROBABILITIES=True kept; no network runs. Every choice is scored on cases that it was not
made on. A run is named as in compare.py: weights that were evaluated, an evaluation folder, a folder that holds such
(the jobs of a sweep), or a pattern of these in quotes. All must be evaluated on the same cases.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.base.files import check_folder_writable
from utils.base.terminal import make_table, say, show
from utils.base.wording import counted
from utils.choice.counts import Candidate, Counts
from utils.choice.decision import decide, possible_steps, score_runs, sizes_to_try
from utils.choice.grouping import group_cases
from utils.choice.kept_runs import find_kept_runs
from utils.choice.report import HEADINGS, how_tested, step_rows, write_choice
from utils.choice.scores import SCORES
from utils.choice.search import FIRST, STEPS, Options
from utils.choice.settings import NAME, predict_command, settings_of
from utils.config.command import option_command


def choose(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Choose, print what each step gains, and write settings and report.

    Args:
        arguments: as typed, None for those of this process.

    Returns:
        What `choice.json` holds: `steps`, `total`, `runs`, `predict` (what to type) and how it was tested.

    Raises:
        UserError: runs without kept probabilities or of other cases; a single case.
    """
    options = parse(arguments)
    folder = Path(options.output).absolute()
    check_folder_writable(folder, "--output")

    runs = find_kept_runs(options.runs, options.split)
    begin = time.perf_counter()
    counts = Counts(runs, quiet=options.quiet)
    grouping, groups = group_cases(counts.cases, runs[0].run.unit, options.group)
    tta = tuple(kind for kind in runs[0].kept.tta if kind != "none" and all(kind in run.kept.tta for run in runs))
    of_runs = score_runs(counts, options.score, tta)
    steps, sizes = possible_steps(counts, tta, options.without), sizes_to_try(counts)
    wanted = Options(options.score, steps, options.members, options.least_gain, tta, sizes)
    found = decide(counts, groups, wanted, options.folds, options.bootstrap, options.seed)
    seconds = time.perf_counter() - begin

    chosen: Candidate = found.pop("chosen")
    settings = settings_of(chosen, runs)
    described = {
        **found,
        "score": options.score,
        "split": runs[0].run.split,
        "unit": runs[0].run.unit,
        "cases": len(counts.cases),
        "groups": len(set(groups)),
        "grouping": grouping,
        "runs": of_runs,
        "choices": len(counts.found),
        "seconds": round(seconds, 2),
        "settings": settings,
        "predict": predict_command(settings),
        "command": shlex.join(["python", "choose.py", *options.typed]),
    }
    try:
        write_choice(folder, described, settings, described["command"])
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror}. Set --output.") from None
    print_choice(described, counts.scored / seconds)
    experiment = shlex.join(["python", "predict.py", "--config-dir", str(folder), f"+experiment={NAME}"])
    say(f"\nsaved {folder}\nPredict: {described['predict']}\nor:      {experiment} PREDICT.INPUT=FOLDER")
    return described


def print_choice(found: dict[str, Any], speed: float) -> None:
    """Print what each step gains."""
    say(f"\n{how_tested(found)}\n")
    show(make_table(list(HEADINGS), step_rows(found)))
    say(f"the choice on the cases it was made on: {found['same_cases']:.4f}")
    total = found["total"]
    if total["gain"] > 0 and total["low"] is not None and total["low"] <= 0:
        say("the interval holds 0: on other cases the choice may be no better than the best run")
    tried = f"{counted(found['choices'], 'choice')} in {found['seconds']:.1f} s"
    say(f"{tried}: {speed:,.0f} cases/s, each scored with one choice")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command; `typed` are the words themselves."""
    parser = argparse.ArgumentParser(
        prog="python choose.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    optional = [step for step in STEPS if step != FIRST]
    parser.add_argument("runs", nargs="+", metavar="RUN", help="what was evaluated with its probabilities kept")
    parser.add_argument("--output", default="choice", help="folder of settings and report (default choice)")
    parser.add_argument("--score", choices=SCORES, default="dice_per_case", help="default dice_per_case")
    parser.add_argument("--split", choices=("train", "val", "test"), help="default: the first that was evaluated")
    parser.add_argument("--folds", type=int, default=5, help="parts of the cases for the test (default 5)")
    parser.add_argument(
        "--group", help="cases that stay together: none, volume, or a regular expression of their names"
    )
    parser.add_argument("--members", type=int, default=5, help="runs of an ensemble at most (default 5)")
    parser.add_argument("--least-gain", type=float, default=0.001, help="below which nothing changes (default 0.001)")
    parser.add_argument("--without", nargs="+", choices=optional, default=[], help="steps that are not tried")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples of the cases (default 1000; 0 for none)")
    parser.add_argument("--seed", type=int, default=5, help="of folds and resamples (default 5)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    options.typed = sys.argv[1:] if arguments is None else list(arguments)
    if options.bootstrap < 0 or options.seed < 0 or options.least_gain < 0:
        parser.error("--bootstrap, --seed and --least-gain must be 0 or more")
    if options.folds < 2 or options.members < 1:
        parser.error("--folds must be 2 or more, --members 1 or more")
    return options


main = option_command(choose)


if __name__ == "__main__":
    main()
