"""Change one choice of an experiment at a time, same steps, several seeds: which choice earns its place?

    python benchmarks/ablation.py work --seeds 5 6 7 -- +experiment=pets_mobilenetv2 HYPER_PARAMETERS.EPOCHS=8 ...

What stands after `--` is typed to train.py in every run. A run is kept in work/VARIANT/SEED and not repeated, so the
command goes on where it was broken off. The table shows the best monitored validation score of each run, mean over the
seeds, and its difference from the experiment as it is, seed by seed: mean, lowest and highest.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file runs as a script from any folder

from omegaconf import OmegaConf

from utils.base.closed_output import survive_closed_output
from utils.base.errors import UserError
from utils.base.terminal import make_table, say, show
from utils.config import load_config
from utils.config.command import fail

PROJECT = Path(__file__).resolve().parent.parent
BASE = "as it is"


def variants(settings: Sequence[str]) -> dict[str, list[str]]:
    """Name -> what is typed in addition; without those that the experiment has already."""
    rate = float(load_config(settings).HYPER_PARAMETERS.LEARNING_RATE)
    momentum = "MODEL.DECODER.NORM_MOMENTUM={0} MODEL.BACKBONE.NORM_MOMENTUM={0}"
    named = {
        "rate / 3": [f"HYPER_PARAMETERS.LEARNING_RATE={rate / 3:.3g}"],
        "rate x 3": [f"HYPER_PARAMETERS.LEARNING_RATE={rate * 3:.3g}"],
        "constant rate": ["LR_SCHEDULE.NAME=constant"],
        "cosine": ["LR_SCHEDULE.NAME=cosine"],
        "augmentation none": ["augmentation=none"],
        "augmentation light": ["augmentation=light"],
        "augmentation medical": ["augmentation=medical"],
        "loss cce": ["loss=cce"],
        "loss cce_dice": ["loss=cce_dice"],
        "momentum 0.9": momentum.format(0.9).split(),
        "momentum 0.99": momentum.format(0.99).split(),
    }
    base = values(settings)
    return {BASE: []} | {name: typed for name, typed in named.items() if values([*settings, *typed]) != base}


def values(settings: Sequence[str]) -> dict[str, Any]:
    """All settings but for how they were typed."""
    found = OmegaConf.to_container(load_config(settings))
    return {str(key): value for key, value in found.items() if key != "OVERRIDES"}


def best_score(folder: Path) -> float | None:
    """The best monitored score of a finished run, None if there is none."""
    found = list(folder.glob("checkpoint/**/*.run.json"))  # a fold has a folder of its own
    return float(json.loads(found[0].read_text())["best"]["value"]) if found else None


def train(folder: Path, settings: Sequence[str]) -> float:
    """Train unless it was done; return the best score.

    Raises:
        SystemExit: train.py failed.
    """
    score = best_score(folder)
    if score is not None:
        return score
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
    folder.mkdir(parents=True)
    command = [sys.executable, str(PROJECT / "train.py"), *settings, f"WORK_DIR={folder}", "VERBOSE=2"]
    with open(folder / "log.txt", "w") as log:
        if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode:
            raise SystemExit(f"train.py failed: {folder / 'log.txt'}")
    score = best_score(folder)
    assert score is not None, folder
    return score


def rows_of(scores: Mapping[str, Mapping[int, float]]) -> list[list[str]]:
    """A row for each variant: mean, and the difference from BASE over the seeds."""
    rows = []
    for name, found in scores.items():
        differences = [score - scores[BASE][seed] for seed, score in found.items()]
        rows.append([name, f"{statistics.mean(found.values()):.4f}"])
        spread = f"{statistics.mean(differences):+.4f}  [{min(differences):+.4f}, {max(differences):+.4f}]"
        rows[-1].append("" if name == BASE else spread)
    return rows


@survive_closed_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7])
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="beside the experiment itself")
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE", help="after --: what is typed to train.py")
    options = parser.parse_args()
    try:
        known = variants(options.settings)
    except UserError as error:
        fail(str(error))
    if unknown := [name for name in options.only or () if name not in known]:
        fail(f"unknown variants {unknown}; there are: {', '.join(known)}")
    chosen = [name for name in known if name == BASE or name in (options.only or known)]
    scores: dict[str, dict[int, float]] = {name: {} for name in chosen}
    for seed in options.seeds:
        for name in chosen:
            folder = options.work.resolve() / name.replace(" / ", "_by_").replace(" ", "_") / str(seed)
            scores[name][seed] = train(folder, [*options.settings, *known[name], f"SEED={seed}"])
            say(f"seed {seed}, {name}: {scores[name][seed]:.4f}")
    show(make_table(["variant", "score", "difference  [lowest, highest]"], rows_of(scores)))


if __name__ == "__main__":
    main()
