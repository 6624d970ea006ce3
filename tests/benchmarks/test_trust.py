"""The page on trust: what it shows comes from the files that the commands wrote."""

import json
import subprocess
from pathlib import Path

import pytest
from helpers import import_benchmark

REVIEW = {
    "cases": 26,
    "spearman": 0.5,
    "spearman_interval": [0.25, 0.75],
    "aurc": 0.2,
    "aurc_ideal": 0.1,
    "aurc_random": 0.3,
    "failures": 4,
    "below": 0.7,
    "first_cases": 3,
    "first_failures": 2,
    "risk_coverage": [{"coverage": 1.0, "risk": 0.3}],
}
PAIR = {"difference": 0.02, "low": 0.01, "high": 0.03, "p_holm": 0.004, "wins": 20, "ties": 0, "losses": 6}
GAIN = {"score": 0.84, "gain": 0.03, "low": 0.01, "high": 0.05}


@pytest.fixture(scope="module")
def trust():
    return import_benchmark("trust")


def pretend(command, **_):
    """Write what a command of the application writes, as far as it is read."""
    script, words = Path(command[1]).name, dict(word.split("=", 1) for word in command if "=" in word)
    if script == "evaluate.py":
        ece = 0.08 if words.get("TEMPERATURE.APPLY") == "False" else 0.02
        scores = {"dice": 0.85, "ece": ece, "nll": 0.3, "brier": 0.1}
        entry = {"scores": scores, "review": {"kinds": {"volume": REVIEW}}}
        file = Path(words["EVALUATION.PATH"], "net.evaluation/evaluation.json")
        found = {"temperature": 1.4, "splits": dict.fromkeys(("val", "test"), entry)}
    elif script == "compare.py":
        assert "--score" not in command  # its default ranks
        ranking = {"score": "dice", "region": "class1", "cases": 26}
        pair = {"score": "dice", "region": "class1", "one": "unet", "other": "unet3plus", **PAIR}
        other = {**pair, "score": "iou", "difference": 9}
        file = Path(command[command.index("--output") + 1], "comparison.json")
        cost = {"parameters": 1234, "seconds": 61.2}
        found = {"ranking": ranking, "split": "val", "pairs": [pair, other], "runs": {"unet": {"cost": cost}}}
    elif script == "choose.py":
        steps = [{"name": "network", "what": "unet", "score": 0.81, "gain": 0.0, "low": None, "high": None}]
        file = Path(command[command.index("--output") + 1], "choice.json")
        found = {"steps": steps, "total": GAIN, "cases": 26, "groups": 26, "folds": 5, "score": "dice_per_case"}
    else:
        return subprocess.CompletedProcess(command, 0)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(found))
    return subprocess.CompletedProcess(command, 0)


def test_the_page_has_the_figures_of_the_commands(trust, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", pretend)
    trust.main(["mri", "--runs", "unet", "unet3plus", "--", "+experiment=mri", "A=[1,2]"], tmp_path)
    page = (tmp_path / "trust.md").read_text()
    assert "python benchmarks/trust.py mri --runs unet unet3plus -- +experiment=mri 'A=[1,2]'\n" in page
    assert "| unet | val | 0.850 | 0.0800 → 0.0200 | - | 0.3000 → 0.3000 | 0.1000 → 0.1000 |\n| unet | test |" in page
    assert "| 26 volumes | 0.500 [0.250, 0.750] | 0.2000 (0.1000, 0.3000) | 4 below 0.7 | 2 in 3 | - |" in page
    assert (
        "| class1 | unet less unet3plus | +0.0200 [0.010, 0.030] | 0.004 | 20 / 0 / 6 |" in page
        and "9" not in page.split("Differences")[1]
    )
    assert "\n* unet: 1,234 parameters, trained for 61 s\n\nDifferences in" in page
    assert "| network | unet | 0.8100 | +0.0000 |\n| all | | 0.8400 | +0.0300 [0.010, 0.050] |" in page
    (tmp_path / "trust.md").unlink()
    trust.main([], tmp_path)
    assert (tmp_path / "trust.md").read_text() == page


def test_a_command_that_fails_ends_it(trust, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda command: subprocess.CompletedProcess(command, 2))
    with pytest.raises(SystemExit, match="failed: "):
        trust.main(["mri", "--runs", "unet", "--"], tmp_path)
    assert list(tmp_path.iterdir()) == []
