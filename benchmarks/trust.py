"""How far trained runs can be trusted: calibration, review list, comparison and choice, measured by one command.

    python benchmarks/trust.py hippocampus --runs unet unetpp -- +experiment=hippocampus_unet DATASET.FOLD=all

For each run, named by MODEL.WEIGHTS_FILE_NAME, it calls evaluate.py without a temperature, calibrate.py, and
evaluate.py with it, PREDICT.UNCERTAINTY=entropy and kept probabilities; then compare.py and choose.py with all runs.
What stands after `--` is typed to the first three; start it in WORK_DIR. Figures go to docs/results/trust/NAME.json,
and the page docs/results/trust.md is written anew from all of these files; without arguments that alone.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.base.closed_output import survive_closed_output

PROJECT = Path(__file__).resolve().parent.parent
SCORES = ("ece", "ece_foreground", "nll", "brier")
SPLITS = ("val", "test")


def run(script: str, *words: str) -> None:
    """Call a command of the application.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, str(PROJECT / script), *words]
    if subprocess.run(command).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


def measure(names: Sequence[str], splits: Sequence[str], settings: Sequence[str]) -> dict[str, Any]:
    """Call the commands and return the figures, see `docs/results/trust`."""
    found: dict[str, Any] = {"runs": {}}
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            evaluate = [*settings, f"MODEL.WEIGHTS_FILE_NAME={name}", f"EVALUATION.SPLITS=[{','.join(splits)}]"]
            before, after = Path(work, name, "before"), Path(work, name, "after")
            for folder in (before, after):
                folder.mkdir(parents=True)
            run("evaluate.py", *evaluate, f"EVALUATION.PATH={before}", "TEMPERATURE.APPLY=False")
            run("calibrate.py", *settings, f"MODEL.WEIGHTS_FILE_NAME={name}")
            more = ["PREDICT.UNCERTAINTY=entropy", "EVALUATION.KEEP_PROBABILITIES=True"]
            run("evaluate.py", *evaluate, f"EVALUATION.PATH={after}", *more)
            found["runs"][name] = figures_of(before, after)
        evaluations = [str(next(Path(work, name, "after").rglob("evaluation.json")).parent) for name in names]
        if len(names) > 1:
            run("compare.py", *evaluations, "--output", f"{work}/comparison")
            found["comparison"] = figures_of_pairs(Path(work))
        run("choose.py", *evaluations, "--output", f"{work}/choice", "--split", "val", "--quiet")
        choice = json.loads(Path(work, "choice/choice.json").read_text())
        found["choice"] = {key: choice[key] for key in ("steps", "total", "cases", "groups", "folds", "score")}
    return found


def figures_of(before: Path, after: Path) -> dict[str, Any]:
    """`{split: {"calibration": {score: [before, after]}, "dice", "review": {kind: figures}}}`, and the temperature."""
    old, new = (json.loads(next(path.rglob("evaluation.json")).read_text()) for path in (before, after))
    found: dict[str, Any] = {"temperature": new["temperature"]}
    for split, entry in new["splits"].items():
        pairs = [(old["splits"][split]["scores"], entry["scores"], name) for name in SCORES]
        found[split] = {
            "dice": entry["scores"]["dice"],
            "calibration": {name: [one[name], other[name]] for one, other, name in pairs if name in one},
            "review": {
                kind: {key: value for key, value in kept.items() if key != "risk_coverage"}
                for kind, kept in entry["review"]["kinds"].items()
            },
        }
    return found


def figures_of_pairs(work: Path) -> dict[str, Any]:
    """The differences in the score that ranks, in each of its regions, and what each run cost."""
    found = json.loads((work / "comparison/comparison.json").read_text())
    score = found["ranking"]["score"]
    keys = ("region", "one", "other", "difference", "low", "high", "p_holm", "wins", "ties", "losses")
    return {
        "score": score,
        "cases": found["ranking"]["cases"],
        "split": found["split"],
        "cost": {name: run["cost"] for name, run in found["runs"].items()},
        "pairs": [{key: pair[key] for key in keys} for pair in found["pairs"] if pair["score"] == score],
    }


@survive_closed_output()
def main(arguments: Sequence[str] | None = None, folder: Path = PROJECT / "docs/results") -> None:
    """The command; `folder` is where the page goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="of the data")
    parser.add_argument("--runs", nargs="+", help="MODEL.WEIGHTS_FILE_NAME of each")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    typed = sys.argv[1:] if arguments is None else list(arguments)
    own, settings = (typed[: typed.index("--")], typed[typed.index("--") + 1 :]) if "--" in typed else (typed, [])
    options = parser.parse_args(own)
    files = folder / "trust"
    if options.name:
        if not options.runs:
            parser.error("--runs is missing")
        found = measure(options.runs, options.splits, settings)
        splits = ["--splits", *options.splits] if options.splits != SPLITS else []
        words = [
            "python",
            "benchmarks/trust.py",
            options.name,
            "--runs",
            *options.runs,
            *splits,
            "--",
            *settings,
        ]
        found["command"] = shlex.join(words)
        files.mkdir(parents=True, exist_ok=True)
        (files / f"{options.name}.json").write_text(json.dumps(found, indent=1) + "\n")
    entries = {path.stem: json.loads(path.read_text()) for path in sorted(files.glob("*.json"))}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("trust.md.j2").render(found=entries, scores=SCORES, splits=SPLITS)
    (folder / "trust.md").write_text(page)


if __name__ == "__main__":
    main()
