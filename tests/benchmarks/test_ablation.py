"""The ablation: each variant differs from the experiment, a finished run is kept, differences are those of a seed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import import_benchmark

SETTINGS = ["MODEL.TYPE=unet", "LR_SCHEDULE.NAME=cosine", "HYPER_PARAMETERS.LEARNING_RATE=3e-3"]


@pytest.fixture(scope="module")
def ablation():
    return import_benchmark("ablation")


def test_variants_differ_from_the_experiment(ablation):
    found = ablation.variants(SETTINGS)
    assert found[ablation.BASE] == [] and "cosine" not in found and "momentum 0.9" not in found
    assert found["rate / 3"] == ["HYPER_PARAMETERS.LEARNING_RATE=0.001"]
    assert {"constant rate", "momentum 0.99", "augmentation light"} <= set(found)


def test_a_broken_off_ablation_goes_on_and_shows_differences_seed_by_seed(ablation, tmp_path, monkeypatch, capsys):
    typed = []

    def pretend(command, stdout, stderr):
        settings = dict(word.split("=", 1) for word in command[2:])
        typed.append(settings)
        score = int(settings["SEED"]) / 10 + (0.02 if settings["LR_SCHEDULE.NAME"] == "constant" else 0)
        fold = "fold0" if settings["SEED"] == "6" else ""  # DATASET.FOLD=0 keeps its run there
        result = Path(settings["WORK_DIR"], "checkpoint", fold, "model_unet.run.json")
        result.parent.mkdir(parents=True)
        result.write_text(json.dumps({"best": {"value": score}}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pretend)
    arguments = ["ablation", str(tmp_path), "--seeds", "5", "6", "--only", "constant rate", "--", *SETTINGS]
    monkeypatch.setattr(sys, "argv", arguments)
    ablation.main()
    assert len(typed) == 4
    (tmp_path / "as_it_is/6/checkpoint/fold0/model_unet.run.json").unlink()  # broken off
    (tmp_path / "constant_rate/5/checkpoint/model_unet.run.json").write_text('{"best": {"value": 0.54}}')
    ablation.main()
    assert len(typed) == 5 and typed[-1]["SEED"] == "6"
    assert "+0.0300  [+0.0200, +0.0400]" in capsys.readouterr().out.splitlines()[-1]


def test_an_unknown_variant_is_refused(ablation, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ablation", "work", "--only", "luck", "--", *SETTINGS])
    with pytest.raises(SystemExit) as caught:
        ablation.main()
    assert caught.value.code == 2 and "unknown variants ['luck']" in capsys.readouterr().err
