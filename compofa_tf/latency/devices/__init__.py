"""Devices that a latency can be measured on: a module each, and a row of ``device.DEVICES``."""
