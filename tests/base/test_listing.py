"""Which files below a folder count: one walker for preparations, training, prediction and the page."""

import os
import re

import pytest
from helpers import PROJECT, run_unprivileged

from utils.base.errors import UserError
from utils.base.listing import GENERATED, expand_pattern, is_hidden, list_folder

WALKS = re.compile(r"\.(iterdir|rglob|glob|scandir|listdir|walk)\(")

# Files that walk by themselves, and why: most look for what the project itself wrote there.
OWN_FILES = {
    "data_generators/augmentation/policy_files.py": "policies of the project",
    "data_generators/files/cloud.py": "cloud storage",
    "data_preparation/common/dataset_writer.py": "whether anything was written",
    "data_preparation/common/file_lists.py": "lists of an earlier split",
    "data_preparation/common/raw_files.py": "the first files of a folder that holds no images as training reads them",
    "data_preparation/scans/manifest.py": "a folder that was just written",
    "data_preparation/scans/volume_writer.py": "manifests",
    "data_preparation/volumes.py": "manifests",
    "utils/base/backups.py": "earlier versions of a file",
    "utils/base/files.py": "leftovers, hidden ones among them",
    "utils/base/listing.py": "the walker",
    "utils/checkpoints/saved_config.py": "weights to choose from",
    "utils/checkpoints/start_weights.py": "weights of a run",
    "utils/comparison/runs.py": "runs that a pattern names",
    "utils/config/values.py": "groups of the configuration",
    "utils/devices/kept_compilations.py": "compiled code",
    "utils/inference/output.py": "whether a folder is empty",
    "utils/training/tensorboard.py": "folders of earlier runs",
}


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_no_other_file_walks_folders():
    packages = ("utils", "data_generators", "data_preparation", "models", "losses")
    files = [file for name in packages for file in (PROJECT / name).rglob("*.py")] + sorted(PROJECT.glob("*.py"))
    found = {file.relative_to(PROJECT).as_posix() for file in files if WALKS.search(file.read_text())}
    assert found == set(OWN_FILES)


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".Trashes", ".git", "$RECYCLE.BIN", *GENERATED])
def test_hidden_and_generated_folders_are_never_searched(tmp_path, hidden):
    make(tmp_path, "b.png", f"{hidden}/copy.png", f"deep/{hidden}/copy.png", "deep/a.PNG", "notes.txt", "._b.png")
    found = list_folder(tmp_path, [".png"], recursive=True)
    assert names(found.files, tmp_path) == ["b.png", "deep/a.PNG"]
    assert names(found.others, tmp_path) == ["notes.txt"]
    assert set(names(found.hidden, tmp_path)) == {"._b.png", hidden, f"deep/{hidden}"}
    for pattern in ("*.png", "**/*.png", "*/*.png", "**/*.PNG"):
        assert not any(is_hidden(part) for path in expand_pattern(tmp_path / pattern) for part in path.parts[-2:])


def test_a_folder_that_the_user_names_is_searched_whatever_its_name(tmp_path):
    make(tmp_path, ".data/a.png", ".data/.b.png")
    assert names(list_folder(tmp_path / ".data", [".png"]).files, tmp_path) == [".data/a.png"]
    assert names(expand_pattern(tmp_path / ".data" / "*.png"), tmp_path) == [".data/a.png"]
    assert names(expand_pattern(tmp_path / ".data" / ".b.png"), tmp_path) == [".data/.b.png"]
    assert names(expand_pattern(tmp_path / ".d*" / "*.png"), tmp_path) == [".data/a.png"]


def test_a_pattern_finds_what_the_standard_library_finds(tmp_path):
    make(tmp_path, "p1/ct.nii", "p2/ct.nii", "p2/x/ct.nii", "p[3]/ct.nii", "ct.nii")
    for pattern in ("*/ct.nii", "**/ct.nii", "p?/*", "p[12]/ct.nii", "p2/**/ct.nii", "**", "*/*/*", "none*", "p2/x/*"):
        expected = sorted(path for path in tmp_path.glob(pattern) if pattern != "**" or path != tmp_path)
        found = [path for path in expand_pattern(tmp_path / pattern) if path != tmp_path]
        assert [path for path in found if path.is_file()] == [path for path in expected if path.is_file()] or (
            pattern == "**"  # here files count as well, as in a shell
        )
    assert names(expand_pattern(tmp_path / "p[3]" / "*.nii"), tmp_path) == ["p[3]/ct.nii"]  # a folder of that name


def test_links_that_lead_nowhere_are_counted(tmp_path):
    make(tmp_path, "a.png")
    for name in ("b.png", "c.png"):
        (tmp_path / name).symlink_to(f".git/annex/objects/{name}")
    for search in (lambda: list_folder(tmp_path, [".png"]), lambda: expand_pattern(tmp_path / "*.png")):
        with pytest.raises(UserError, match=r"2 links lead nowhere, such as .*b\.png to \.git/annex"):
            search()
    assert list_folder(tmp_path, [".nii"]).files == []  # they were not asked for
    with pytest.raises(UserError, match="2 links lead nowhere"):
        list_folder(tmp_path, [".nii"], recursive=True)  # they could be folders


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path):
    make(tmp_path, "disk/a.png", "data/b.png")
    (tmp_path / "data" / "disk").symlink_to(tmp_path / "disk")
    (tmp_path / "data" / "self").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "up").symlink_to(tmp_path)
    found = list_folder(tmp_path / "data", [".png"], recursive=True).files
    assert names(found, tmp_path) == ["data/b.png", "data/disk/a.png"]
    assert len(expand_pattern(tmp_path / "data" / "**" / "*.png")) == 2
    (tmp_path / "data" / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="1 link leads nowhere"):
        list_folder(tmp_path / "data", [".png"], recursive=True)


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path):
    """In a process of its own, which gives up the right of root to read everything."""
    make(tmp_path, "a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)
    script = (
        "import sys; from pathlib import Path; from utils.base.errors import UserError\n"
        "from utils.base.listing import expand_pattern, list_folder\n"
        "root = Path(sys.argv[1])\n"
        "closed = root / 'closed'\n"
        "for search in (lambda: list_folder(root, ['.png'], recursive=True), lambda: list_folder(closed),\n"
        "               lambda: expand_pattern(root / '**' / '*.png'), lambda: expand_pattern(closed / 'b*')):\n"
        "    try: print('found', search())\n"
        "    except UserError as error: print(error)\n"
    )
    try:
        result = run_unprivileged("-c", script, tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"{tmp_path / 'closed'}: cannot be read: Permission denied."] * 4


def test_names_that_are_not_utf8_are_listed(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/br\xfcste.png", os.O_CREAT | os.O_WRONLY))
    assert len(list_folder(tmp_path, [".png"]).files) == len(expand_pattern(tmp_path / "*.png")) == 1
