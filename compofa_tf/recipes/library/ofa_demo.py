"""Progressive shrinking in minutes on a laptop CPU: the phases of ``ofa_imagenet`` on handwritten digits.

Paper: Once-for-All (arXiv:1908.09791), section 3.3, with the network of ``demo`` and very few epochs. It shows that
the phases follow each other; the accuracy says nothing about the method, because digits are easy.

Command: ``compofa train --recipe ofa_demo --workdir runs/ofa_demo``. Training only: the family is far too large for a
table of all its subnets.
Hardware: any CPU; written for 2 cores.
Time: printed before the training starts, from steps timed on the machine.
Expected: the largest subnet above 90 % top-1 on the validation digits, the smallest above 80 %; the smallest stays near
chance until the phases of the expand ratios.
Last run: 2026-11-22, seed 0, on two cores of an AMD EPYC that other work shared: 10 min 46 s, of them 7 min before the
first epoch; 4 min 50 s of processor time. Largest 95.3 %, smallest 86.9 %; 29.5 % for the smallest after the kernel
phase.
"""

from compofa_tf.recipes.library import demo
from compofa_tf.recipes.recipe import Recipe
from compofa_tf.recipes.settings import PhaseSettings, SpaceSettings, TeacherSettings

RECIPE = Recipe(
    name="ofa_demo",
    space=SpaceSettings(
        width_mult=0.25, kernel="elastic", coupling="independent", input_size=32, strides=(1, 2, 2, 2, 1, 2)
    ),
    data=demo.RECIPE.data,
    teacher=TeacherSettings(epochs=8, learning_rate=1.6, warmup_epochs=1),
    shrink=(
        PhaseSettings(epochs=2, learning_rate=0.8, warmup_epochs=0.5, subnets=1, depths=(4,), expands=(6,)),
        PhaseSettings(epochs=1, learning_rate=0.4, subnets=2, depths=(3, 4), expands=(6,)),
        PhaseSettings(epochs=1, learning_rate=0.8, subnets=2, expands=(6,)),
        PhaseSettings(epochs=1, learning_rate=0.4, subnets=2, expands=(4, 6), sort_channels=0),
    ),
    train=PhaseSettings(epochs=3, learning_rate=0.8, warmup_epochs=0.5, subnets=2, sort_channels=1),
    accuracy=demo.RECIPE.accuracy,
    latency=demo.RECIPE.latency,
    deploy=demo.RECIPE.deploy,
)
