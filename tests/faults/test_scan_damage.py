"""Scans with changed headers: read with a finite geometry, or one clear message each, never another exception."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from scan_damage import SCANS


def check(name, folder, count, seed):
    outcomes = SCANS[name](folder, count, seed)
    print(f"{name}: seed {seed}, {count} copies, {outcomes['read']} read, {outcomes['refused']} refused")
    assert not [kind for kind in outcomes if kind.startswith("lost")], (f"seed {seed}", outcomes)


@pytest.mark.parametrize("name", SCANS)
def test_changed_headers(name, tmp_path):
    check(name, tmp_path, 50, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("name", SCANS)
def test_many_changed_headers(name, seed, tmp_path):
    check(name, tmp_path, 500, seed)
