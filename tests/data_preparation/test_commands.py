"""What all commands of data_preparation have in common."""

import ast
import re
import sys

import pytest
from helpers import PROJECT, run_command

FOLDER = PROJECT / "data_preparation"
COMMANDS = sorted(path.stem for path in FOLDER.glob("*.py") if "\nif __name__ ==" in path.read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_it_runs_from_any_folder_without_tensorflow(name, tmp_path):
    result = run_command("-X", "importtime", FOLDER / f"{name}.py", "--help", cwd=tmp_path)
    assert result.returncode == 0 and len(result.stdout) > 200
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in result.stderr.splitlines()}
    assert "numpy" in imported and not imported & {"tensorflow", "keras", "jax", "torch"}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_imports_no_other_command(name):
    """What two commands need is in `annotation_forms`, `common`, `scans` or `planning`."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not {f"data_preparation.{other}" for other in COMMANDS} & set(modules)


@pytest.mark.parametrize("folder", ["annotation_forms", "common", "scans", "planning"])
def test_what_is_shared_imports_no_command(folder):
    for path in (FOLDER / folder).glob("*.py"):
        assert not re.search(rf"^from data_preparation\.({'|'.join(COMMANDS)}) import", path.read_text(), re.MULTILINE)


def test_nothing_is_imported_from_the_folder_of_the_script():
    """Python puts that folder first on the path: none of its names may hide a package that is imported."""
    assert not set(COMMANDS) & (set(sys.stdlib_module_names) | {"numpy", "cv2", "pydicom", "nibabel", "tqdm", "hydra"})
