from __future__ import annotations

import pytest
from finished_run import fake_workdir

from compofa_tf.reports.page import report


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run, not to be changed, and its page."""
    root = fake_workdir(tmp_path_factory.mktemp("runs") / "cifar10")
    return root, report(root).read_text(encoding="utf-8")
