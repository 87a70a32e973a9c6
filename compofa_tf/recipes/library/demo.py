"""A whole run in minutes on a laptop CPU, without network or data set: handwritten digits, a very small family.

Paper: the method of CompOFA (arXiv:2104.12642), not its network sizes. It shows every step of the work; the accuracy
says nothing about the method, because digits are easy.

Command: ``compofa demo``, or the training alone: ``compofa train --recipe demo --workdir runs/demo``
Hardware: any CPU; written for 2 cores.
Time: printed before the training starts, from steps timed on the machine.
Expected: every subnet of the family above 90 % top-1 on the validation digits.
Last run: 2026-11-22, ``compofa demo``: 4 min 33 s in all on two cores of an AMD EPYC, subnets 93.0 to 95.5 %.
"""

from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import (
    AccuracySettings,
    DataSettings,
    DeploySettings,
    LatencySettings,
    PhaseSettings,
    SpaceSettings,
    TeacherSettings,
)

RECIPE = Recipe(
    name="demo",
    space=SpaceSettings(width_mult=0.5, input_size=32, strides=(1, 2, 2, 2, 1, 2)),
    data=DataSettings(
        source="digits",
        resolutions=(24, 28, 32),
        batch_size=128,
        min_scale=0.6,
        flip=False,
        brightness=0.1,
        saturation=0.1,
    ),
    teacher=TeacherSettings(epochs=7, learning_rate=1.6, warmup_epochs=1),
    train=PhaseSettings(epochs=5, learning_rate=0.8, warmup_epochs=1, subnets=2, kd_ratio=1.0),
    accuracy=AccuracySettings(resolutions=(32,), calibration_images=256, batch_size=360),
    latency=LatencySettings(precisions=("int8",), runs=100, warmup=5, repeats=2, validate=4),
    deploy=DeploySettings(calibration_images=200),
)
