"""Signals that stop a run: collected once, then as usual."""

from __future__ import annotations

import signal
import threading

import pytest

from compofa_tf.training.signals import stop_signals


def test_the_first_signal_of_a_kind_is_collected_and_the_second_acts():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stop_signals() as received:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert received == [signal.SIGTERM, signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_than_the_main_one_trains_without():
    found = []

    def work():
        with stop_signals() as received:
            found.append((received, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], before)]
