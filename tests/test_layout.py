"""Which room may import which, and that every setting is explained."""

import ast
import re

import pytest
from helpers import PROJECT

ROOMS = {
    "utils",
    "models",
    "losses",
    "data_generators",
    "data_preparation",
    "train",
    "evaluate",
    "predict",
    "export",
    "app",
}
ALLOWED = {
    "utils": set(),
    "models": {"utils"},
    "losses": {"utils"},
    "data_generators": {"utils"},
    "data_preparation": {"utils", "data_generators"},
}


def imports(path):
    """Top-level names of everything a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", ALLOWED)
def test_no_import_runs_upwards(room):
    for path in (PROJECT / room).glob("*.py"):
        if path.name != "__main__.py":  # a command puts rooms together like train.py does
            others = set(imports(path)) & ROOMS - {room}
            assert others <= ALLOWED[room], f"{path} imports {others - ALLOWED[room]}"


@pytest.mark.parametrize("room", ["models", "losses"])
def test_models_and_losses_do_without_tensorflow(room):
    for path in (PROJECT / room).glob("*.py"):
        # The one exception chooses TensorFlow's fused kernel when TensorFlow is Keras's backend.
        allowed = {"tensorflow"} if path.name in ("layers.py", "winograd.py") else set()
        assert set(imports(path)) & {"tensorflow", "jax", "torch"} <= allowed, path


def test_every_setting_has_a_comment():
    text = (PROJECT / "configs/config.yaml").read_text().split("\nhydra:")[0]
    lines = text.splitlines()
    bare = []
    for number, line in enumerate(lines):
        setting = re.match(r"\s*([A-Z][A-Z_]*): \S", line)
        near = "\n".join(lines[max(number - 6, 0) : number + 1])
        if setting and "#" not in near:
            bare.append(setting.group(1))
    assert not bare


def test_the_commands_of_data_preparation_are_listed():
    import data_preparation

    listed = re.search(r"--help`\): (.*?)\. The other", data_preparation.__doc__, re.DOTALL).group(1)
    folder = PROJECT / "data_preparation"
    commands = [path.stem for path in sorted(folder.glob("*.py")) if "\nif __name__ ==" in path.read_text()]
    assert re.findall(r"\w+", listed) == commands
