"""What a network is made of, every size decided: plain data from which layers, costs and table keys are derived.

A *unit* is what stands at one position of one concrete network (a convolution with its normalisation, an inverted
bottleneck, the pooling, the classifier). A unit lists its *parts*, its weighted operations, and those alone know
weights, multiply-adds and parameters, so that the elastic layers, the plain Keras model, the cost and the latency
tables cannot disagree.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Literal

Activation = Literal["linear", "relu", "relu6", "hard_swish"]


def make_divisible(value: float, *, divisor: int = 8) -> int:
    """Rounds a channel count to a multiple of ``divisor``, never more than 10 % down.

    The rule of the published MobileNet family: add half a divisor and floor; when that loses more than 10 %, go one up.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def output_size(size: int, stride: int) -> int:
    """Returns the side of a feature map after a convolution with odd kernel k and padding k // 2 on every side."""
    return (size - 1) // stride + 1


@dataclass(frozen=True)
class Part:
    """One convolution or matrix with its optional bias and batch norm.

    Attributes:
      name: Inside its unit, for example ``"expand"``; with the unit's name it names every weight.
      kind: ``"conv"``, ``"depthwise"`` or ``"dense"``.
      in_channels: Channels read.
      out_channels: Channels written (equal to ``in_channels`` when depthwise).
      kernel_size: Side of the square kernel.
      stride: Stride in both directions.
      norm: Whether batch norm follows.
      bias: Whether it has a bias.
      pooled: Whether it works on the globally pooled 1x1 map (squeeze-and-excite).
    """

    name: str
    kind: Literal["conv", "depthwise", "dense"]
    in_channels: int
    out_channels: int
    kernel_size: int = 1
    stride: int = 1
    norm: bool = True
    bias: bool = False
    pooled: bool = False

    @property
    def weights(self) -> int:
        """Number of entries of the kernel itself."""
        per_output = self.kernel_size**2 * (1 if self.kind == "depthwise" else self.in_channels)
        return per_output * self.out_channels

    @property
    def params(self) -> int:
        """Trainable entries: kernel, bias, batch-norm gamma and beta."""
        return self.weights + self.out_channels * (self.bias + 2 * self.norm)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds of one image whose *output* map has ``height`` x ``width`` pixels."""
        return self.weights * height * width


class _Strided:
    """A unit whose stride decides the size of its map."""

    stride: int

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size of the map that is written."""
        return output_size(height, self.stride), output_size(width, self.stride)


@dataclass(frozen=True)
class ConvUnit(_Strided):
    """Convolution, optional batch norm, activation; with ``shortcut`` the input is added to that."""

    name: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    activation: Activation = "linear"
    norm: bool = True
    bias: bool = False
    shortcut: bool = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """The single convolution."""
        sizes = (self.in_channels, self.out_channels, self.kernel, self.stride)
        return (Part("conv", "conv", *sizes, self.norm, self.bias),)

    @property
    def key(self) -> str:
        """Every size that decides the computation."""
        tail = ("-bn" if self.norm else "") + ("-bias" if self.bias else "") + ("-add" if self.shortcut else "")
        return f"conv({self.in_channels}-{self.out_channels}-k{self.kernel}-s{self.stride}-{self.activation}{tail})"


@dataclass(frozen=True)
class BlockUnit(_Strided):
    """Inverted bottleneck: expand 1x1, depthwise, optional squeeze-and-excite, project 1x1, optional shortcut.

    Attributes:
      middle: Channels between expansion and projection.
      se_channels: Hidden channels of squeeze-and-excite; 0 for none.
      shortcut: Whether the input is added to the output.
      expansion: Whether there is an expansion at all (the first block of the network has none).
    """

    name: str
    in_channels: int
    middle: int
    out_channels: int
    kernel: int
    stride: int
    activation: Activation
    se_channels: int = 0
    shortcut: bool = False
    expansion: bool = True

    @property
    def branch_end(self) -> str | None:
        """The part whose output the shortcut is added to."""
        return "project" if self.shortcut else None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Expansion, depthwise, squeeze-and-excite (reduce, restore), projection, in execution order."""
        found = []
        if self.expansion:
            found.append(Part("expand", "conv", self.in_channels, self.middle))
        found.append(Part("depth", "depthwise", self.middle, self.middle, self.kernel, self.stride))
        if self.se_channels:
            hidden, pooled = self.se_channels, {"norm": False, "bias": True, "pooled": True}
            found.append(Part("reduce", "conv", self.middle, hidden, **pooled))
            found.append(Part("restore", "conv", hidden, self.middle, **pooled))
        found.append(Part("project", "conv", self.middle, self.out_channels))
        return tuple(found)

    @property
    def key(self) -> str:
        """Every size that decides the computation."""
        tail = (f"-se{self.se_channels}" if self.se_channels else "") + ("-add" if self.shortcut else "")
        tail += "" if self.expansion else "-noexp"
        sizes = f"{self.in_channels}-{self.middle}-{self.out_channels}"
        return f"block({sizes}-k{self.kernel}-s{self.stride}-{self.activation}{tail})"


@dataclass(frozen=True)
class ResidualUnit(_Strided):
    """Bottleneck of ResNet-D: 1x1, 3x3 (with the stride), 1x1, shortcut, ReLU after the sum (arXiv:1812.01187).

    Attributes:
      middle: Channels of the 3x3 convolution.
      downsample: Whether the shortcut averages (window = stride) and has a 1x1 convolution of its own; else it is the
        identity.
    """

    name: str
    in_channels: int
    middle: int
    out_channels: int
    stride: int
    downsample: bool

    @property
    def branch_end(self) -> str:
        """The part whose output the shortcut is added to."""
        return "conv3"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The three convolutions, and that of the shortcut, which works on the averaged input."""
        found = [
            Part("conv1", "conv", self.in_channels, self.middle),
            Part("conv2", "conv", self.middle, self.middle, 3, self.stride),
            Part("conv3", "conv", self.middle, self.out_channels),
        ]
        if self.downsample:
            found.append(Part("downsample", "conv", self.in_channels, self.out_channels))
        return tuple(found)

    @property
    def key(self) -> str:
        """Every size that decides the computation."""
        tail = "-down" if self.downsample else ""
        return f"residual({self.in_channels}-{self.middle}-{self.out_channels}-s{self.stride}{tail})"


@dataclass(frozen=True)
class MaxPoolUnit(_Strided):
    """Largest of 3x3 pixels with a stride, for maps that are never negative: the border counts as 0."""

    name: str
    stride: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """No weights."""
        return ()

    @property
    def key(self) -> str:
        """Every size that decides the computation."""
        return f"maxpool(k3-s{self.stride})"


@dataclass(frozen=True)
class PoolUnit:
    """Global average pooling to a 1x1 map."""

    name: str
    key: str = dataclasses.field(default="pool", init=False)

    @property
    def parts(self) -> tuple[Part, ...]:
        """No weights."""
        return ()

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size of the map that is written: one pixel."""
        return 1, 1


@dataclass(frozen=True)
class DenseUnit:
    """The classifier: flatten and multiply, with bias."""

    name: str
    in_channels: int
    out_channels: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """The single matrix."""
        return (Part("dense", "dense", self.in_channels, self.out_channels, norm=False, bias=True),)

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size of the map that it reads: it writes none."""
        return height, width

    @property
    def key(self) -> str:
        """Every size that decides the computation."""
        return f"dense({self.in_channels}-{self.out_channels})"


Unit = ConvUnit | BlockUnit | ResidualUnit | MaxPoolUnit | PoolUnit | DenseUnit


@dataclass(frozen=True)
class OpCost:
    """What one weighted operation costs at a given image size.

    Attributes:
      name: ``unit/part``.
      kind: ``"conv"``, ``"depthwise"`` or ``"dense"``.
      in_shape: ``(height, width, channels)`` read.
      out_shape: ``(height, width, channels)`` written.
      kernel_size: Side of the kernel.
      stride: Stride.
      macs: Multiply-adds of one image.
      params: Trainable entries.
    """

    name: str
    kind: str
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    kernel_size: int
    stride: int
    macs: int
    params: int


@functools.lru_cache(maxsize=1 << 16)
def unit_costs(unit: Unit, height: int, width: int) -> tuple[tuple[OpCost, ...], int, int]:
    """Returns what the parts of a unit cost on a ``height`` x ``width`` map, and the size of the map it writes."""
    costs = []
    size = (height, width)
    for part in unit.parts:
        in_size = (1, 1) if part.pooled else size
        out_size = (output_size(in_size[0], part.stride), output_size(in_size[1], part.stride))
        costs.append(
            OpCost(
                name=f"{unit.name}/{part.name}",
                kind=part.kind,
                in_shape=(*in_size, part.in_channels),
                out_shape=(*out_size, part.out_channels),
                kernel_size=part.kernel_size,
                stride=part.stride,
                macs=part.macs(*out_size),
                params=part.params,
            )
        )
        size = size if part.pooled else out_size
    return tuple(costs), *unit.map_size(height, width)
