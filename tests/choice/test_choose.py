"""choose.py: what is kept and read back, counts against evaluate.py's, the search by hand, held-out cases, refusals."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from helpers import PROJECT

from choose import choose, main
from data_generators.files.pairing import Pair
from data_generators.files.volume_slices import VolumeSlice
from utils.base.errors import UserError
from utils.base.files import file_hash
from utils.checkpoints import weights_path
from utils.choice.counts import Candidate, Counts
from utils.choice.decision import draw_groups
from utils.choice.kept_runs import find_kept_runs
from utils.choice.scores import score_of
from utils.choice.search import FIRST, THRESHOLDS, Options, assign_folds, search_all
from utils.config import load_config
from utils.evaluation.case_scores import find_regions, score_region
from utils.evaluation.kept_probabilities import Keeper, from_integers, read_kept, to_integers
from utils.evaluation.split_data import SplitData
from utils.inference.class_indices import class_indices
from utils.inference.postprocessing import postprocess

CASES, SIZE = 12, 16


def make_truths(random):
    """A square in each image."""
    truths = np.zeros((CASES, SIZE, SIZE), np.uint8)
    for truth in truths:
        row, column = random.integers(3, 8, 2)
        truth[row : row + 7, column : column + 7] = 1
    return truths


def write_run(folder, name, probabilities, truths, places=None, kept=True, **kinds):
    """An evaluation folder as evaluate.py leaves it, of probabilities `(cases, height, width)` of class 1."""
    cfg = load_config([f"WORK_DIR={folder}", f"MODEL.WEIGHTS_FILE_NAME={name}", "OUTPUT.CLASSES=2"])
    weights = weights_path(cfg)
    weights.parent.mkdir(exist_ok=True)
    weights.write_bytes(name.encode())
    pairs = [Pair(Path(f"case_{index}.png"), None) for index in range(len(truths))]
    evaluation = weights.with_name(f"{name}.evaluation")
    evaluation.mkdir(exist_ok=True)
    sha = "none"
    if kept:
        keeper = Keeper([cfg], evaluation, SplitData("val", len(pairs), 0, pairs, places))
        both = {kind: np.stack([1 - found, found], -1) for kind, found in {"none": probabilities, **kinds}.items()}
        keeper.add(truths, both)
        keeper.finish()
        index_path = evaluation / "probabilities/val/index.json"
        index = json.loads(index_path.read_text())
        index["tta"] = list(both)
        index_path.write_text(json.dumps(index))
        sha = ", ".join(index["weights_sha256"])
    unit = "volume" if places else "image"
    names = dict.fromkeys(place.volume for place in places) if places else [pair.image.name for pair in pairs]
    rows = [f"val,{case},49" for case in names]
    (evaluation / f"per_{unit}.csv").write_text("\n".join([f"split,{unit},true_class1", *rows]))
    metadata = {"weights": name, "weights_sha256": sha, "command": "python evaluate.py MODEL.TYPE=unet"}
    entry = {"case": unit, "regions": {"class1": {}}}
    (evaluation / "evaluation.json").write_text(json.dumps({**metadata, "splits": {"val": entry}}))
    return evaluation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs that each find half of the square; both see a seam around it and specks far from it."""
    folder, random = tmp_path_factory.mktemp("choice"), np.random.default_rng(0)
    truths = make_truths(random)
    left = np.arange(SIZE) < SIZE // 2
    for name, seen in (("left", left), ("right", ~left)):
        seam = np.stack([cv2.dilate(truth, np.ones((3, 3))) for truth in truths])
        found = np.where(truths > 0, np.where(seen, 0.9, 0.4), np.where(seam > 0, 0.55, 0.02)).astype(np.float32)
        found[:, 0, ::5] = 0.9
        write_run(folder, name, found, truths, flips=found)
    (folder / "checkpoint/mask.weights.h5").touch()
    return folder


def test_probabilities_are_kept_within_a_hundred_thousandth_and_show_their_sums():
    random = np.random.default_rng(1)
    sums_to_one = random.dirichlet([1, 1, 1], (5, 4)).astype(np.float32)
    free = random.random((5, 4, 3)).astype(np.float32)
    for probability, channels in ((sums_to_one, 2), (free, 3), (free[..., :1], 1)):
        kept = to_integers(probability)
        assert kept.shape[-1] == channels and kept.dtype == np.uint16
        assert np.abs(from_integers(kept, probability.shape[-1]) - probability).max() < 2e-5


def test_counts_are_those_of_masks_as_predict_and_evaluate_make_them(folder):
    """Volumes of three slices, postprocessed in 3-D; pixels as `score_region` counts them."""
    random = np.random.default_rng(2)
    truths, found = random.integers(0, 2, (6, 9, 9)).astype(np.uint8), random.random((6, 9, 9)).astype(np.float32)
    places = [VolumeSlice(volume, number) for volume in "ab" for number in (2, 0, 1)]
    write_run(folder, "volumes", found, truths, places)
    (run,) = find_kept_runs([str(folder / "checkpoint/volumes")], None)
    counts, order = Counts([run]), [1, 2, 0]
    candidates = [Candidate((0,)), Candidate((0,), thresholds=(0.3,)), Candidate((0,), "none", (0.4,), True, 3, True)]
    counts.add(candidates)
    for candidate in candidates:
        for case in range(2):
            part = [3 * case + index for index in order]
            labels = class_indices(np.stack([1 - found, found], -1)[part].reshape(-1, 9, 2), candidate.thresholds)
            labels = np.moveaxis(labels.reshape(3, 9, 9), 0, -1)
            labels = postprocess(labels, candidate.largest, candidate.minimum_size, candidate.fill_holes)
            confusion = np.zeros((2, 2), int)
            np.add.at(confusion, (truths[part], np.moveaxis(labels, -1, 0)), 1)
            row = score_region(confusion, find_regions(2)["class1"])
            assert counts[candidate][case, 0].tolist() == [row["common"], row["true"], row["predicted"]]


def test_scores_by_hand():
    counts = np.array([[[2, 4, 4], [0, 0, 0]], [[0, 4, 0], [1, 1, 1]]])  # (case, class, common true predicted)
    assert score_of("dice_per_case", counts) == pytest.approx(((0.5 + 0) / 2 + 1) / 2)
    assert score_of("dice_per_case_lits", counts) == pytest.approx((0.25 + 1) / 2)
    assert score_of("dice", counts) == pytest.approx((4 / 12 + 1) / 2)
    assert score_of("iou", counts) == pytest.approx((2 / 10 + 1) / 2)
    assert score_of("iou_per_case", counts) == pytest.approx(((2 / 6) / 2 + 1) / 2)


def test_the_search_finds_the_ensemble_the_threshold_and_the_largest_component(folder, capsys):
    """The mean of both is 0.65 inside and 0.55 in the seam, so that a threshold of 0.6 leaves the square and specks."""
    names = [str(folder / "checkpoint/left"), str(folder / "checkpoint/right.evaluation")]
    found = choose([*names, "--output", str(folder / "out"), "--folds", "3", "--quiet"])
    post = found["settings"]["PREDICT"]["POSTPROCESS"]
    assert found["settings"]["PREDICT"]["TTA"] == "none" and post["LARGEST"] and post["THRESHOLDS"] == [0.6]
    assert found["settings"]["PREDICT"]["ENSEMBLE"] == ["left", "right"]
    assert found["total"]["score"] == found["same_cases"] == pytest.approx(1) and found["total"]["low"] > 0.2
    steps = {entry["name"]: entry for entry in found["steps"]}
    assert not steps["tta"]["used"] and steps["ensemble"]["used"] and steps["thresholds"]["used"]
    gains = sum(entry["gain"] for entry in found["steps"] if entry["used"])
    assert gains == pytest.approx(found["total"]["gain"])
    settings = yaml.safe_load((folder / "out/experiment/best.yaml").read_text())
    assert settings == found["settings"] and (folder / "out/choice.md").read_text().count("| ensemble |") == 1
    assert json.loads((folder / "out/choice.json").read_text())["predict"] == found["predict"]
    assert "PREDICT.POSTPROCESS.LARGEST=True" in capsys.readouterr().out


def test_the_file_and_the_command_give_predict_the_same_settings(folder):
    out = folder / "settings"
    names = [str(folder / "checkpoint/left"), str(folder / "checkpoint/right")]
    found = choose([*names, "--output", str(out), "--folds", "2", "--bootstrap", "0", "--quiet"])
    command = [sys.executable, "predict.py", "--config-dir", str(out), "+experiment=best", "--cfg", "job"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    from_file = yaml.safe_load(run.stdout)
    typed = load_config(shlex.split(found["predict"])[2:])
    for group in ("PREDICT", "MODEL"):
        own, other = dict(typed[group]), from_file[group]
        keys = ("ENSEMBLE", "TTA", "POSTPROCESS") if group == "PREDICT" else ("WEIGHTS_FILE_NAME",)
        assert all(own[key] == other[key] for key in keys)
    assert from_file["CALLBACKS"]["MODEL_CHECKPOINT"]["PATH"] == str(folder / "checkpoint")
    assert found["total"]["low"] is None


def test_a_case_never_decides_about_itself():
    """One run is right in every case but one, the other in that one alone: held out, it is predicted wrongly."""
    folds = assign_folds(["a", "a", "b", "c", "c"], 3, 0)
    assert folds[0] == folds[1] and folds[3] == folds[4] and len(set(folds.tolist())) == 3
    tables = {
        Candidate((0,)): np.array([[[9, 9, 9]], [[0, 9, 9]], [[9, 9, 9]]]),
        Candidate((1,)): np.array([[[0, 9, 9]], [[9, 9, 9]], [[0, 9, 9]]]),
    }

    class Fixed(Counts):
        def __init__(self):
            self.found, self.runs = tables, [None, None]
            self.kept = type("Kept", (), {"classes": [1]})

        def add(self, candidates):
            assert all(candidate in tables for candidate in candidates)

    options = Options("dice_per_case", (), 5, 0.001, (), ())
    parts = [np.array([1, 2]), np.array([0, 2]), np.array([0, 1]), np.arange(3)]
    chosen = [ladder[FIRST].runs for ladder in search_all(Fixed(), parts, options)]
    assert chosen == [(0,), (0,), (0,), (0,)]  # at a tie the first
    drawn = draw_groups(["a", "a", "b"], 200, 0)
    assert (drawn[:, 0] == drawn[:, 1]).all() and (drawn[:, 0] + drawn[:, 2] == 2).all()
    assert THRESHOLDS[0] == 0.1 and THRESHOLDS[-1] == 0.9


def test_what_cannot_be_chosen_among_is_refused(folder, tmp_path, capsys):
    random = np.random.default_rng(0)
    truths = make_truths(random)
    even = np.full(truths.shape, 0.5, np.float32)

    def refuses(words, *names, options=()):
        with pytest.raises(UserError) as caught:
            choose([*map(str, names), "--output", str(tmp_path / "out"), "--quiet", *options])
        assert all(word in str(caught.value) for word in words), caught.value

    left = folder / "checkpoint/left"
    write_run(tmp_path, "nothing", even, truths, kept=False)
    refuses(
        ["kept no probabilities of val", "python evaluate.py MODEL.TYPE=unet EVALUATION.KEEP_PROBABILITIES=True"],
        tmp_path / "checkpoint/nothing",
    )
    write_run(tmp_path, "fewer", even[:5], truths[:5])
    refuses(["not measured on the same cases", "case_10 and 6 more"], left, tmp_path / "checkpoint/fewer")
    write_run(tmp_path, "other", even, 1 - truths)
    refuses(["another truth of case_0"], left, tmp_path / "checkpoint/other")
    write_run(tmp_path, "one", even[:1], truths[:1])
    refuses(["a single case"], tmp_path / "checkpoint/one")
    refuses(["puts all 12 cases into one group"], left, options=["--group", "case"])
    evaluation = write_run(tmp_path, "damaged", even, truths)
    (evaluation / "probabilities/val/000003.npz").write_bytes(b"PK")
    refuses(["000003.npz: is damaged"], tmp_path / "checkpoint/damaged")
    (evaluation / "probabilities/val/000003.npz").unlink()
    refuses(["000003.npz: is missing"], tmp_path / "checkpoint/damaged")
    (evaluation / "probabilities/val/index.json").write_text("{}")
    refuses(["index.json: is damaged"], tmp_path / "checkpoint/damaged")
    with pytest.raises(UserError, match="other weights"):
        read_kept(left.with_name("left.evaluation"), "val", "abc")
    with pytest.raises(SystemExit) as ended:
        main([str(folder / "nowhere")])
    assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_changed_since_the_evaluation_is_refused(tmp_path):
    """predict.py would not do what was chosen."""
    write_run(tmp_path, "net", np.full((CASES, SIZE, SIZE), 0.5, np.float32), make_truths(np.random.default_rng(0)))
    run, weights = str(tmp_path / "checkpoint/net"), tmp_path / "checkpoint/net.weights.h5"
    (run_found,) = find_kept_runs([run], None)
    fitted = {"temperature": [2.0], "weights_sha256": file_hash(weights)}
    file = tmp_path / "checkpoint/net.temperature.json"
    file.write_text(json.dumps(fitted))
    with pytest.raises(UserError, match=r"with the temperature none, and predict\.py would use 2\.000"):
        find_kept_runs([run], None)
    file.write_text(json.dumps({**fitted, "weights_sha256": "of others"}))  # which predict.py does not use
    assert find_kept_runs([run], None)[0].name == run_found.name
    weights.write_bytes(b"trained on")
    with pytest.raises(UserError, match="has changed since"):
        find_kept_runs([run], None)


def test_probabilities_that_sum_to_more_than_one_are_refused(tmp_path):
    write_run(tmp_path, "net", np.full((CASES, SIZE, SIZE), 0.5, np.float32), make_truths(np.random.default_rng(0)))
    (image, *_), *_ = read_kept(tmp_path / "checkpoint/net.evaluation", "val", sha_of(tmp_path)).cases.values()
    integers = image.read(["none"])["none"]
    assert image.probability(integers, 2).sum(-1) == pytest.approx(1)
    with pytest.raises(UserError, match=r"000000\.npz: the probabilities of a pixel sum to more than 1"):
        image.probability(np.full((2, 2, 2), 60000, np.uint16), 3)


def sha_of(folder):
    return json.loads((folder / "checkpoint/net.evaluation/evaluation.json").read_text())["weights_sha256"]


def test_no_tensorflow_is_loaded_and_no_standard_module_hidden():
    code = "import sys, choose; assert not {'tensorflow', 'keras', 'scipy'} & set(sys.modules), 'loaded'"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
    hidden = {path.stem for path in PROJECT.glob("*.py")} & set(sys.stdlib_module_names)
    assert not hidden
