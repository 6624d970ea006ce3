"""benchmarks/commands.py: its phases are functions of train.py, and a phase ends with the first call."""

from helpers import import_benchmark

import train


def test_phases_are_functions_of_train():
    commands = import_benchmark("commands")
    assert all(callable(getattr(train, name)) for name in commands.PHASES)


def test_a_phase_ends_with_the_first_call():
    ended = []
    double = import_benchmark("commands").marked(lambda value: 2 * value, "settings", ended.append)
    assert (double(2), double(3), ended) == (4, 6, ["settings"])
