"""No TensorFlow operation runs before there is work, so that a strategy for several machines can be made first."""

from __future__ import annotations

import json
import os
import pkgutil
import socket
import subprocess
import sys

import compofa_tf

PREPARED = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import tensorflow as tf
from compofa_tf.cli.main import parse
from compofa_tf.quiet import import_tensorflow_quietly
from compofa_tf.training.threads import share_cores_for_training
parse(["compofa", "train", "--recipe", "demo", "--set", "train.epochs=1"])
import_tensorflow_quietly()
share_cores_for_training()
"""
MODULES = [
    module.name
    for module in pkgutil.walk_packages(compofa_tf.__path__, "compofa_tf.")
    if not module.name.endswith("__main__")
]


def run(code: str, **variables: str) -> str:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **variables}
    done = subprocess.run(
        [sys.executable, "-c", code, *MODULES], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_a_strategy_for_several_machines_is_made_after_every_import():
    """It must stand before the first operation: TensorFlow says "at program startup"."""
    assert "compofa_tf.training.loop" in MODULES
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = {"cluster": {"worker": [address]}, "task": {"type": "worker", "index": 0}}
    code = PREPARED + "print(tf.distribute.MultiWorkerMirroredStrategy().cluster_resolver.task_type)"
    assert run(code, TF_CONFIG=json.dumps(cluster)) == "worker"


def test_devices_can_be_divided_after_every_import():
    code = (
        PREPARED
        + """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
print(len(tf.config.list_logical_devices("CPU")))
"""
    )
    assert run(code) == "2"
