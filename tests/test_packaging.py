"""Version, citation, container and continuous integration agree with the tree."""

import re
import shutil
import subprocess

import pytest
import yaml
from helpers import PROJECT, tracked

from utils.base.files import resolve_path
from utils.base.version import VERSION
from utils.checkpoints.paths import curves_path, evaluation_folder
from utils.config import load_config


def test_version_changelog_and_citation_agree():
    """VERSION is the newest release of the changelog, or a development version after it."""
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    version, date = re.search(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE).groups()
    assert (citation["version"], citation["date-released"]) == (version, date)
    if version != VERSION:
        coming = re.fullmatch(r"(\d+\.\d+\.\d+)\.dev0", VERSION).group(1)
        assert [int(n) for n in coming.split(".")] > [int(n) for n in version.split(".")]
        assert "## Unreleased" in changelog
    assert "[project]" not in (PROJECT / "pyproject.toml").read_text().split("\n", 3)[3], "VERSION is the only place"


def test_citation_is_complete():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "MIT"
    for entry in (citation, *citation["references"]):
        assert entry["title"] and entry["authors"] and entry["type"]


def test_dockerfile():
    """What hadolint would ask for is checked by hadolint, where it is installed; here, that what is copied is there."""
    text = (PROJECT / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM base AS (\w+)", text, re.MULTILINE)) == {"cpu", "gpu"}
    assert text.rindex("AS cpu") > text.rindex("AS gpu"), "the target of a plain `docker build .` is the last one"
    assert all("constraints.txt" in line for line in re.findall(r"^RUN pip.*", text, re.MULTILINE))
    assert ":latest" not in text and "ADD " not in text and "sudo" not in text
    if shutil.which("hadolint"):
        subprocess.run(["hadolint", "Dockerfile"], cwd=PROJECT, check=True)


def test_the_container_gets_the_whole_application_and_nothing_else():
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert lines[0] == "**"
    folders = {name.split("/")[0] for name in tracked("*.py") if "/" in name} - {"tests", "benchmarks", "docs"}
    assert folders | {"configs", "*.py"} <= kept
    assert all("*" in name or (PROJECT / name).exists() for name in kept)


def test_continuous_integration_runs_what_developers_run():
    workflow = yaml.safe_load((PROJECT / ".github/workflows/tests.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for command in commands:
        for target in re.findall(r"make (\w+)", command):
            assert target in targets
    assert ".ci/run" in commands
    assert (PROJECT / ".ci/run").read_text().splitlines()[-1] == "make test"
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format"]


@pytest.mark.parametrize("python", ["/nowhere/python", "sh"])
def test_make_refuses_a_python_that_does_not_fit_in_one_line(python, tmp_path):
    result = subprocess.run(
        ["make", "demo", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2 and not (tmp_path / "venv").exists()
    (line,) = [line for line in result.stdout.splitlines() if not line.startswith("make")]
    assert line.startswith("You need Python 3.11, 3.12 or 3.13, found: ") and "PYTHON=/path/to/python3.13" in line


def test_the_demo_ends_with_its_scores_and_three_things_to_open():
    command = ["make", "-n", "--no-print-directory", "demo", "DEMO=demo", "VENV=venv", "PYTHON=python3"]
    lines = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    steps = [line.split() for line in lines if line.startswith("venv/bin/python ")]
    names = [f"data_preparation/{name}.py" for name in ("make_phantom", "preprocess_data")]
    assert [step[1] for step in steps] == [*names, "train.py", "predict.py", "evaluate.py"]
    *settings, redirected, scores = steps[-1][2:]
    assert redirected == ">" and lines[-5].split()[-1] == scores  # of the tables the first, a row a class
    cfg = load_config(settings)
    opened = [PROJECT / line.strip('"').split()[-1] for line in lines[-3:]]
    assert opened == [
        evaluation_folder(cfg) / "report.html",
        resolve_path(cfg, cfg.PREDICT.OUTPUT_PATH) / cfg.MODEL.WEIGHTS_FILE_NAME / "pictures",
        curves_path(cfg),
    ]
