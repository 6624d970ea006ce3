"""Whole files with unexpected content: one clear message each, never another exception."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from structure import STRUCTURES, outcomes_of

SEED = 0


def check(name, folder, count, seed):
    outcomes = outcomes_of(name, folder, count, seed)
    print(f"{name}: seed {seed}, {count} copies, {outcomes['read']} read, {outcomes['refused']} refused")
    assert not [kind for kind in outcomes if kind.startswith("lost")], (f"seed {seed}", outcomes)


@pytest.mark.parametrize("name", STRUCTURES)
def test_changed_structures(name, tmp_path):
    check(name, tmp_path, 25, SEED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("name", STRUCTURES)
def test_many_changed_structures(name, seed, tmp_path):
    check(name, tmp_path, 500, seed)
