"""Earlier versions of a file: a run that is killed and resumes leaves those of a run that is not."""

import os
from pathlib import Path

import pytest

from utils.base.backups import list_versions
from utils.base.files import atomic_write

KEPT = 3
LINK = os.link


def save(path, text):
    with atomic_write(path, backups=KEPT) as temporary:
        temporary.write_text(text)


def read(path):
    return {version.name: version.read_text() for version in list_versions(path)}


class Killed(BaseException):
    """In place of SIGKILL."""


def kill_at(patch, moment, links):
    """Raise Killed in place of a change to the folder, after `moment` of them."""
    calls = []

    def wrap(change):
        def changed(*arguments, **options):
            calls.append(change)
            if len(calls) > moment:
                raise Killed
            if change is LINK and not links:
                raise OSError
            return change(*arguments, **options)

        return changed

    patch.setattr(os, "link", wrap(os.link))
    patch.setattr(os, "replace", wrap(os.replace))
    patch.setattr(Path, "unlink", wrap(Path.unlink))


@pytest.mark.parametrize("repeated", [0, 1, 2])
@pytest.mark.parametrize("links", [True, False])
def test_killed_at_every_moment(repeated, links, tmp_path, monkeypatch):
    """Killed before each change to the folder, it writes up to `repeated` earlier versions again."""
    versions, whole = "abcdefg", tmp_path / "whole" / "m.weights.h5"
    for text in versions:
        save(whole, text)
    killed = []
    for moment in range(10):
        path = tmp_path / str(moment) / "m.weights.h5"
        for text in versions[:5]:
            save(path, text)
        with monkeypatch.context() as patch:
            kill_at(patch, moment, links)
            try:
                save(path, versions[5])
            except Killed:
                killed.append(moment)
        for leftover in path.parent.glob(".*"):
            leftover.unlink()
        for text in versions[5 - repeated :]:
            save(path, text)
        assert read(path) == read(whole), moment
    assert 5 <= len(killed) < 10


def test_a_state_saved_on_demand_is_no_version(tmp_path):
    from utils.training.state import find_outdated, write_state

    path = tmp_path / "m.state.npz"

    def about(epoch, step):
        config = {"RUN": "a", "HYPER_PARAMETERS": {"EPOCHS": 9}}
        return {"epoch": epoch, "step": step, "finished": False, "config": config, "callbacks": {}}

    for position in ((1, 0), (1, 2), (1, 3), (1, 3), (1, 4)):
        metadata = about(*position)
        write_state(path, metadata, [], 2, find_outdated(path, metadata, 2))
    assert len(list_versions(path)) == 3
    assert find_outdated(path, about(1, 2), 2) == list_versions(path)[:2]
    path.write_bytes(b"damaged")
    assert find_outdated(path, about(1, 6), 2) == [path]
    assert find_outdated(path, {**about(1, 0), "config": {"RUN": "b"}}, 2) == [path]
