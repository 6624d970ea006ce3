"""The lists of requirements agree with each other, with what is imported and with the Pythons that are promised."""

import ast
import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

from helpers import PROJECT, tracked
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LISTS = sorted(path.name for path in PROJECT.glob("requirements*.txt"))
PYTHONS = ["3.11", "3.12", "3.13"]

# Import names that are not the name of the package.
PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "google_crc32c": "google-crc32c",
    "hydra": "hydra-core",
    "nvidia": "nvidia-dali-cuda120",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# Packages in no list: whoever turns the option on installs them, and an error names them where they are missing.
OPTIONAL = {"kubernetes", "mlflow", "tensorflow_datasets", "wandb"}
# The only files that import what is not in requirements.txt, and the list that they need.
MORE = {
    "app.py": "requirements-app.txt",
    "utils/export/": "requirements-export.txt",
    "data_generators/loaders/dali": "requirements-dali.txt",
}


def read(name: str) -> dict[str, Requirement]:
    """The packages of a list and of the lists that it includes."""
    packages = {}
    for line in (PROJECT / name).read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            packages |= read(line.removeprefix("-r "))
        elif line:
            requirement = Requirement(line)
            packages[canonicalize_name(requirement.name)] = requirement
    return packages


def own_lines(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (PROJECT / name).read_text().splitlines())
    return [line for line in lines if line]


def test_a_list_of_the_application_is_the_base_and_its_backend():
    backends = {
        "requirements.txt": {"tensorflow"},
        "requirements-tpu.txt": {"tensorflow-tpu"},
        "requirements-jax.txt": {"jax"},
    }
    for name, packages in backends.items():
        assert own_lines(name)[0] == "-r requirements-base.txt"
        assert set(read(name)) - set(read("requirements-base.txt")) == packages


def test_the_page_in_the_browser_comes_without_a_backend():
    """So that it does not bring TensorFlow to an environment of JAX."""
    assert not set(read("requirements-app.txt")) & {"tensorflow", "tensorflow-tpu", "jax"}


def test_every_other_list_includes_the_application_or_adds_to_it():
    for name in LISTS:
        if name not in ("requirements-base.txt", "requirements-docs.txt"):
            assert "keras" in read(name), name
    dev = read("requirements-dev.txt")
    for name in LISTS:
        assert set(read(name)) - set(dev) <= {"tensorflow-tpu"}, f"requirements-dev.txt lacks packages of {name}"


def test_no_package_is_in_two_lists():
    """One place for the range of a package."""
    found = {}
    for name in LISTS:
        for line in own_lines(name):
            if not line.startswith("-r"):
                found.setdefault(canonicalize_name(Requirement(line).name), []).append(name)
    assert {package: names for package, names in found.items() if len(names) > 1} == {}


def test_every_requirement_has_a_floor_and_a_ceiling():
    for name in LISTS:
        for requirement in read(name).values():
            operators = {specifier.operator for specifier in requirement.specifier}
            assert operators >= {">=", "<"} or operators == {"=="} or requirement.name.startswith("types-"), requirement


def imports(name: str | Path) -> set[str]:
    """The top-level modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((PROJECT / name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def is_third_party(module: str) -> bool:
    ours = {
        path.stem for path in (*PROJECT.iterdir(), *PROJECT.glob("tests/**/*.py"), *PROJECT.glob("benchmarks/**/*.py"))
    }
    return module not in sys.stdlib_module_names and module not in ours


def test_every_import_of_the_application_is_in_its_list():
    for name in tracked("*.py"):
        if name.startswith(("tests/", "benchmarks/", "docs/")):
            continue
        needed = next((more for prefix, more in MORE.items() if name.startswith(prefix)), "requirements.txt")
        for module in filter(is_third_party, imports(name)):
            package = canonicalize_name(PACKAGES.get(module, module))
            known = module in OPTIONAL | {"jax"} or package in read(needed)
            assert known, f"{name} imports {module}, {needed} lacks {package}"


def test_every_import_of_the_tests_is_in_the_list_for_development():
    dev = read("requirements-dev.txt") | dict.fromkeys(["packaging", "nbformat"])  # pytest and nbclient bring these
    # The scripts among the references run where the originals are installed.
    for name in (name for name in tracked("tests/*.py") if not str(name).startswith("tests/references/")):
        for module in filter(is_third_party, imports(name)):
            assert canonicalize_name(PACKAGES.get(module, module)) in dev, f"{name} imports {module}"


def test_the_base_has_what_efficientnet_imports():
    """TensorFlow brings six, which efficientnet does not name among its requirements; JAX does not."""
    place = Path(importlib.util.find_spec("efficientnet").origin).parent
    named = {Requirement(line).name for line in importlib.metadata.requires("efficientnet")}
    known = set(read("requirements-base.txt")) | {canonicalize_name(name) for name in named}
    needed = {canonicalize_name(module) for module in imports(place / "model.py") if is_third_party(module)}
    assert needed - {"tensorflow"} <= known  # TensorFlow within a function, for Keras 2


def test_every_package_of_the_base_is_used():
    """A package that nothing imports is a mistake, but for those that others load by name."""
    # efficientnet by a row of a table, imagecodecs by tifffile, six by efficientnet, tensorboard by Keras
    by_name = {"efficientnet", "imagecodecs", "six", "tensorboard"}
    used = set().union(*(imports(name) for name in tracked("*.py") if not name.startswith(("tests/", "benchmarks/"))))
    used = {canonicalize_name(PACKAGES.get(module, module)) for module in used}
    assert set(read("requirements-base.txt")) - used - by_name == set()


def test_the_constraints_are_exact_and_within_the_ranges():
    constraints = {}
    for line in own_lines("constraints.txt"):
        name, _, version = line.partition("==")
        assert re.fullmatch(r"[\w.]+", version), line
        constraints[canonicalize_name(name)] = version
    for package, requirement in read("requirements-dev.txt").items():
        assert package in constraints, f"constraints.txt lacks {package}: make constraints"
        assert requirement.specifier.contains(constraints[package]), (
            f"{requirement}, constraints.txt: {constraints[package]}"
        )


def test_every_place_names_the_same_pythons():
    first, last = PYTHONS[0], PYTHONS[-1]
    makefile, workflow = ((PROJECT / name).read_text() for name in ("Makefile", ".github/workflows/tests.yml"))
    assert re.search(r"python:? \[(.*)\]", workflow).group(1).replace('"', "").split(", ") == PYTHONS
    assert f"({first.replace('.', ', ')}) <= sys.version_info[:2] <= ({last.replace('.', ', ')})" in makefile
    assert f'target-version = "py{first.replace(".", "")}"' in (PROJECT / "pyproject.toml").read_text()
    assert f"Python {first} to {last}" in (PROJECT / "requirements-base.txt").read_text()
    readme = (PROJECT / "README.md").read_text()
    assert f"Python {', '.join(PYTHONS[:-1])} or {last}" in readme
