"""How a CPU's cores are shared: by the parts of one operation, or by operations of several subnets.

On two cores splitting every small operation in two costs more than it gains: the parts wait for each other, and with
them whole threads. There a process that trains gives each operation one thread and lets the subnets of a step run side
by side (measured by ``benchmarks/train_step.py``; machines of more cores keep TensorFlow's way, for they were not
measured).
"""

from __future__ import annotations

import contextlib
import os

import tensorflow as tf

_FEW_CORES = 2
_SIDE_BY_SIDE = 4


def share_cores_for_training(cores: int | None = None) -> None:
    """Arranges TensorFlow's threads for training; does nothing once its first operation has run.

    Where the environment says (``TF_NUM_INTRAOP_THREADS``), where there is an accelerator and where there are more
    than two cores nothing is changed.

    Args:
      cores: Cores to use; by default those that the process may run on.
    """
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    accelerated = any(device.device_type not in ("CPU", "XLA_CPU") for device in tf.config.list_physical_devices())
    if cores > _FEW_CORES or accelerated or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow has begun already and keeps its threads
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores)


def subnets_side_by_side() -> int:
    """Returns how many subnets of a step may run at once: several where an operation has one thread, else one.

    Each subnet more keeps its activations in memory.
    """
    return _SIDE_BY_SIDE if tf.config.threading.get_intra_op_parallelism_threads() == 1 else 1
