"""CIFAR-10 on a laptop CPU: the published widths on small images, 20 to 28 px.

Paper: the method of CompOFA (arXiv:2104.12642); the paper trains on ImageNet, this is the same step on small images.
Full width at low resolution, with strides that halve the map early: int8 pays on wide layers, not on large maps
(docs/measuring.md, "What makes int8 fast").

Command: ``compofa train --recipe cifar10 --data folder:cifar10 --workdir runs/cifar10``, where ``cifar10/train`` and
``cifar10/val`` hold one folder of images per class.
Hardware: written for 2 CPU cores.
Time: 59 min on two cores of an AMD EPYC, from the JPEG files to the report: training 47 min, accuracy and latency
tables 11 min, export 2 min.
Expected: the largest subnet at least 75 % top-1 on ``val``.
Last run: 2026-11-22, seed 0; results in ``tflite/results/cifar10``.
"""

from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import AccuracySettings, DataSettings, PhaseSettings, SpaceSettings, TeacherSettings

RECIPE = Recipe(
    name="cifar10",
    space=SpaceSettings(width_mult=1.0, input_size=32, strides=(1, 2, 2, 2, 1, 2)),
    data=DataSettings(
        source="folder:cifar10", resolutions=(20, 24, 28), batch_size=128, min_scale=0.5, saturation=0.25
    ),
    teacher=TeacherSettings(epochs=8, learning_rate=2.4, warmup_epochs=0.5),
    train=PhaseSettings(epochs=4, learning_rate=0.6, warmup_epochs=0.25, subnets=2, kd_ratio=1.0),
    accuracy=AccuracySettings(resolutions=(20, 24, 28), images=1000, calibration_images=512),
)
