"""ImageNet with the schedule of the paper and elastic kernels. This recipe was NOT run: it needs several GPUs for days.

Paper: CompOFA, Sahni et al., ICLR 2021 (arXiv:2104.12642), the variant with elastic kernels: depth and expand ratio of
a stage grow together, every block has a kernel of 3, 5 or 7. The schedule is that of the recipe ``imagenet``. The
published code stops with an error when it samples this space; here it trains (a test trains a very small family of this
kind). The teacher is the largest subnet, which has 7 x 7 kernels. Differences from the published code: that continues
with the best checkpoint of a phase instead of its last one, starts the warm-up from the rate of one GPU instead of 0,
leaves a kernel alone that no subnet of a step uses, which here still decays, and switches the kernel transforms off,
although its published elastic checkpoint has them and so has this family.

Command: ``compofa train --recipe imagenet_elastic --data folder:imagenet --workdir runs/imagenet_elastic``, where
``imagenet/train`` and ``imagenet/val`` hold one folder of images per class.
Hardware: as for ``imagenet``.
Time: unknown with this package.
Expected: the accuracies of the paper; nobody has checked that with this package.
Last run: never.
"""

import dataclasses

from compofa_tf.recipes.library import imagenet
from compofa_tf.recipes.settings import SpaceSettings

RECIPE = dataclasses.replace(
    imagenet.RECIPE, name="imagenet_elastic", space=SpaceSettings(width_mult=1.0, kernel="elastic", input_size=224)
)
