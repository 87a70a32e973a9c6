"""How cores are shared, in processes of their own: TensorFlow takes its threads once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHARED = """
import tensorflow as tf
from compofa_tf.training.threads import share_cores_for_training, subnets_side_by_side
share_cores_for_training({cores})
get = tf.config.threading
print(get.get_intra_op_parallelism_threads(), get.get_inter_op_parallelism_threads(), subnets_side_by_side())
"""


def run(code: str, **variables: str) -> str:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("cores", "variables", "expected"),
    [
        (2, {}, "1 2 4"),
        (1, {}, "1 1 4"),
        (8, {}, "0 0 1"),
        (2, {"TF_NUM_INTRAOP_THREADS": "2"}, "0 0 1"),
    ],
)
def test_small_machines_run_subnets_side_by_side_unless_the_user_says_otherwise(cores, variables, expected):
    assert run(SHARED.format(cores=cores), **variables) == expected


def test_a_quiet_start_leaves_the_choice():
    """And the cores are those that the process may run on."""
    code = (
        "import os; os.cpu_count = lambda: 2; os.sched_getaffinity = lambda pid: {0, 1}\n"
        "from compofa_tf.quiet import import_tensorflow_quietly as start; start()\n"
        "from compofa_tf.training.threads import share_cores_for_training, subnets_side_by_side\n"
        "share_cores_for_training(); print(subnets_side_by_side())"
    )
    assert run(code) == "4"


def test_threads_stay_where_tensorflow_has_begun_already():
    code = "import tensorflow as tf; tf.abs(1.0)" + SHARED.format(cores=2)
    assert run(code) == "0 0 1"
