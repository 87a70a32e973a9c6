"""ImageNet with the schedule of the paper. This recipe was NOT run: it needs several GPUs for days.

Paper: CompOFA, Sahni et al., ICLR 2021 (arXiv:2104.12642), section 4, and its published code (``train_ofa_net.py``,
tasks ``teacher`` and ``compound``): 180 epochs for the largest network at 2.6 per 2048 images, then the whole family
for 25 epochs at 0.08 and for 120 epochs at 0.24 after 5 epochs of warm-up. There the warm-up comes on top of the
epochs, here it is counted in them: hence 125. The 25 epochs are ``shrink.0``; like the last phase they sample the whole
family, and before both the middle channels are sorted by importance. The teacher has 7 x 7 kernels in every block, and
the family starts from their centres; dropout 0.1 before the classifier. Differences from the published code: that
continues with the best checkpoint of a phase instead of its last one, starts the warm-up from the rate of one GPU
instead of 0, and leaves a kernel alone that no subnet of a step uses, which here still decays.

Command: ``compofa train --recipe imagenet --data folder:imagenet --workdir runs/imagenet``, where ``imagenet/train``
and ``imagenet/val`` hold one folder of images per class.
Hardware: the published code takes 256 images per GPU. Set ``data.batch_size`` to what yours hold together; the learning
rates follow.
Time: unknown with this package.
Expected: the accuracies of the paper; nobody has checked that with this package.
Last run: never.
"""

from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import (
    AccuracySettings,
    DataSettings,
    OptimizerSettings,
    PhaseSettings,
    SpaceSettings,
    TeacherSettings,
)

RECIPE = Recipe(
    name="imagenet",
    space=SpaceSettings(width_mult=1.0, input_size=224),
    data=DataSettings(
        source="folder:imagenet",
        resolutions=tuple(range(128, 225, 4)),
        batch_size=2048,
        normalization="imagenet",
        cache=False,
        exif_orientation=False,  # as the published code, which decodes without looking at it
    ),
    teacher=TeacherSettings(epochs=180, learning_rate=2.6, kernels=(7,)),
    shrink=(PhaseSettings(epochs=25, learning_rate=0.08, sort_channels=0),),
    train=PhaseSettings(epochs=125, learning_rate=0.24, warmup_epochs=5, sort_channels=0),
    optimizer=OptimizerSettings(dropout=0.1),
    accuracy=AccuracySettings(images=10000, calibration_images=2000),
)
