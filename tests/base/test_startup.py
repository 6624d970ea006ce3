"""Signals while native libraries start and while a training runs."""

import signal
import subprocess
import sys

import pytest
from helpers import PROJECT

from utils.base.startup import interrupt_later, restore_signal_handlers


def test_an_interrupt_waits_for_the_end_of_the_block():
    with pytest.raises(KeyboardInterrupt), interrupt_later():
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signal_handlers_are_restored_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError), restore_signal_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) is before


def test_keras_starts_without_what_no_command_uses():
    program = """
import sys
from utils.base.startup import UNUSED_BY_KERAS
from utils.config import load_config
from utils.devices.strategy import make_strategy
make_strategy(load_config(["VERBOSE=0"]))
print(*(name for name in UNUSED_BY_KERAS if name in sys.modules and name != "tensorflow"))
import matplotlib, sklearn, pandas
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr
