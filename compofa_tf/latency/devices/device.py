"""What a device is, and the table of those that are known by name. No TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from compofa_tf.errors import InputError
from compofa_tf.latency.devices.host import Host
from compofa_tf.latency.timings import Times

DECISIVE = ("processor", "runtime_version", "delegate")
"""The parts of a description without which two measurements cannot be compared."""


@runtime_checkable
class Device(Protocol):
    """Something that ``.tflite`` files can be timed on. Any object with these three is one; none has to inherit."""

    @property
    def name(self) -> str:
        """What tables, fronts and rows call it, for example ``"host"``."""

    def describe(self) -> dict[str, Any]:
        """Returns the conditions of a measurement that starts now, as plain JSON values.

        Returns:
          At least ``processor``, ``runtime_version``, ``delegate`` (together ``DECISIVE``) and ``date`` (ISO 8601 with
          time zone); and whatever else helps to judge the figures.

        Raises:
          InputError: If the device cannot be reached.
        """

    def time(
        self, models: Sequence[str | os.PathLike[str]], *, threads: int, runs: int, warmup: int, rounds: int
    ) -> list[Times]:
        """Times several models in turns, so that a device that slows down slows all of them.

        Args:
          models: ``.tflite`` files; all are held in memory at a time.
          threads: CPU threads, at least 1.
          runs: Inferences of a model in one turn, at least 1.
          warmup: Inferences of a model before its first turn.
          rounds: Turns of every model, at least 1.

        Returns:
          The times of each model, over ``runs * rounds`` inferences.

        Raises:
          InputError: If a number is out of range, a file is missing, or the runtime fails on it.
        """


DEVICES: dict[str, Callable[[], Device]] = {"host": Host}
"""Devices by name. A new one is a module beside this one and a row here."""


def open_device(device: str | Device) -> Device:
    """Returns a device by name, or the one that was given.

    Args:
      device: A name of ``DEVICES``, or anything with the methods of ``Device``.

    Raises:
      InputError: If there is none of that name.
    """
    if isinstance(device, Device):
        return device
    if device not in DEVICES:
        raise InputError(
            f"only device {' or '.join(map(repr, DEVICES))} can be measured ('host' is this machine); phones and "
            f"boards come in a later release. Received: device={device!r}"
        )
    return DEVICES[device]()
