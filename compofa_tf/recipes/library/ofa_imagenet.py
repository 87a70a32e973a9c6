"""ImageNet with progressive shrinking, for comparison. This recipe was NOT run: it needs many GPUs for days.

Paper: Once-for-All, Cai et al., ICLR 2020 (arXiv:1908.09791), section 3.3, the baseline of CompOFA (arXiv:2104.12642):
every block has its own expand ratio and kernel, and the dimensions become elastic one after the other. Epochs, rates,
subnets per step and choices are those of the published code (``train_ofa_net.py`` and ``progressive_shrinking.py`` of
github.com/mit-han-lab/once-for-all), whose rates are for 64 images and stand here for 2048:

- ``teacher``: the largest network, 180 epochs at 2.6 (the rate from the code of CompOFA, task ``teacher``);
- ``shrink.0``, kernels: 120 epochs at 0.03 per 64 images, after 5 of warm-up, one subnet per step;
- ``shrink.1`` and ``shrink.2``, depths 3 and 4, then 2 to 4: 25 epochs at 0.0025, then 120 at 0.0075 after 5 of
  warm-up, two subnets per step;
- ``shrink.3`` and ``train``, expand ratios 4 and 6, then 3, 4 and 6: the same, four subnets per step, the middle
  channels sorted by importance before each, the second time within the ratio of 4 only.

There the warm-up comes on top of the epochs, here it is counted in them. The code of CompOFA trains its own baseline at
2.6 in the kernel phase, or without one. Dropout 0.1 before the classifier. Differences from the published code: that
continues with the best checkpoint of a phase instead of its last one, starts the warm-up from the rate of one GPU
instead of 0, and leaves a kernel alone that no subnet of a step uses, which here still decays.

Command: ``compofa train --recipe ofa_imagenet --data folder:imagenet --workdir runs/ofa_imagenet``, where
``imagenet/train`` and ``imagenet/val`` hold one folder of images per class.
Hardware: the published code takes 64 images per GPU. Set ``data.batch_size`` to what yours hold together; the learning
rates follow.
Time: unknown with this package.
Expected: the accuracies of the paper; nobody has checked that with this package.
Last run: never.
"""

from compofa_tf.recipes.library import imagenet
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import PhaseSettings, SpaceSettings, TeacherSettings

RECIPE = Recipe(
    name="ofa_imagenet",
    space=SpaceSettings(width_mult=1.0, kernel="elastic", coupling="independent", input_size=224),
    data=imagenet.RECIPE.data,
    teacher=TeacherSettings(epochs=180, learning_rate=2.6),
    shrink=(
        PhaseSettings(epochs=125, learning_rate=0.96, warmup_epochs=5, subnets=1, depths=(4,), expands=(6,)),
        PhaseSettings(epochs=25, learning_rate=0.08, subnets=2, depths=(3, 4), expands=(6,)),
        PhaseSettings(epochs=125, learning_rate=0.24, warmup_epochs=5, subnets=2, expands=(6,)),
        PhaseSettings(epochs=25, learning_rate=0.08, subnets=4, expands=(4, 6), sort_channels=0),
    ),
    train=PhaseSettings(epochs=125, learning_rate=0.24, warmup_epochs=5, subnets=4, sort_channels=1),
    optimizer=imagenet.RECIPE.optimizer,
    accuracy=imagenet.RECIPE.accuracy,
)
