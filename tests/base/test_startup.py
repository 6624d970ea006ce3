"""Signals while native libraries start and while a training runs."""

import signal

import pytest

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
