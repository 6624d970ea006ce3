"""compare.py: differences, tests, ranks and volumes by hand; what it reads; what it refuses."""

import csv
import json

import cv2
import numpy as np
import pytest

from compare import compare, main
from evaluate import evaluate
from utils.base.errors import UserError
from utils.base.palette import line_color
from utils.checkpoints.training_log import training_seconds
from utils.comparison.beside import most_different, read_cost
from utils.comparison.report import draw_agreement
from utils.comparison.runs import Run, find_runs
from utils.comparison.statistics import compare_pair, compare_volumes, holm, rank_runs
from utils.config import load_config
from utils.training.compare_curves import draw_runs

SIZE, CASES = 8, 7
CURVES = "epoch,loss,val_dice,run\n0,1.0,0.3,a\n1,0.5,0.6,a\n"


def write_masks(folder, wrong):
    """Squares of 4 x 4; a prediction misses as many rows of each as `wrong` says."""
    folder.mkdir(parents=True)
    for index, rows in enumerate(wrong):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[2 + rows : 6, 2:6] = 1
        cv2.imwrite(str(folder / f"image_{index}.png"), mask)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scored masks of two tools, of one in other masks, and of one with fewer cases."""
    folder = tmp_path_factory.mktemp("compared")
    write_masks(folder / "truth", [0] * CASES)
    write_masks(folder / "few", [0] * 2)
    write_masks(folder / "smaller", [1] * CASES)
    for name, wrong in (("one", [0, 0, 0, 0, 0, 0, 1]), ("other", [1, 2, 1, 2, 1, 2, 1]), ("third", [1] * CASES)):
        write_masks(folder / "tools" / name, wrong)
        score(folder, f"tools/{name}", "truth")
    score(folder, "tools/one", "few", "EVALUATION.PATH=fewer")
    score(folder, "tools/one", "smaller", "EVALUATION.PATH=another")
    return folder


def score(folder, predictions, truth, *overrides):
    settings = [f"EVALUATION.PREDICTIONS={predictions}", f"DATASET.VAL.MASK_PATH={truth}", "VERBOSE=0", *overrides]
    evaluate(load_config([f"WORK_DIR={folder}", "EVALUATION.BOOTSTRAP=0", *settings]))


def test_differences_of_two_runs_by_hand(folder, capsys):
    tools = folder / "tools"
    found = compare([str(tools / "one"), str(tools / "other.evaluation"), "--output", str(folder / "out")])
    entry = next(entry for entry in found["pairs"] if (entry["score"], entry["region"]) == ("dice", "class1"))
    dice = {0: 1.0, 1: 2 * 12 / 28, 2: 2 * 8 / 24}
    differences = [1 - dice[1], 1 - dice[2]] * 3 + [0]
    assert entry["difference"] == pytest.approx(np.mean(differences)) and entry["low"] > 0 and entry["cases"] == CASES
    assert (entry["wins"], entry["ties"], entry["losses"]) == (6, 1, 0)
    # Six differences of one sign: two of the 2**6 signs are as extreme.
    assert entry["p"] == entry["p_holm"] == pytest.approx(2 / 2**6, abs=0.01)
    assert {name: run["rank"] for name, run in found["ranking"]["runs"].items()} == {"one": 1, "other": 2}
    assert sum(found["ranking"]["runs"]["one"]["shares"]) == pytest.approx(1)
    volumes = next(entry for entry in found["volumes"] if entry["run"] == "other")
    errors = [-4, -8, -4, -8, -4, -8, -4]
    assert volumes["bias"] == pytest.approx(np.mean(errors)) and volumes["unit"] == "pixels"
    assert volumes["high"] - volumes["low"] == pytest.approx(2 * 1.96 * np.std(errors, ddof=1))
    page = (folder / "out/comparison.html").read_text()
    assert page.count("data:image/webp") >= 2 * 3 * 6 and "http" not in page.replace("http-equiv", "").replace(
        "http://www.w3.org", ""
    )
    for name, color in zip(("one", "other"), map(line_color, range(2)), strict=True):
        assert f'<i class="swatch" style="--color: {color}"></i>{name}' in page
    assert (
        "Win, tie, loss: images in which the first run is better, equal, worse" in page and "by Holm, because" in page
    )
    assert json.loads((folder / "out/comparison.json").read_text())["pairs"] == found["pairs"]
    with open(folder / "out/pairs.csv", newline="") as file:
        assert float(next(csv.DictReader(file))["difference"]) == pytest.approx(entry["difference"])
    assert "6/1/0" in capsys.readouterr().out


def test_patterns_and_folders_name_runs(folder):
    for names in ([str(folder / "tools")], [str(folder / "tools/*")], [str(folder / "tools/*.evaluation")]):
        assert [run.name for run in find_runs(names)] == ["one", "other", "third"]
    runs = find_runs([str(folder / "tools")])
    image, pictures = most_different(runs, 1)[0]
    assert image == "image_1" and pictures["one"].dice == 1 and set(pictures) == {"one", "other", "third"}


def test_what_does_not_compare_is_refused(folder, capsys):
    def refuses(words, *names):
        with pytest.raises(UserError) as caught:
            find_runs([str(folder / name) for name in names])
        assert all(word in str(caught.value) for word in words), caught.value

    refuses(["not measured on the same cases", "image_2 and 4 more"], "tools/one", "fewer")
    refuses(["image_0 has 16 true pixels", "12 in the other"], "tools/one", "another")
    refuses(["needs two evaluated runs"], "tools/one", "tools/one.evaluation")
    refuses(["Score its masks first"], "tools/one", "truth")
    refuses(["matches no evaluation folder"], "none*")
    (folder / "model.weights.h5").touch()
    refuses(["python evaluate.py MODEL.WEIGHTS_FILE_NAME=model"], "tools/one", "model.weights.h5")
    with pytest.raises(UserError, match="--score auc: the runs have dice, iou"):
        compare([str(folder / "tools"), "--score", "auc"])
    with pytest.raises(SystemExit) as ended:
        main(["nowhere", "--output", str(folder / "never")])
    assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err
    assert not (folder / "never").exists()


def test_p_values_are_those_of_all_signs_and_holm_by_hand():
    differences = np.array([0.3, -0.1, 0.4, 0.25, 0.5, 0.6, -0.05, 0.7])  # no ties: the exact test
    ranks = np.abs(differences).argsort().argsort() + 1
    signs = np.array(np.meshgrid(*[[0, 1]] * len(ranks))).reshape(len(ranks), -1)
    sums, own = ranks @ signs, ranks[differences > 0].sum()
    expected = 2 * min((sums >= own).mean(), (sums <= own).mean())
    assert compare_pair(differences, "dice")["p"] == pytest.approx(expected)
    assert compare_pair(np.zeros(4), "dice")["p"] == 1.0 and compare_pair(np.array([0.1]), "dice")["p"] is None
    assert holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])


def run_of(name, values, **metadata):
    cases = {f"c{index}": {"dice_class1": value} for index, value in enumerate(values)}
    return Run(name, metadata.pop("folder", None), metadata, "val", {"regions": {"class1": {}}}, "image", cases)


def test_ranks_leave_out_what_is_not_defined_and_one_case_has_none():
    runs = [run_of("a", [0.9, np.nan, 0.8]), run_of("b", [0.5, 1.0, 0.8])]
    ranking = rank_runs(runs, "dice", "class1", 200, 0)
    assert ranking["cases"] == 2 and ranking["runs"]["a"] == {"rank": 1, "shares": [1.0, 0.0]}
    assert 0.1 < ranking["runs"]["b"]["shares"][0] < 0.4  # a tie where the equal case was drawn twice: 1 in 4
    one = rank_runs([run_of("a", [0.9]), run_of("b", [0.5])], "dice", "class1", 200, 0)
    assert one["runs"]["a"] == {"rank": 1, "shares": None}
    single = compare_volumes([run_of("a", [0.9])])[0]
    assert single["low"] is None


def test_a_run_has_its_colour_whether_or_not_others_have_curves():
    curves = {"b": {"loss": [2.0, 1.0]}, "c": {"val_loss": [1.0, 3.0]}}
    colors = {name: line_color(number) for number, name in enumerate("abc")}
    (axis,) = draw_runs(curves, colors, columns=1).axes
    assert [line.get_color() for line in axis.get_lines()] == [colors["b"], colors["c"]]
    volumes = [{"run": name, "region": "class1", "unit": "ml", "bias": 1.0} for name in "abc"]
    volumes = [{**entry, "low": 0.0, "high": 2.0, "mean": [1.0, 2.0], "difference": [0.5, 1.5]} for entry in volumes]
    axes = draw_agreement(volumes, colors, {"class1": "cell"}).axes
    assert [axis.get_lines()[1].get_color() for axis in axes] == list(colors.values())


def test_cost_and_curves_are_read_beside_the_weights(tmp_path):
    from utils.comparison.beside import read_history

    (tmp_path / "model_x.run.json").write_text('{"parameters": 7, "since_last_start": {"seconds": 2.5}}')
    (tmp_path / "training_logs_x.csv").write_text(CURVES)
    run = run_of("x", [1], folder=tmp_path / "model_x.evaluation", weights="model_x", gflops=1.5)
    run.entry["images_per_second"] = 50
    assert read_cost(run) == {"parameters": 7, "gflops": 1.5, "ms": 20, "seconds": 2.5}
    assert read_history(run) == {"loss": [1.0, 0.5], "val_dice": [0.3, 0.6]}
    assert set(read_cost(run_of("y", [1], folder=tmp_path)).values()) == {None}
    elsewhere = run_of("z", [1], folder=tmp_path / "z", weights="fold0/z, fold1/z", training_seconds=9.5)
    assert read_cost(elsewhere)["seconds"] == 9.5


def test_an_evaluation_says_how_long_its_folds_were_trained(tmp_path):
    folds = [load_config([f"WORK_DIR={tmp_path}", f"MODEL.WEIGHTS_FILE_NAME=net{number}"]) for number in range(2)]
    (tmp_path / "checkpoint").mkdir()
    for number, seconds in enumerate((2.5, 4)):
        assert training_seconds(folds) is None
        summary = json.dumps({"since_last_start": {"seconds": seconds}})
        (tmp_path / f"checkpoint/net{number}.run.json").write_text(summary)
    assert training_seconds(folds) == 6.5
