from __future__ import annotations

import numpy as np
import pytest
from large_spaces import LARGE
from spaces import KINDS, small_space


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request):
    return request.param


@pytest.fixture
def small(kind):
    return small_space(*kind)


@pytest.fixture
def sampled(kind):
    space, rng = LARGE[kind], np.random.default_rng(1)
    return space, [space.sample(rng, resolutions=(128, 160, 224)) for _ in range(50)]
