"""Pages of measured runs: everything on them comes from the files of the run."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
from helpers import PROJECT, import_benchmark, make_weights

NETWORK = ["MODEL.TYPE=conv_deconv", "MODEL.WEIGHTS_FILE_NAME=pets_tiny", "INPUT.HEIGHT=16", "INPUT.WIDTH=16", "RUN=a"]
DICES = [0.9, 0.1, 0.5, None, 0.2, 0.8, 0.4, 0.7]  # of the images, None: no foreground
INTERVAL = {"value": 0.61234, "low": 0.5, "high": 0.7, "cases": 7}


@pytest.fixture(scope="module")
def results():
    return import_benchmark("results")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run as train.py and evaluate.py leave it, with scores that nobody computed."""
    work = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", len(DICES))):
        for kind, values in (("images", 256), ("mask", 2)):
            (work / "data" / split / kind).mkdir(parents=True)
            for number in range(count):
                picture = rng.integers(0, values, (16, 16)).astype(np.uint8)
                cv2.imwrite(str(work / "data" / split / kind / f"{split}{number}.png"), picture)
    make_weights(work, NETWORK)
    folder = work / "checkpoint"
    summary = {
        "finished": "2026-11-26T12:00:00+0000",
        "model": "conv_deconv",
        "parameters": 1234,
        "images": {"train": 3, "val": 8},
        "precision": "float32",
        "versions": {"keras": "3.15.1"},
        "commit": "c0ffee",
        "machine": {"processor": "Fast One", "cores": 1, "memory_gib": 8.0, "gpus": []},
        "since_last_start": {"epochs": 1, "seconds": 90.0},
        "best": {"epoch": 2, "score": "val_dice", "value": 0.6},
        "overrides": ["+experiment=pets_conv_deconv"],
        "command": "python train.py +experiment=pets_conv_deconv",
    }
    (folder / "pets_tiny.run.json").write_text(json.dumps(summary))
    (folder / "training_logs_pets_tiny.csv").write_text("epoch,loss,val_loss,run\n0,2.0,3.0,a\n1,1.0,2.0,a\n")
    entry = {
        "images": 8,
        "case": "image",
        "cases": 8,
        "scores": {"pixel_accuracy": 0.71, "dice_per_case_class1": 0.61234, "dice_class1": 0.6},
        "best_constant_answer": {"pixel_accuracy": {"value": 0.55, "class": 0}},
        "regions": {"class1": {"states": {}, "dice_per_case": INTERVAL}},
    }
    evaluation = {
        "command": "python evaluate.py WORK_DIR=/elsewhere MODEL.WEIGHTS_FILE_NAME=pets_tiny",
        "splits": {"val": entry, "test": entry},
    }
    (folder / "pets_tiny.evaluation").mkdir()
    (folder / "pets_tiny.evaluation/evaluation.json").write_text(json.dumps(evaluation))
    with open(folder / "pets_tiny.evaluation/per_image.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("split", "image", "dice_class1"))
        rows.writerows(("test", f"val{number}.png", "" if dice is None else dice) for number, dice in enumerate(DICES))
    shutil.copytree(work / "data/val", work / "data/test")
    return folder


@pytest.fixture(scope="module")
def project(results, run_folder, tmp_path_factory):
    """Copies of the pages that list runs, after the command has added one."""
    project = tmp_path_factory.mktemp("project")
    (project / "docs/results").mkdir(parents=True)
    for name in ("README.md", "docs/results/README.md", "docs/results/experiments.md", "mkdocs.yml"):
        shutil.copyfile(PROJECT / name, project / name)
    results.main([str(run_folder)], project)
    return project


def test_the_page_says_what_ran_and_what_came_of_it(project):
    page = (project / "docs/results/pets_tiny.md").read_text()
    assert "python train.py +experiment=pets_conv_deconv\npython evaluate.py MODEL.WEIGHTS_FILE_NAME=pets_tiny" in page
    steps = "90.0 s per epoch of 2 steps of 2 images, validation included (45.00 s per step)"
    assert f"| time | {steps}, 2 min for 1 epoch; 1 more before an interruption |" in page
    assert "| commit | `c0ffee` |" in page and "Fast One, 1 core(s)" in page
    assert "| `pixel_accuracy` | 0.710 | 0.550 | share of the pixels of the set" in page
    assert "| class1 | 7 | 0.612 [0.500, 0.700] |" in page
    assert "mean over images; absent in both: left out" in page
    assert "No published figure of this task" in page


def test_the_run_is_listed(project):
    summary = (project / "docs/results/README.md").read_text()
    assert "| [pets_tiny](pets_tiny.md) | Oxford-IIIT Pet | test `pixel_accuracy` | 0.710 | 0.550 | - |" in summary
    best = "| [Oxford-IIIT Pet](docs/results/pets_tiny.md) | test `pixel_accuracy` 0.710 |"
    assert best in (project / "README.md").read_text()
    experiments = (project / "docs/results/experiments.md").read_text()
    row = next(line for line in experiments.splitlines() if line.startswith("| `pets_conv_deconv` |"))
    assert row.endswith("| none known | test `pixel_accuracy` 0.710 ([pets_tiny](pets_tiny.md)) |")
    assert "      - results/pets_tiny.md\n      # end of runs\n" in (project / "mkdocs.yml").read_text()


def test_the_files_are_small_and_the_split_is_kept(project):
    folder = project / "docs/results/pets_tiny"
    assert {path.name for path in folder.iterdir()} == {
        "curves.jpg",
        "log.csv",
        "pictures.jpg",
        "result.json",
        "split.csv",
    }
    assert all(path.stat().st_size <= 100_000 for path in folder.iterdir())
    rows = (folder / "split.csv").read_text().splitlines()
    assert rows[:2] == ["split,name,images", "train,train0.png,1"] and len(rows) == 1 + 3 + 2 * len(DICES)


def test_writing_the_pages_again_changes_nothing(project, results):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    results.main([], project)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_the_pages_are_as_the_command_writes_them(results, tmp_path):
    """Nobody has typed a figure: change published.yaml or the code, then run it without arguments."""
    (tmp_path / "docs").mkdir()
    shutil.copytree(PROJECT / "docs/results", tmp_path / "docs/results")
    for name in ("README.md", "mkdocs.yml"):
        shutil.copyfile(PROJECT / name, tmp_path / name)
    results.main([], tmp_path)
    for path in (tmp_path / "README.md", tmp_path / "mkdocs.yml", *(tmp_path / "docs/results").glob("*.md")):
        assert path.read_text() == (PROJECT / path.relative_to(tmp_path)).read_text(), path.name


def test_folds_evaluated_together_are_found(results, tmp_path):
    for name in ("pets_tiny.folds", "pets_tiny", "lgg_unet.folds"):
        (tmp_path / f"{name}.evaluation").mkdir()
        (tmp_path / f"{name}.evaluation/evaluation.json").touch()
    assert results.find_runs(tmp_path, None) == ["lgg_unet", "pets_tiny"]


def test_published_figures_of_one_network_are_on_its_pages_alone(results):
    from benchmarks.results_pages import read_data_set

    assert not read_data_set("pets_conv_deconv")["published"]
    (tutorial,) = read_data_set("pets_mobilenetv2_finetuned")["published"]
    assert tutorial["value"] == "validation accuracy .877"


def test_the_best_run_of_a_data_set_is_chosen_by_validation():
    from benchmarks.results_pages import best_lines

    def run(name, val, test):
        splits = {
            split: {"regions": {}, "scores": {"pixel_accuracy": value}}
            for split, value in (("val", val), ("test", test))
        }
        return {"name": name, "evaluation": {"splits": splits}}

    *_, row = best_lines([run("pets_a", 0.7, 0.9), run("pets_b", 0.8, 0.6)])
    assert "pets_b.md" in row and "0.600" in row


def test_means_over_batches_by_hand(results):
    """Two batches of two images and one of one; the second is empty in truth and prediction."""
    counts = [(4, 4, 3), (0, 0, 0), (0, 0, 0), (0, 0, 0), (2, 4, 2)]
    columns = ("true_class1", "predicted_class1", "common_class1")
    rows = [{"split": "val"} | dict(zip(columns, map(str, row), strict=True)) for row in counts]
    found = results.mean_over_batches(rows, 2)["val"]
    assert found["IoU"] == pytest.approx((2 * 3 / 5 + 2 * 1 + 1 / 2) / 5)
    assert found["Dice"] == pytest.approx((2 * 6 / 8 + 2 * 1 + 4 / 6) / 5)


def test_the_constant_answer_of_volumes(tmp_path):
    """Two slices of 10 pixels with 4 true, and one without any: (2 * 4 / (4 + 20) + 0) / 2."""
    from benchmarks.results_pages import constant_of_volumes

    (tmp_path / "per_volume.csv").write_text("split,volume,images,true_class1\nval,a,2,4\nval,b,1,0\ntest,c,1,9\n")
    entry = {"case": "volume", "images": 3, "confusion": [[20, 6], [1, 3]]}
    assert constant_of_volumes("val", entry, "dice_per_case_class1", tmp_path) == "0.167"
    assert constant_of_volumes("val", entry, "dice_class1", tmp_path) is None


def test_two_each_of_the_worst_the_median_and_the_best(results, run_folder):
    chosen = results.choose_images(run_folder / "pets_tiny.evaluation", "test")
    assert [DICES[number] for _, number in chosen] == [0.1, 0.2, 0.4, 0.5, 0.8, 0.9]
    assert chosen[0] == ("worst: val1.png", 1)


def test_a_volume_is_shown_by_its_fullest_slice(results, tmp_path):
    (tmp_path / "per_volume.csv").write_text("split,volume,dice_class1\nval,a,0.3\nval,b,0.2\n")
    (tmp_path / "per_image.csv").write_text(
        "split,image,volume,true_class1\nval,a0,a,5\nval,a1,a,7\nval,b0,b,9\ntrain,c0,c,1\n"
    )
    assert results.choose_images(tmp_path, "val") == [("worst: b", 2), ("best: a", 1)]


def test_no_case_is_shown_twice(results, tmp_path):
    for count in range(1, 9):
        rows = [f"val,image{number},,0.{number}" for number in range(count)]
        (tmp_path / "per_image.csv").write_text("\n".join(["split,image,volume,dice_class1", *rows]))
        shown = [number for _, number in results.choose_images(tmp_path, "val")]
        assert shown == sorted(set(shown)) and len(shown) == {1: 1, 2: 2}.get(count, 6 if count > 5 else 3)


def test_noise_becomes_a_small_jpeg(results, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3)).astype(np.uint8)
    results.write_picture(noise, tmp_path / "noise.jpg")
    assert (tmp_path / "noise.jpg").stat().st_size <= 100_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda folder: shutil.rmtree(folder / "pets_tiny.evaluation"),
            ("no evaluation of any run", "Run evaluate.py"),
        ),
        (lambda folder: (folder / "pets_tiny.run.json").unlink(), ("run.json is missing",)),
        (lambda folder: (folder / "pets_tiny.run.json").write_text("{"), ("run.json: is no JSON",)),
        (lambda folder: (folder / "training_logs_pets_tiny.csv").unlink(), ("has no rows of the run",)),
        (
            lambda folder: (folder / "pets_tiny.evaluation").rename(folder / "moon_tiny.evaluation"),
            ("benchmarks/published.yaml has no data set moon", "pets"),
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(results, run_folder, tmp_path, capsys, change, words):
    work = tmp_path / "work"
    shutil.copytree(run_folder.parent, work)
    change(work / "checkpoint")
    with pytest.raises(SystemExit) as stopped:
        results.main([str(work / "checkpoint")], tmp_path / "project")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not list((tmp_path / "project").rglob("*.json"))
