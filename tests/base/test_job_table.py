"""The table after a sweep."""

import json

from utils.base.job_table import fold_table, job_table, mean_and_deviation
from utils.base.terminal import render
from utils.checkpoints.paths import companion_path, weights_path
from utils.config import load_config
from utils.config.sweeps import Job
from utils.training.console import print_sweep


def names(table):
    return [line.split()[0] for line in render(table).splitlines()[2:]]


def test_the_best_job_is_first_and_an_undefined_score_last():
    rows = [("a", [0.2]), ("b", [None]), ("c", [0.9]), ("d", [float("nan")])]
    assert names(job_table(["dice"], rows)) == ["c", "a", "b", "d"]
    assert names(job_table(["loss"], rows, higher_is_better=False)) == ["a", "c", "b", "d"]


def test_folds_stay_in_order_above_their_mean_and_deviation():
    table = fold_table(["dice", "iou"], [("fold 0", [0.7, 0.6]), ("fold 1", [0.5, None])])
    assert names(table) == ["fold", "fold", "mean"]
    assert render(table).splitlines()[-1].split(None, 3)[3].split() == ["0.6000", "±", "0.1414", "0.6000"]
    assert mean_and_deviation([None]) == "-"


def test_what_constant_answers_score_stands_below():
    rows, differing = [("a", [0.7]), ("b", [0.5])], [("", [0.2]), ("", [0.4])]
    assert render(job_table(["dice"], rows, constants=[("", [0.25])] * 2)).splitlines()[-1] == "constant answer  0.2500"
    assert render(fold_table(["dice"], rows, differing)).splitlines()[-1] == "constant answer  0.3000 ± 0.1414"
    assert names(job_table(["loss"], rows, constants=[("", [None])] * 2)) == ["a", "b"]


def test_the_folds_of_a_training_end_with_the_evaluation_of_all(tmp_path, capsys):
    jobs = []
    for fold, dice in enumerate((0.7, 0.5)):
        cfg = load_config([f"CALLBACKS.MODEL_CHECKPOINT.PATH={tmp_path}/{fold}", "MODEL.TYPE=unet"])
        path = companion_path(weights_path(cfg), ".run.json")
        path.parent.mkdir()
        path.write_text(json.dumps({"best": {"value": dice, "constant_answer": 0.3}}))
        typed = ["+experiment=isbi_unet", "DATASET.FOLDS=my folds", "DATASET.FOLD=0,1", "HYPER_PARAMETERS.EPOCHS=1"]
        jobs.append(Job(cfg, [f"DATASET.FOLD={fold}"], typed, {}))
    print_sweep(jobs)
    *table, command = capsys.readouterr().out.splitlines()
    assert table[-1].split() == ["constant", "answer", "0.3000"]
    assert table[-2].split()[-3:] == ["0.6000", "±", "0.1414"] and table[-3].split() == ["DATASET.FOLD=1", "0.5000"]
    assert command == "Next: python evaluate.py +experiment=isbi_unet 'DATASET.FOLDS=my folds' DATASET.FOLD=all"
