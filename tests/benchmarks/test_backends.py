"""benchmarks/backends.py at toy size."""

import pytest
from helpers import PROJECT, run_command


def test_a_backend_that_fails_is_a_row_that_says_why(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    import backends

    found = {"images/s": 3.0, "step s": 0.5, "peak GiB": 1.0, "first step s": 9.4}
    rows = list(backends.table_rows("toy", "training", {"tensorflow": found, "jax": "out of memory"}))
    assert rows == [
        "| toy 32 batch 2 | training | tensorflow | 3.00 | 0.500 | 1.00 | 1.00 | 9 |",
        "| toy 32 batch 2 | training | jax | out of memory | | | | |",
    ]


@pytest.mark.slow
def test_both_backends_are_measured():
    done = run_command("benchmarks/backends.py", "--only", "toy", "--rounds", 2)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line for line in done.stdout.splitlines() if line.startswith("| toy")]
    assert [row.count("|") for row in rows] == [9] * 4
    assert "load before" in done.stdout
