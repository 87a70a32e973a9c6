"""Devices that a latency can be measured on."""
