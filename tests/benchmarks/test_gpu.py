"""benchmarks/gpu.py at toy size: what it measures, and that a case that fails costs no others."""

import argparse
import json
from dataclasses import replace

import pytest
from helpers import PROJECT, run_command

ROW = {"network": "unet", "mode": "training", "precision": "tf32", "batch": 8}


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    import gpu

    return gpu


def test_the_important_come_first(gpu):
    names = list(map(gpu.name_of, gpu.cases()))
    assert names[0] == "unet3plus_vgg19 training bfloat16 b16 ours"
    assert len(names) == len(set(names))
    assert {case.network for case in gpu.cases()[:20]} >= {"unet3plus", "unet", "unet++_resnet50"}
    assert {case.batch for case in gpu.cases()} == {1, 8, 16, 32, 64}
    assert {case.precision for case in gpu.cases()} == {"float32", "tf32", "bfloat16"}


def test_a_case_that_fails_or_lasts_is_a_row_that_says_why(gpu):
    case = replace(gpu.cases(toy=True)[0], network="nonsense")
    assert "nonsense" in gpu.run_case(case, 60)["reason"]
    row = gpu.run_case(gpu.cases(toy=True)[0], 0.1)
    assert row["reason"] == "stopped after 0.1 s"
    assert (
        gpu.table([row])
        .splitlines()[-1]
        .startswith("| unet3plus_vgg19 | training | bfloat16 | 2 | ours | stopped after 0.1 s |")
    )


def test_the_rest_is_left_out_when_the_time_is_over(gpu):
    *_, (rows, left_out) = gpu.run(gpu.cases(), argparse.Namespace(minutes=0, case_seconds=90))
    assert rows == []
    assert sum(map(len, left_out.values())) == len(gpu.cases())
    assert "unet training bfloat16 b16 ours" in {
        *left_out.get("no time left", ()),
        *left_out.get("jax is not installed", ()),
    }


def test_ratios_are_of_images_per_second(gpu):
    speeds = {"ours": 30.0, "plain layers": 20.0, "PyTorch": 10.0, "PyTorch, compiled": 40.0}
    rows = [
        ROW | {"implementation": name, "images_per_second": speed, "milliseconds": 1.0}
        for name, speed in speeds.items()
    ]
    ours, *_, compiled = gpu.with_ratios([*rows, ROW | {"implementation": "ours, TensorFlow", "reason": "no memory"}])[
        :4
    ]
    assert (ours["over_plain"], ours["over_pytorch"]) == (1.5, 0.75)
    assert compiled["over_pytorch"] == 1.0


def run_toy(folder, *patterns):
    command = ["benchmarks/gpu.py", "--toy", "--only", f"^({'|'.join(patterns)})$", "--out", folder]
    done = run_command(*command, "--case-seconds", 240, "--minutes", 30)
    assert done.returncode == 0, done.stderr
    content = json.loads((folder / "gpu.json").read_text())
    assert done.stdout.strip() == (folder / "gpu.md").read_text().strip()
    return content, done.stdout


def test_toy(tmp_path):
    """The step of train.py in a process of its own, its figures in the table and in the file."""
    content, page = run_toy(tmp_path, "unet training bfloat16 b2 ours")
    (row,) = content["rows"]
    assert row["images_per_second"] == pytest.approx(2000 / row["milliseconds"])
    assert row["peak_gib"] > 0.01 and row["first_step_seconds"] > 0
    assert f"| unet | training | bfloat16 | 2 | ours | {row['images_per_second']:.1f} |" in page
    assert "jax" in content["machine"]["versions"]
    assert "DeepLearningExamples" in page


@pytest.mark.slow
def test_toy_with_references(tmp_path):
    pytest.importorskip("jax")
    patterns = ("unet3plus inference bfloat16 b2 (ours|plain layers)", "unet3plus_vgg19 inference float32 b2 ours")
    content, _ = run_toy(tmp_path, *patterns, "unet.._efficientnetb0 training bfloat16 b2 ours")
    rows = {(row["network"], row["implementation"]): row for row in content["rows"]}
    assert not [row["reason"] for row in rows.values() if "reason" in row]
    speeds = [rows["unet3plus", name]["images_per_second"] for name in ("ours", "plain layers")]
    assert rows["unet3plus", "ours"]["over_plain"] == pytest.approx(speeds[0] / speeds[1])
    assert rows["unet3plus", "ours"]["mean_difference"] < 0.1  # the weights are new, and the maps of 2x2 pixels
    assert rows["unet3plus_vgg19", "ours"]["difference"] < 1e-3


def test_without_a_gpu_it_says_so():
    command = ["benchmarks/gpu.py", "--only", "^unet training bfloat16 b16 ours$"]
    done = run_command(*command, JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")  # as on a machine without one
    assert done.returncode == 2
    assert "JAX sees no GPU here. --toy tries the script on a CPU." in done.stderr
    assert "Traceback" not in done.stderr
