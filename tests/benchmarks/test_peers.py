"""benchmarks/peers.py and its folder, without the peers: cases, ratios, scores, turns."""

import json
import sys
import time

import numpy as np
import pytest
from helpers import PROJECT


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks" / "peers"))
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))


def test_each_group_begins_with_a_peer_and_has_ours():
    import peers

    groups = {}
    for case in peers.cases():
        groups.setdefault(case.group, []).append(case.implementation)
    assert next(iter(groups)) == "unet_mobilenetv2 training float32 b4"
    for implementations in groups.values():
        assert not implementations[0].startswith("ours") and "ours" in implementations
    assert {"unet3plus inference float32 b1", "unet_mobilenetv2 epoch float32 b8"} <= set(groups)


def test_our_settings_make_the_network_of_the_peer():
    import keras_side
    from case import Case

    from utils.config import load_config

    same, own = (
        load_config(keras_side.settings(Case("unet_mobilenetv2", "training", "bfloat16", 4, implementation)))
        for implementation in ("ours", "ours, own form")
    )
    assert same.MODEL.BACKBONE.SKIP_LAYERS[-1] == "out_relu" and own.MODEL.BACKBONE.SKIP_LAYERS is None
    assert same.OPTIMIZATION.AMP == "bfloat16" and same.MODEL.DECODER.UPSAMPLE == "nearest"


def test_ratios_are_of_rounds_and_a_failure_is_a_row_that_says_why():
    import peers

    facts = {"group": "unet_16", "images": 8, "parameters": 1_000_000, "cpu_seconds": [2.0], "built_gib": 0.5}
    peer = facts | {"implementation": "PyTorch", "seconds": [1.0, 2.0, 4.0], "peak_gib": 2.0, "first_seconds": 4.0}
    ours = facts | {"implementation": "ours", "seconds": [0.5, 1.0, 3.0], "peak_gib": 1.0, "first_seconds": 8.0}
    failed = facts | {"implementation": "MONAI BasicUNet", "reason": "no module a|b"}
    rows = peers.with_ratios([peer, ours, failed])
    assert (rows[1]["low"], rows[1]["ratio"], rows[1]["high"]) == (0.5, 0.5, 0.625)
    assert (rows[1]["images_per_second"], rows[1]["peak_ratio"], rows[1]["first_ratio"]) == (8.0, 0.5, 2.0)
    heads, _, _, shown, reason = peers.table(rows).splitlines()
    assert heads.count("|") == shown.count("|") == reason.count("|")
    assert (
        "| ours | 1.00 | 1.000 | 8.00 | 0.50 [0.50, 0.62] | 3 | 2.00 | 1.00 | 0.50 | 1.00 | 0.50 | 8.0 | 2.00 |"
        in shown
    )
    assert "no module a/b" in reason
    assert not peers.settled([peer, ours])
    assert peers.settled([peer, ours | {"seconds": [0.5, 1.0, 2.0]}])


def test_a_process_that_fails_says_why():
    import peers

    with pytest.raises(RuntimeError, match="nonsense"):
        peers.Worker(peers.Case("nonsense", "training", "float32", 1, "ours"), sys.executable, 60)


def test_scores_are_those_of_evaluate():
    from confusion import Confusion

    true, predicted = np.array([[0, 0, 1, 9], [2, 2, 1, 1]]), np.array([[0, 1, 1, 1], [2, 1, 1, 0]])
    counts = Confusion(4)
    for row in range(2):
        counts.add(true[row], predicted[row])
    # by hand: IoU 1/3, 2/5, 1/2; class 3 occurs nowhere
    assert counts.scores() == pytest.approx({"pixel_accuracy": 4 / 7, "iou_all_classes": (1 / 3 + 2 / 5 + 1 / 2) / 3})


def test_programs_take_turns_and_count_their_own_seconds(tmp_path, monkeypatch):
    """Each counts in steps of 10 ms; while one runs, the other stands still."""
    import turns

    monkeypatch.setattr(turns, "TURN", 0.3)
    monkeypatch.setattr(turns, "POLL", 0.02)
    code = "import sys, time\nwhile 1: print(time.time(), file=open(sys.argv[1], 'a')); time.sleep(.01)"
    files = [tmp_path / name for name in ("a", "b")]

    def read(file):
        return [float(line) for line in file.read_text().split()] if file.exists() else []

    programs = [
        turns.Program(
            file.name, [sys.executable, "-c", code, str(file)], tmp_path / f"{file.name}.log", lambda f=file: read(f)
        )
        for file in files
    ]
    turns.take_turns(programs, 0.6)
    for program, file in zip(programs, files, strict=True):
        assert program.process.poll() is not None and program.seconds == pytest.approx(0.6, abs=0.2)
        assert program.scores == sorted(program.scores) and program.peak_gib > 0
        stood = [after - before for before, after in zip(read(file), read(file)[1:], strict=False)]
        assert max(stood) > 0.2  # while the other had its turn
    began = time.monotonic()
    with pytest.raises(SystemExit, match="ended with status 3"):
        turns.take_turns(
            [turns.Program("c", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "c.log", list)], 30
        )
    assert time.monotonic() - began < 25


def test_the_table_of_equal_time_says_what_was_not_reached():
    import equal_time

    scores = {"iou_all_classes": 0.5, "pixel_accuracy": 0.75}
    row = {"program": "ours", "epochs": 3, "first epoch s": 20.4, "images/s": 11.25, "peak GiB": 1.5}
    row |= {"reached after s": {"0.5": 61.7, "0.6": None}, "final": {"val": scores, "test": scores}}
    *_, line = equal_time.table([json.loads(json.dumps(row))]).splitlines()
    assert line == "| ours | 3 | 20 | 11.2 | 1.50 | 62 | not | 0.500 | 0.750 | 0.500 | 0.750 |"
