"""OPTIMIZATION.KEEP_COMPILED: compiled code is found again, and nothing else is."""

import os
from types import SimpleNamespace

import pytest
from helpers import PROJECT, run_command

from utils.devices import kept_compilations
from utils.devices.kept_compilations import CHECKSUMS, files, keep_compilations, record, remove_unknown

COMPUTE = """
import sys
from utils.config import load_config
from utils.devices.strategy import make_strategy

make_strategy(load_config(["VERBOSE=0", "STRATEGY.NAME=single", *sys.argv[1:]]))
import numpy
from keras import ops
from utils.devices.compiled import compiled

for function in (ops.sin, ops.cos):
    print(float(compiled(lambda x: ops.sum(function(x) * 2), jit_compile=True)(numpy.arange(9, dtype="float32"))))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where compiled code is kept, with two files that were recorded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("TF_XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    keep_compilations("jax")
    kept = tmp_path / "unet-family" / os.environ.pop("JAX_COMPILATION_CACHE_DIR").rsplit("/", 1)[1]
    for number, name in enumerate("ab"):
        (kept / name).write_bytes(bytes(100))
        os.utime(kept / name, (number, number))
    record(kept)
    return kept


def names(folder):
    return [path.name for path in files(folder)]


def test_only_files_that_are_as_they_were_left_stay(folder):
    (folder / "c").write_bytes(b"of nobody")
    (folder / "d.tmp").write_bytes(b"of another process")
    remove_unknown(folder)
    assert names(folder) == ["a", "b"] and (folder / "d.tmp").exists()
    (folder / "a").write_bytes(bytes(50))
    remove_unknown(folder)
    assert names(folder) == ["b"]
    (folder / CHECKSUMS).write_text("[]")
    remove_unknown(folder)
    assert names(folder) == []


def test_the_oldest_go_where_there_are_too_many(folder, monkeypatch):
    monkeypatch.setattr(kept_compilations, "LIMIT", 150)
    remove_unknown(folder)
    assert names(folder) == ["b"]


@pytest.mark.parametrize("place", [".", ".."])
def test_a_folder_that_others_can_write_is_not_used(place, folder):
    (folder / place).chmod(0o777)
    keep_compilations("jax")
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    "name, value",
    [("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=mine"), ("JAX_COMPILATION_CACHE_DIR", "mine")],
)
def test_a_folder_of_the_environment_is_left_alone(name, value, folder, monkeypatch):
    monkeypatch.setenv(name, value)
    keep_compilations("tensorflow" if name == "TF_XLA_FLAGS" else "jax")
    assert os.environ[name] == value and "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" in os.environ


def test_a_group_that_may_write_new_files_does_not_switch_it_off(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new/home"))
    before = os.umask(0o002)
    keep_compilations("jax")
    os.umask(before)
    assert os.environ.pop("JAX_COMPILATION_CACHE_DIR").startswith(str(tmp_path / "new/home"))


def test_a_file_that_was_damaged_and_compiled_anew_stays(folder):
    (folder / "a").write_bytes(b"half")
    remove_unknown(folder)
    (folder / "a").write_bytes(b"other bytes than before")
    record(folder)
    remove_unknown(folder)
    assert names(folder) == ["a", "b"]


@pytest.mark.parametrize("reason", ["full", "space", "file of flags"])
def test_where_tensorflow_would_stop_nothing_is_kept(reason, tmp_path, folder, monkeypatch):
    """It ends a step whose compiled code it cannot write."""
    flags = ""
    if reason == "full":
        monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**20))
    elif reason == "space":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my home"))
    else:
        flags = "/flags.txt"
        monkeypatch.setenv("TF_XLA_FLAGS", flags)
    keep_compilations("tensorflow")
    assert os.environ.get("TF_XLA_FLAGS", "") == flags


def test_no_home_and_no_place_to_write_stop_nothing(tmp_path, folder, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_compilations("tensorflow")
    assert "TF_XLA_FLAGS" not in os.environ


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_next_process_finds_what_was_compiled(backend, tmp_path):
    """A file that a power cut halved is compiled again, where the backend would stop."""
    environment = {"XDG_CACHE_HOME": str(tmp_path), "KERAS_BACKEND": backend, "PYTHONPATH": str(PROJECT)}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "TF_XLA_FLAGS": ""}

    def compute(*settings):
        done = run_command("-c", COMPUTE, f"BACKEND={backend}", *settings, **environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    expected = compute("OPTIMIZATION.KEEP_COMPILED=False")
    assert not (tmp_path / "unet-family").exists()
    assert compute() == expected
    (folder,) = (tmp_path / "unet-family").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    kept = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files(folder)}
    halved, *others = kept
    assert len(others) > 0
    halved.write_bytes(kept[halved][1][:50])
    assert compute() == expected
    assert halved.stat().st_size == len(kept[halved][1])
    for path in others:
        assert (path.stat().st_mtime_ns, path.read_bytes()) == kept[path], "compiled again"
    assert names(folder) == sorted(path.name for path in kept)
