"""Reading the tensors of PyTorch files: containers that are damaged, code, repetitions, strange tensors."""

from __future__ import annotations

import collections
import os
import re
import warnings
import zlib

import pytest
from torch_checkpoints import saved, small_state

import compofa_tf as ct
from compofa_tf.errors import InputError
from compofa_tf.published.torch_files import read_checkpoint

torch = pytest.importorskip("torch", reason="needs torch (the extra [torch])")


class Marker:
    """Would create a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "mark"
    for legacy in (False, True):
        torch.save({"state_dict": Marker(mark)}, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
        mark.unlink(missing_ok=True)
        with pytest.raises(InputError, match=r"evil\.pth holds more than tensors .*could run code"):
            read_checkpoint(tmp_path / "evil.pth")
        assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04", zlib.compress(b"x" * 100)])
def test_files_that_are_no_checkpoints(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pth is truncated or no PyTorch checkpoint"):
        read_checkpoint(tmp_path / "x.pth")


def test_truncated_checkpoints(tmp_path):
    _, state = small_state()
    for legacy in (False, True):
        torch.save(state, tmp_path / "whole.pth", _use_new_zipfile_serialization=not legacy)
        whole = (tmp_path / "whole.pth").read_bytes()
        for share in (0.3, 0.9):
            (tmp_path / "cut.pth").write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(InputError, match=r"cut\.pth is truncated"):
                read_checkpoint(tmp_path / "cut.pth")


def test_tensors_that_are_no_plain_numbers(tmp_path):
    _, state = small_state()
    name = "feature_mix_layer.conv.weight"
    value = state[name]
    parameters = {key: torch.nn.Parameter(v, requires_grad=v.is_floating_point()) for key, v in state.items()}
    assert ct.import_torch(saved(parameters, tmp_path)).only is None
    for strange in (value.to_sparse(), value.to(torch.complex64), torch.empty(value.shape, device="meta")):
        with pytest.raises(InputError, match=rf"{re.escape(name)} is no dense tensor of real numbers"):
            ct.import_torch(saved({**state, name: strange}, tmp_path))
    with pytest.raises(InputError, match="negative variances"):
        ct.import_torch(saved({**state, "first_conv.bn.running_var": -torch.ones(8)}, tmp_path))


class Calls:
    """Would call a function when unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [eval, exec, os.system])
def test_what_torch_says_of_code_is_not_passed_on(tmp_path, capfd, function, protocol):
    """It advises to load such a file in the way that runs its code."""
    content = {"state_dict": Calls(function, f"open({str(tmp_path / 'mark')!r}, 'w')")}
    for legacy in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(content, tmp_path / "x.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(InputError, match=r"x\.pth (holds more than tensors \(\S+\)|is truncated)") as caught:
            read_checkpoint(tmp_path / "x.pth")
        assert "weights_only" not in str(caught.value) and "\x1b" not in str(caught.value)
        if protocol != 4:
            assert "could run code" in str(caught.value)
    assert not (tmp_path / "mark").exists() and capfd.readouterr().err == ""


class Repeating:
    """Pickled as a dictionary in which a key is set twice."""

    def __init__(self, state, key):
        self.state, self.key = state, key

    def __reduce__(self):
        again = (self.key, torch.zeros(1))
        return collections.OrderedDict, (), None, None, iter([*self.state.items(), again])


@pytest.mark.parametrize("legacy", [False, True])
def test_a_key_that_is_set_twice_is_refused(tmp_path, legacy):
    _, state = small_state()
    for content in (
        Repeating(state, "first_conv.conv.weight"),
        {"state_dict": Repeating(state, "first_conv.conv.weight"), "epoch": 1},
    ):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(InputError, match=r"has two tensors for first_conv\.conv\.weight; only one"):
            read_checkpoint(tmp_path / "x.pth")
    # The same names in another dictionary of the file are no repetition.
    torch.save({"state_dict": state, "ema": dict(state)}, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    assert len(read_checkpoint(tmp_path / "x.pth")) > 100
