"""Numbers of the authors' PyTorch code once more, through the extracted models and their float32 ``.tflite`` files.

The bound of the files is 1e-3 of the largest |logit|: LiteRT sums in another order and folds batch norm into kernels.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch (the extra [torch]) to read the reference checkpoints")

import test_reference as nets

from compofa_tf.deploy.conversion import convert
from compofa_tf.deploy.runtime import Runner
from compofa_tf.nets import subnet


@pytest.mark.slow
@pytest.mark.parametrize("index", nets.CASES)
@pytest.mark.parametrize("name", nets.NETS)
def test_logits_of_every_case_through_keras_and_tflite(reference, name, index):
    checkpoint, settings = nets.NETS[name]
    net = nets.load(reference, checkpoint, tuple(settings.items()))
    case = nets.expected(reference, name, index)
    arch, x = nets.arch_of(net.space, case), nets.images(reference, case["resolution"])
    wanted = np.load(reference / f"{name}.logits.npz")[index]
    model = subnet.extract(net, arch)
    nets.assert_logits(model(x, training=False), wanted)
    found = Runner(convert(model, precision="float32"))(x)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())
