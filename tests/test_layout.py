"""The structure of the code: who may import whom, no circles, short files and functions, imports at the top."""

import ast
import functools
import itertools
import re
from collections.abc import Iterator

from helpers import PROJECT, tracked

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
    # A plan may start with the network and the weights of a run.
    "data_preparation": CONFIGURED | {"data_generators", "utils/checkpoints"},
    "utils/checkpoints": CONFIGURED | {"models"},
    "utils/devices": CONFIGURED,
    # Scans are read for prediction as the preparation reads them for training.
    "utils/inference": CONFIGURED | SHARED | {"data_preparation", "utils/checkpoints", "utils/devices"},
    # Scans of any tool are scored as they are read.
    "utils/evaluation": CONFIGURED
    | SHARED
    | {"data_preparation", "utils/checkpoints", "utils/devices", "utils/inference"},
    "utils/training": CONFIGURED
    | SHARED
    | {"utils/checkpoints", "utils/devices", "utils/inference", "utils/evaluation"},
    "utils/comparison": CONFIGURED
    | SHARED
    | {"utils/checkpoints", "utils/devices", "utils/inference", "utils/evaluation", "utils/training"},
    # Cases that stay together are grouped as the preparation splits them.
    "utils/choice": CONFIGURED
    | SHARED
    | {"data_preparation", "utils/checkpoints", "utils/inference", "utils/evaluation", "utils/comparison"},
    "utils/export": CONFIGURED
    | SHARED
    | {"data_preparation", "utils/checkpoints", "utils/devices", "utils/inference", "utils/evaluation"},
}
# The tables that rules of the config take their choices from are named by strings and loaded when a value is checked.
CHOICES = {"utils/config": {"models", "losses", "data_generators", "utils/devices", "utils/training", "utils/export"}}
# May be imported inside functions, so that `--help`, a typo in a setting and commands that need none of these answer at
# once; and what only some users install. So may a module of ours that imports one of them at its top.
HEAVY = {
    "tensorflow",
    "keras",
    "jax",
    "h5py",
    "matplotlib",
    "scipy",
    "skimage",
    "sklearn",
    "albumentations",
    "nibabel",
    "pydicom",
    "rich",
}
OPTIONAL = {
    "gradio",
    "kubernetes",
    "mlflow",
    "nvidia",
    "onnxruntime",
    "starlette",
    "tensorflow_datasets",
    "wandb",
}
LONGEST_FILE = 300
LONGEST_FUNCTION = 70  # lines without the docstring


def application_files() -> list[str]:
    """Every Python file that users run, the entries included."""
    return [name for name in tracked("*.py") if not name.startswith(("tests/", "benchmarks/", "docs/"))]


def layered_files() -> list[str]:
    """Those that belong to a layer: all but the entries, which put the parts together."""
    return [name for name in application_files() if not is_entry(name) and name != "utils/__init__.py"]


def is_entry(name: str) -> bool:
    """Whether a file is a command that puts the parts together; those of data_preparation are a layer."""
    is_command = '\nif __name__ == "__main__":' in (PROJECT / name).read_text()
    return "/" not in name or (is_command and not name.startswith("data_preparation/"))


@functools.cache
def parse(name: str) -> ast.Module:
    return ast.parse((PROJECT / name).read_text())


def layer_of(path: str) -> str | None:
    """The entry of LAYERS that a file or module path belongs to, or None."""
    fitting = [layer for layer in LAYERS if path == layer or path.startswith((f"{layer}/", f"{layer}."))]
    return max(fitting, key=len, default=None)


def modules_of(*nodes: ast.AST) -> set[str]:
    """Every module or name that import statements below these nodes name, as a path: `utils/base/errors`."""
    found = set()
    for node in itertools.chain.from_iterable(map(ast.walk, nodes)):
        if isinstance(node, ast.Import):
            found |= {alias.name.replace(".", "/") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}".replace(".", "/") for alias in node.names}
    return found


def tables_of(tree: ast.Module) -> set[str]:
    """The modules that "package.module:NAME" strings name, as paths."""
    strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    matches = (re.fullmatch(r"([a-z_]+(?:\.[a-z_0-9]+)*):[A-Za-z_]\w*", string) for string in strings)
    return {match.group(1).replace(".", "/") for match in matches if match}


def files_of(module: str) -> list[str]:
    """The file of ours that a module path names, and that of its last name's module."""
    paths = (module, module.rpartition("/")[0])
    files = (f"{path}{end}" for path in paths for end in (".py", "/__init__.py"))
    return [file for file in files if (PROJECT / file).is_file()]


def imports_at_the_top(name: str) -> list[ast.stmt]:
    return [node for node in parse(name).body if isinstance(node, (ast.Import, ast.ImportFrom))]


@functools.cache
def files_loaded_by(name: str) -> frozenset[str]:
    """Files of ours that a file's imports at the top load; packages on the way included."""
    found = set()
    for imported in modules_of(*imports_at_the_top(name)):
        parts = imported.split("/")
        for length in range(1, len(parts) + 1):
            path = "/".join(parts[:length])
            found |= {file for file in (f"{path}.py", f"{path}/__init__.py") if (PROJECT / file).is_file()}
    return frozenset(found - {name})


@functools.cache
def is_heavy(name: str) -> bool:
    """Whether loading a file of ours loads one of HEAVY or OPTIONAL."""
    to_visit, seen = [name], {name}
    while to_visit:
        file = to_visit.pop()
        if {module.split("/")[0] for module in modules_of(*imports_at_the_top(file))} & (HEAVY | OPTIONAL):
            return True
        to_visit += files_loaded_by(file) - seen
        seen |= files_loaded_by(file)
    return False


def late_imports(name: str) -> set[tuple[int, str]]:
    """Imports inside functions: line and module path."""
    functions = (node for node in ast.walk(parse(name)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    statements = {
        node for function in functions for node in ast.walk(function) if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    return {(node.lineno, module) for node in statements for module in modules_of(node)}


def test_every_file_belongs_to_a_layer():
    """A new folder must be entered in LAYERS; this fails until it is."""
    assert [name for name in layered_files() if layer_of(name) is None] == []
    gone = [layer for layer in LAYERS if not tracked(f"{layer}/*.py", f"{layer}.py")]
    assert gone == [], "LAYERS names what is not there"


def test_no_import_runs_upwards():
    problems = []
    for name in layered_files():
        layer = layer_of(name)
        if layer is None:
            continue  # a failure of the test before
        for imported in modules_of(parse(name)):
            is_script = (PROJECT / f"{imported.split('/')[0]}.py").is_file()
            if is_script or layer_of(imported) not in (None, layer, *LAYERS[layer]):
                problems.append(f"{name} imports {imported}")
        for table in tables_of(parse(name)):
            if layer_of(table) not in (None, layer, *LAYERS[layer], *CHOICES.get(layer, ())):
                problems.append(f"{name} names {table}")
    assert problems == []


def test_strings_that_name_a_module_lead_somewhere():
    """Those of this project: "models:MODEL_TYPES". The part after the colon is checked where the string is loaded."""
    folders = {name.split("/")[0] for name in application_files()}
    for name in application_files():
        for table in tables_of(parse(name)):
            if table.split("/")[0] in folders:
                assert (PROJECT / f"{table}.py").is_file() or (PROJECT / table / "__init__.py").is_file(), (name, table)


def test_no_imports_in_a_circle():
    """Imports at the top of files, from file to file."""
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for imported in sorted(modules_of(*imports_at_the_top(name))):
            for file in files_of(imported):
                if file != name:
                    visit(file)
        path.pop()
        done.add(name)

    for name in application_files():
        visit(name)


def test_models_and_losses_do_without_tensorflow():
    # The exceptions choose TensorFlow's fused kernels when TensorFlow is Keras's backend.
    allowed = {f"models/layers/{name}.py" for name in ("aligned_upsampling", "batch_norm", "convolution", "winograd")}
    for name in tracked("models/*.py", "losses/*.py"):
        frameworks = {module.split("/")[0] for module in modules_of(parse(name))} & {"tensorflow", "jax", "torch"}
        assert not frameworks or name in allowed, name


def test_imports_are_at_the_top_unless_they_are_heavy():
    problems = []
    for name in application_files():
        for line, module in late_imports(name):
            if module.split("/")[0] not in HEAVY | OPTIONAL and not any(map(is_heavy, files_of(module))):
                problems.append(f"{name}:{line} imports {module.replace('/', '.')} inside a function")
    assert sorted(problems) == []


def test_files_are_short():
    lengths = {name: len((PROJECT / name).read_text().splitlines()) for name in application_files()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_functions_are_short():
    lengths = {}
    for name in application_files():
        for node in ast.walk(parse(name)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lengths[f"{name}:{node.name}"] = node.end_lineno - body[0].lineno + 1  # without the docstring
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_every_folder_says_what_is_in_it():
    for name in tracked("*__init__.py"):
        assert ast.get_docstring(parse(name)), f"{name} has no docstring"
    for folder in {name.rpartition("/")[0] for name in application_files()} - {""}:
        assert (PROJECT / folder / "__init__.py").is_file() or (PROJECT / folder / "README.md").is_file(), folder


def test_folders_of_tests_mirror_the_packages():
    """`tests/models` tests `models/`, `tests/inference` tests `utils/inference/`."""
    # Whole commands, damage and kills of them, what made the values of other code.
    more = {"commands", "faults", "references"}
    folders = {name.split("/")[1] for name in tracked("tests/*/*.py")}
    packages = {name.split("/")[0] for name in tracked("*/*.py")}
    packages |= {name.split("/")[1] for name in tracked("utils/*/*.py")}
    assert folders - packages - more == set()


def test_tests_import_nothing_from_other_test_modules():
    """What several tests need is in a `*helpers.py` of tests/, or a fixture of a conftest.py."""
    modules = {name.rpartition("/")[2].removesuffix(".py") for name in tracked("tests/*.py")}
    modules = {module for module in modules if module == "conftest" or module.startswith("test_")}
    for name in tracked("tests/*.py"):
        imported = {module.split("/")[0] for module in modules_of(parse(name))}
        assert not imported & modules, name
    assert [name for name in tracked("tests/*helpers.py") if name.count("/") > 1] == []


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


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions of a module and methods of its classes; not those inside functions."""
    for node in itertools.chain(tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_functions_are_annotated():
    bare = []
    for name in application_files():
        for function in public_functions(parse(name)):
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            named = [argument for argument in arguments if argument.arg not in ("self", "cls")]
            if function.returns is None or any(argument.annotation is None for argument in named):
                bare.append(f"{name}:{function.lineno} {function.name}")
    assert not bare
