"""Your own folder of pictures on a CPU: modest networks, 96 to 128 px, a few hours for some thousand images.

Paper: the method and the 224-px network layout of CompOFA (arXiv:2104.12642) at half width, with a schedule short
enough for a CPU. Training starts from random weights, so some hundred images per class are wanted.

Command: ``compofa train --recipe small --data folder:photos --workdir runs/photos``, where ``photos`` holds one folder
of images per class, or ``train`` and ``val`` folders of such; also ``--data tfds:oxford_flowers102``.
Hardware: written for 2 CPU cores.
Time: printed before the training starts, from steps timed on the machine.
Expected: depends on the images.
Last run: not run yet.
"""

from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import AccuracySettings, DataSettings, PhaseSettings, SpaceSettings, TeacherSettings

RECIPE = Recipe(
    name="small",
    space=SpaceSettings(width_mult=0.5, input_size=224),
    data=DataSettings(source="folder:photos", resolutions=(96, 112, 128), batch_size=64, min_scale=0.25),
    teacher=TeacherSettings(epochs=40, learning_rate=2.4, warmup_epochs=2),
    train=PhaseSettings(epochs=20, learning_rate=1.2, warmup_epochs=1, subnets=4, kd_ratio=1.0),
    accuracy=AccuracySettings(resolutions=(96, 112, 128), images=2000, calibration_images=1024),
)
