"""The structure of the code: which folder may import which, no circles, files that fit on a few screens."""

import ast
import re
import subprocess

import pytest
from helpers import PROJECT

# A folder, and the folders that its files may import from, itself aside. A file belongs to the longest entry that its
# path begins with; every Python file of the application must belong to one.
GROUND = {"utils/base"}
CONFIGURED = GROUND | {"utils/config"}
SHARED = {"models", "losses", "data_generators"}
LAYERS = {
    "utils/base": set(),
    "utils/config": GROUND,
    "models": CONFIGURED,
    "losses": CONFIGURED,
    "data_generators": CONFIGURED,
    "data_preparation": CONFIGURED | {"data_generators"},
    "utils/checkpoints": CONFIGURED | {"models"},
    "utils/devices": CONFIGURED,
    # Scans are read for prediction as the preparation reads them for training.
    "utils/inference": CONFIGURED | SHARED | {"data_preparation", "utils/checkpoints", "utils/devices"},
    "utils/evaluation": CONFIGURED | SHARED | {"utils/checkpoints", "utils/devices", "utils/inference"},
    "utils/training": CONFIGURED
    | SHARED
    | {"utils/checkpoints", "utils/devices", "utils/inference", "utils/evaluation"},
    "utils/export": CONFIGURED
    | SHARED
    | {"data_preparation", "utils/checkpoints", "utils/devices", "utils/inference", "utils/evaluation"},
}
# The tables that rules of the config take their choices from are named by strings and loaded when a value is checked.
CHOICES = {"utils/config": {"models", "losses", "data_generators", "utils/devices", "utils/training", "utils/export"}}
LONGEST_FILE = 300


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", *patterns], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [name for name in out.splitlines() if (PROJECT / name).exists()]


def application_files():
    """Every Python file of the application, but for the commands, which assemble the parts."""
    files = [name for name in tracked("*.py") if not name.startswith(("tests/", "benchmarks/", "docs/"))]
    return [name for name in files if "/" in name and not is_command(name)]


def is_command(name):
    return '\nif __name__ == "__main__":' in (PROJECT / name).read_text() and not name.startswith("data_preparation/")


def layer_of(path):
    """The entry of LAYERS that a file or module path belongs to, or None."""
    fitting = [layer for layer in LAYERS if path == layer or path.startswith((f"{layer}/", f"{layer}."))]
    return max(fitting, key=len, default=None)


def modules_of(tree):
    """Every module or name that a file imports, wherever in the file, as a path: `utils/base/errors`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}".replace(".", "/") for alias in node.names)


def tables_of(tree):
    """The modules that "package.module:NAME" strings name, as paths."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = re.fullmatch(r"([a-z_]+(?:\.[a-z_0-9]+)*):\w+", node.value)
            if match:
                yield match.group(1).replace(".", "/")


def test_every_file_belongs_to_a_layer():
    """A new folder must be entered in LAYERS; this fails until it is."""
    missed = [name for name in application_files() if layer_of(name) is None and name != "utils/__init__.py"]
    assert not missed


@pytest.mark.parametrize("name", application_files())
def test_no_import_runs_upwards(name):
    layer, tree = layer_of(name), ast.parse((PROJECT / name).read_text())
    if layer is None:
        return  # utils/__init__.py, which is only its docstring
    for imported in modules_of(tree):
        other = layer_of(imported)
        assert other in (None, layer, *LAYERS[layer]), f"{name} imports {imported}"
        assert imported.split("/")[0] not in ("train", "evaluate", "predict", "export", "app"), name
    for table in tables_of(tree):
        other = layer_of(table)
        assert other in (None, layer, *LAYERS[layer], *CHOICES.get(layer, ())), f"{name} names {table}"


def test_no_imports_in_a_circle():
    """Imports at the top of files, from file to file."""
    graph = {}
    for name in application_files():
        tree = ast.parse((PROJECT / name).read_text())
        top = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
        found = set()
        for imported in modules_of(top):
            for candidate in (imported, imported.rpartition("/")[0]):
                found |= {f for f in (f"{candidate}.py", f"{candidate}/__init__.py") if (PROJECT / f).is_file()}
        graph[name] = found - {name}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(graph.get(name, ())):
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


@pytest.mark.parametrize("folder", ["models", "losses"])
def test_models_and_losses_do_without_tensorflow(folder):
    # The exceptions choose TensorFlow's fused kernels when TensorFlow is Keras's backend.
    allowed = {"models/layers/batch_norm.py", "models/layers/convolution.py", "models/layers/winograd.py"}
    for name in tracked(f"{folder}/*.py"):
        frameworks = {module.split("/")[0] for module in modules_of(ast.parse((PROJECT / name).read_text()))}
        assert name in allowed or not frameworks & {"tensorflow", "jax", "torch"}, name


@pytest.mark.parametrize("name", application_files())
def test_files_are_short(name):
    assert len((PROJECT / name).read_text().splitlines()) <= LONGEST_FILE


def test_every_folder_says_what_is_in_it():
    for name in tracked("*__init__.py"):
        docstring = ast.get_docstring(ast.parse((PROJECT / name).read_text()))
        assert docstring, f"{name} has no docstring"


def test_tests_import_nothing_from_other_test_modules():
    modules = {name.rpartition("/")[2].removesuffix(".py") for name in tracked("tests/*.py")} - {"helpers"}
    modules = {module for module in modules if module.startswith("test_")} | {"conftest"}
    for name in tracked("tests/*.py"):
        imported = {module.split("/")[0] for module in modules_of(ast.parse((PROJECT / name).read_text()))}
        assert not imported & modules, name


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

    listed = re.search(r"--help`\): (.*?)\. The folders", data_preparation.__doc__, re.DOTALL).group(1)
    folder = PROJECT / "data_preparation"
    commands = [path.stem for path in sorted(folder.glob("*.py")) if "\nif __name__ ==" in path.read_text()]
    assert re.findall(r"\w+", listed) == commands
