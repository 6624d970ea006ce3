"""README and docs: links lead somewhere, settings and paths exist, and marked commands run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import PROJECT
from omegaconf import DictConfig, OmegaConf

from data_generators import LOADERS
from losses import LOSSES
from utils.config import load_config

MAX_README_WORDS = 1200
RUN_SECONDS = 240  # limit of one page, far above what it takes

PAGES = sorted(
    path.relative_to(PROJECT).as_posix()
    for path in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("*/README.md"))
)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# A marked block: <!-- runnable -->, <!-- continued --> (runs with the block before it), <!-- create: FILE -->,
# <!-- append: FILE --> or <!-- insert: FILE after LINE -->
MARKED = re.compile(
    r"^( *)<!-- (runnable|continued|create|append|insert):?(?: (\S+))?(?: after (.+?))? -->\n\1```(\w+)\n(.*?)^\1```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
KEY = re.compile(r"(?<![\w.\-$])\+?([A-Z][A-Z_0-9]+(?:\.\w+)*)=")
DOTTED_KEY = re.compile(r"(?<![\w.\-/])([A-Z][A-Z_0-9]*(?:\.[A-Z_0-9]+)+)(?![\w.(])")
# Words of that form that are no settings: variables of the environment or of a shell, code.
NO_SETTINGS = {
    "KERAS_BACKEND",
    "OMP_WAIT_POLICY",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "LD_PRELOAD",
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR",
    "REQUIREMENTS",
    "TF_CONFIG",
    "TMPDIR",
    "REPO_URL",
    "KEY",
    "NO_COLOR",
    "O",
    "SBATCH",
    "TERM",
    "VERSION",
}
# Names that pages on extending invent; what holds one of them need not exist.
INVENTED = re.compile(r"cells|power_jaccard|SHARPEN|ALPHA|CLIP_VALUE|chase|linknet|PLAIN|plain|h5|SECTION\.KEY|<name>")


def read(page: str) -> str:
    return (PROJECT / page).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text)


def slugs(text: str) -> set[str]:
    """The anchors that a code host makes of the headings of a page."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if number == 0 else f"{slug}-{number}" for slug, last in found.items() for number in range(last + 1)}


def settings_keys() -> set[str]:
    """Every dotted key of the config, groups and leaves; options of all loss terms are in it."""

    def walk(node: DictConfig, prefix: str) -> None:
        for name in node:
            keys.add(f"{prefix}{name}")
            child = OmegaConf.to_container(node, resolve=False)[name]
            if isinstance(child, dict):
                walk(node[name], f"{prefix}{name}.")

    keys: set[str] = set()
    walk(load_config([]), "")
    return keys | {f"LOSS.{term}" for term in LOSSES}


@pytest.fixture(scope="module")
def keys() -> set[str]:
    return settings_keys()


def test_readme_is_short():
    assert len(read("README.md").split()) <= MAX_README_WORDS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    problems = []
    for target in LINK.findall(prose(read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (PROJECT / page).parent / path if path else PROJECT / page
        if not file.exists():
            problems.append(f"{target}: no such file")
        elif anchor and anchor not in slugs(file.read_text(encoding="utf-8")):
            problems.append(f"{target}: no such heading; there are {sorted(slugs(file.read_text(encoding='utf-8')))}")
        elif file.is_dir():
            problems.append(f"{target}: link to a file of the folder, websites show no folders")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("page", PAGES)
def test_settings_exist(page, keys):
    text = read(page)
    named = {name for name in KEY.findall(text) if name.split(".")[0] not in NO_SETTINGS}
    named |= set(DOTTED_KEY.findall(text))
    unknown = sorted(name for name in named - keys if not INVENTED.search(name))
    assert not unknown, f"settings that are not in configs/config.yaml: {unknown}"


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page):
    """What stands in backticks and begins with a folder of the tree, or is a script, exists."""
    tracked = {path.name for path in PROJECT.iterdir() if path.is_dir()} - {
        "checkpoint",
        "data",
        "demo",
        "predictions",
        "site",
    }
    missing = []
    for code in re.findall(r"`([^`\n]+)`", prose(read(page))):
        for word in code.split():
            word = word.split("::")[0].rstrip(".,;:/")
            top = word.split("/")[0]
            is_path = ("/" in word and top in tracked) or re.fullmatch(r"[\w-]+\.(py|ipynb|toml)", word)
            if not is_path or re.search(r"[<>{}*$]|NAME", word) or INVENTED.search(word):
                continue
            folders = ("data_preparation", "benchmarks", Path(page).parent)
            near = [PROJECT / word, *(PROJECT / folder / word for folder in folders)]
            if not any(path.exists() for path in near):
                missing.append(word)
    assert not missing, f"paths that do not exist: {sorted(set(missing))}"


def test_every_loss_and_loader_is_listed():
    losses, loaders = read("docs/reference/losses.md"), read("docs/reference/loaders.md")
    assert [term for term in LOSSES if f"`{term}`" not in losses] == []
    assert [name for name in LOADERS if f"`{name}`" not in loaders] == []


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/-]+\.md", read("mkdocs.yml")))
    assert listed == {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}


def test_site_builds(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install -r requirements-docs.txt")
    site = tmp_path / "site"
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (site / "how-to" / "predict.html").is_file()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A copy of the project with a prepared phantom in `data`."""
    copy = tmp_path_factory.mktemp("docs") / "project"
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    for name in filter(None, names):
        if (PROJECT / name).is_file() and not name.startswith("tests/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, copy / name)
    run_block(copy, "sh", "python data_preparation/make_phantom.py data --size 48")
    run_block(copy, "sh", "python data_preparation/preprocess_data.py INPUT.HEIGHT=48 INPUT.WIDTH=48")
    return copy


def run_block(folder: Path, language: str, text: str) -> None:
    """Run a code block as a reader would, in the folder of the project."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-c", text] if language == "python" else ["bash", "-euo", "pipefail", "-c", text]
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"
    assert "InitializeLog" not in result.stderr, "TensorFlow's own lines are seen"


def edit(folder: Path, action: str, name: str, line: str, text: str) -> None:
    """Change a file as a page tells its reader to."""
    file = folder / name
    if action == "create":
        assert not file.exists(), f"{name} is there already"
        file.write_text(text)
    elif action == "append":
        file.write_text(file.read_text() + ("\n\n" if file.suffix == ".py" else "") + text)
    else:
        changed, times = re.subn(
            rf"^ *{re.escape(line)}.*\n", lambda found: found[0] + text, file.read_text(), flags=re.M
        )
        assert times == 1, f"{name} has {times} lines that start with {line!r}"
        file.write_text(changed)


def narrow(text: str) -> str:
    """The block with networks of few filters and a simple loss: whether its commands work depends on neither."""
    command = "python train.py MODEL.TYPE=tiny_unet3plus"
    return text.replace(command, f"{command} MODEL.FILTERS=[4,8] loss=dice")


def follow(page: str, folder: Path) -> None:
    """Do what the marked blocks of a page say, in their order."""
    steps: list[list[str]] = []
    for indent, action, name, line, language, block in MARKED.findall(read(page)):
        text = re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)
        if action == "continued":
            steps[-1][-1] += text
        else:
            steps.append([action, name, line, language, text])
    for action, name, line, language, text in steps:
        if action == "runnable":
            run_block(folder, language, narrow(text))
        else:
            edit(folder, action, name, line, text)


WITH_BLOCKS = [page for page in PAGES if MARKED.search(read(page))]
EXTENDING = [page for page in WITH_BLOCKS if page.startswith("docs/extending/")]


@pytest.mark.parametrize("page", [page for page in WITH_BLOCKS if page not in EXTENDING])
def test_marked_blocks_run(page, prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "project")
    follow(page, tmp_path / "project")


@pytest.mark.slow
@pytest.mark.parametrize("page", EXTENDING)
def test_extending_works_to_the_letter(page, prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "project")
    follow(page, tmp_path / "project")
