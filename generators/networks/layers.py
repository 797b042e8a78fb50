"""Convolutions that are periodic where the surface is, in two or three dimensions, and norms chosen by name."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

LEAKY_SLOPE = 0.2
BATCH_AND_CHANNEL = 2
"""axes of a tensor that come before the spatial ones"""
Resampling = Callable[[int, int, Sequence[bool], bool], nn.Module]
"""(channels in, channels out, periodic, with bias) -> layer"""


def memory_format_of(tensor: Tensor) -> torch.memory_format:
    """Return the channels-last format of the tensor's rank if it is stored so, else the contiguous one."""
    if tensor.shape[1] > 1 and tensor.stride(1) == 1:
        return channels_last_format(tensor.dim() - BATCH_AND_CHANNEL)
    return torch.contiguous_format


def channels_last_format(n_dimensions: int) -> torch.memory_format:
    """Return the memory format that stores the channels of one voxel side by side, for 2 or 3 dimensions."""
    return torch.channels_last_3d if n_dimensions == 3 else torch.channels_last


def store_channels_last(network: nn.Module) -> None:
    """Store the kernels of all convolutions with their channels side by side, in place."""
    for parameter in network.parameters():
        if parameter.dim() > 3:
            memory_format = channels_last_format(parameter.dim() - BATCH_AND_CHANNEL)
            parameter.data = parameter.data.contiguous(memory_format=memory_format)


def _wrap(grid: Tensor, axes: tuple[int, ...], width: int) -> Tensor:
    shape = [n + 2 * width if axis in axes else n for axis, n in enumerate(grid.shape)]
    wrapped = torch.empty(shape, dtype=grid.dtype, device=grid.device, memory_format=memory_format_of(grid))
    interior = wrapped
    for axis in axes:
        interior = interior.narrow(axis, width, grid.shape[axis])
    interior.copy_(grid)
    for i, axis in enumerate(axes):
        view = wrapped
        for later in axes[i + 1 :]:  # their margins are filled afterwards, corners included
            view = view.narrow(later, width, grid.shape[later])
        n = grid.shape[axis]
        view.narrow(axis, 0, width).copy_(view.narrow(axis, n, width))
        view.narrow(axis, n + width, width).copy_(view.narrow(axis, width, width))
    return wrapped


def _fold(wrapped: Tensor, axes: tuple[int, ...], width: int) -> Tensor:
    def part(grid: Tensor, starts: Sequence[int], sizes: Sequence[int]) -> Tensor:
        for axis, start, size in zip(axes, starts, sizes, strict=True):
            grid = grid.narrow(axis, start, size)
        return grid

    lengths = [wrapped.shape[axis] - 2 * width for axis in axes]
    folded = part(wrapped, [width] * len(axes), lengths).contiguous(memory_format=memory_format_of(wrapped))
    for sides in itertools.product((-1, 0, 1), repeat=len(axes)):
        if any(sides):
            sizes = [width if side else n for side, n in zip(sides, lengths, strict=True)]
            sources = [{-1: 0, 0: width, 1: n + width}[side] for side, n in zip(sides, lengths, strict=True)]
            targets = [{-1: n - width, 0: 0, 1: 0}[side] for side, n in zip(sides, lengths, strict=True)]
            part(folded, targets, sizes).add_(part(wrapped, sources, sizes))
    return folded


class _Wrap(torch.autograd.Function):
    """Circular padding whose backward is its adjoint: `torch.nn.functional.pad` is five times slower on a CPU."""

    @staticmethod
    def forward(ctx, grid: Tensor, axes: tuple[int, ...], width: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.axes, ctx.width = axes, width
        return _wrap(grid, axes, width)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        return _Fold.apply(gradient, ctx.axes, ctx.width), None, None


class _Fold(torch.autograd.Function):
    """Adjoint of circular padding: margins are added to the voxels that they repeat."""

    @staticmethod
    def forward(ctx, wrapped: Tensor, axes: tuple[int, ...], width: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.axes, ctx.width = axes, width
        return _fold(wrapped, axes, width)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        return _Wrap.apply(gradient, ctx.axes, ctx.width), None, None


def wrap_periodic(grid: Tensor, periodic: Sequence[bool], width: int) -> Tensor:
    r"""Repeat `width` voxels beyond both ends of every periodic axis.

    Parameters
    ----------
    grid : torch.Tensor, shape (batch, channels, \*spatial)
    periodic : sequence of bool, one per spatial axis
        Other axes are left as they are.
    width : int
        Voxels per side, at most the axis' length.

    Returns
    -------
    torch.Tensor
        Twice differentiable in `grid`, as a gradient penalty needs it.
    """
    axes = tuple(BATCH_AND_CHANNEL + i for i, wraps in enumerate(periodic) if wraps)
    if not axes or width == 0:
        return grid
    if torch.compiler.is_compiling():  # which fuses the copies, and cannot look into functions with a backward
        pads = [width if axis in axes else 0 for axis in reversed(range(grid.dim())) for _ in range(2)]
        return functional.pad(grid, pads[: 2 * len(periodic)], mode="circular")
    wrapped: Tensor = _Wrap.apply(grid, axes, width)
    return wrapped


class PeriodicConvolution(nn.Module):
    """Convolution with circular padding along periodic axes and zeros along the others.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    periodic : sequence of bool, length 2 or 3
        Its length is the number of dimensions.
    stride : int
        The axes' lengths are divided by it.
    kernel : {3, 4}
        Width in voxels; 4 only with stride 2.
    bias : bool
    """

    def __init__(
        self, n_in: int, n_out: int, periodic: Sequence[bool], stride: int = 1, kernel: int = 3, bias: bool = True
    ) -> None:
        super().__init__()
        self.periodic = tuple(periodic)
        self.width = 1
        convolution: Any = {2: nn.Conv2d, 3: nn.Conv3d}[len(self.periodic)]
        padding = tuple(0 if wraps else self.width for wraps in self.periodic)
        self.convolution = convolution(n_in, n_out, kernel, stride=stride, padding=padding, bias=bias)

    def forward(self, grid: Tensor) -> Tensor:
        result: Tensor = self.convolution(wrap_periodic(grid, self.periodic, self.width))
        return result


class TransposedDoubling(nn.Module):
    """Doubles the resolution by a transposed convolution of width 4 and stride 2, periodic along periodic axes.

    The width is a multiple of the stride, so every voxel gets the same number of contributions and no checkerboard
    is built in (Odena et al., Distill 2016). It costs 8 products per voxel where doubling and then convolving with
    width 3 costs 27.
    """

    def __init__(self, n_in: int, n_out: int, periodic: Sequence[bool], bias: bool = True) -> None:
        super().__init__()
        self.periodic = tuple(periodic)
        convolution: Any = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[len(self.periodic)]
        padding = tuple(3 if wraps else 1 for wraps in self.periodic)  # cuts off what the wrapped margin made
        self.convolution = convolution(n_in, n_out, 4, stride=2, padding=padding, bias=bias)

    def forward(self, grid: Tensor) -> Tensor:
        result: Tensor = self.convolution(wrap_periodic(grid, self.periodic, 1))
        return result


class UnwrappedDoubling(nn.Module):
    """Doubles the resolution by a transposed convolution of width 4 and stride 2 that sees nothing beyond the cell.

    As the first networks of this kind had it: what it puts out is not periodic, and opposite faces do not fit.
    """

    def __init__(self, n_in: int, n_out: int, periodic: Sequence[bool], bias: bool = True) -> None:
        super().__init__()
        convolution: Any = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[len(periodic)]
        self.convolution = convolution(n_in, n_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, grid: Tensor) -> Tensor:
        result: Tensor = self.convolution(grid)
        return result


class InterpolatedDoubling(nn.Module):
    """Doubles the resolution by nearest or linear interpolation, then convolves with width 3."""

    def __init__(
        self, n_in: int, n_out: int, periodic: Sequence[bool], bias: bool = True, mode: str = "nearest"
    ) -> None:
        super().__init__()
        self.periodic = tuple(periodic)
        self.mode = mode
        self.convolution = PeriodicConvolution(n_in, n_out, periodic, bias=bias)

    def forward(self, grid: Tensor) -> Tensor:
        doubled = functional.interpolate(grid, scale_factor=2) if self.mode == "nearest" else self._linear(grid)
        result: Tensor = self.convolution(doubled)
        return result

    def _linear(self, grid: Tensor) -> Tensor:
        mode = {2: "bilinear", 3: "trilinear"}[len(self.periodic)]
        wrapped = wrap_periodic(grid, self.periodic, 1)  # so that the interpolation sees across the boundary
        doubled = functional.interpolate(wrapped, scale_factor=2, mode=mode, align_corners=False)
        for axis, wraps in enumerate(self.periodic, start=BATCH_AND_CHANNEL):
            if wraps:
                doubled = doubled.narrow(axis, 2, doubled.shape[axis] - 4)
        return doubled


class BesideFrozen(nn.Module):
    """A linear layer over features and the frozen atoms' density side by side.

    The frozen part is the same for the whole batch, so it is convolved once and added: half the cost of appending
    its channels to every sample.

    Parameters
    ----------
    layer : callable
        Makes a linear layer from channels in, channels out, periodic, with bias.
    n_features, n_frozen, n_out : int
        Channels.
    periodic : sequence of bool
    """

    def __init__(self, layer: Resampling, n_features: int, n_frozen: int, n_out: int, periodic: Sequence[bool]) -> None:
        super().__init__()
        self.of_features = layer(n_features, n_out, periodic, True)
        self.of_frozen = layer(n_frozen, n_out, periodic, False)

    def forward(self, features: Tensor, frozen: Tensor) -> Tensor:
        r"""Features (batch, n_features, \*shape), frozen (1, n_frozen, \*shape times a whole factor)."""
        factor = frozen.shape[-1] // features.shape[-1]
        if factor > 1:
            pool = {2: functional.avg_pool2d, 3: functional.avg_pool3d}[frozen.dim() - BATCH_AND_CHANNEL]
            frozen = pool(frozen, factor)
        result: Tensor = self.of_features(features) + self.of_frozen(frozen)
        return result


def keeping(n_in: int, n_out: int, periodic: Sequence[bool], bias: bool) -> nn.Module:
    """Convolution that keeps the resolution."""
    return PeriodicConvolution(n_in, n_out, periodic, stride=1, bias=bias)


def halving(n_in: int, n_out: int, periodic: Sequence[bool], bias: bool) -> nn.Module:
    """Convolution of width 3 that halves the resolution."""
    return PeriodicConvolution(n_in, n_out, periodic, stride=2, bias=bias)


def halving_evenly(n_in: int, n_out: int, periodic: Sequence[bool], bias: bool) -> nn.Module:
    """Convolution of width 4 that halves the resolution and reads every voxel equally often."""
    return PeriodicConvolution(n_in, n_out, periodic, stride=2, kernel=4, bias=bias)


class PixelNorm(nn.Module):
    """Scale the feature vector of every voxel to unit mean square (Karras et al., ICLR 2018)."""

    def forward(self, grid: Tensor) -> Tensor:
        return grid * torch.rsqrt(grid.square().mean(dim=1, keepdim=True) + 1e-8)


class MinibatchDeviation(nn.Module):
    """Append the batch's mean standard deviation as a channel, so that a critic sees collapse (Karras et al., 2018)."""

    def forward(self, grid: Tensor) -> Tensor:
        deviation = (grid.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([grid, deviation.expand(len(grid), 1, *grid.shape[BATCH_AND_CHANNEL:])], dim=1)


NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "pixel": lambda n_channels, n_dimensions: PixelNorm(),
    "layer": lambda n_channels, n_dimensions: nn.GroupNorm(1, n_channels),
    "group": lambda n_channels, n_dimensions: nn.GroupNorm(math.gcd(8, n_channels), n_channels),
    "instance": lambda n_channels, n_dimensions: nn.GroupNorm(n_channels, n_channels),
    "batch": lambda n_channels, n_dimensions: {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[n_dimensions](n_channels),
    "none": lambda n_channels, n_dimensions: nn.Identity(),
}
"""Norms by name, made from the number of channels and of dimensions."""

DOUBLINGS: dict[str, Resampling] = {
    "transposed": TransposedDoubling,
    "unwrapped": UnwrappedDoubling,
    "nearest": InterpolatedDoubling,
    "linear": functools.partial(InterpolatedDoubling, mode="linear"),
}
"""Ways to double the resolution, by name."""

CRITIC_STEMS: dict[str, Resampling] = {"halving": halving_evenly, "keeping": keeping}
"""The critic's first convolution, by name."""


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter anew from `generator`, in place.

    Weights are normal with He's deviation for a leaky rectifier, embeddings standard normal, biases zero and norms one.
    """
    gain = math.sqrt(2.0 / (1.0 + LEAKY_SLOPE**2))
    for module in network.modules():
        if isinstance(module, nn.GroupNorm | nn.BatchNorm2d | nn.BatchNorm3d):
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, generator=generator)
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.normal_(_own_weight(module), std=gain / math.sqrt(_fan_in(module)), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _own_weight(module: nn.Module) -> Tensor:
    """The parameter itself, also where what the layer uses is computed from it."""
    computed = is_parametrized(module, "weight")
    return module.get_parameter("parametrizations.weight.original" if computed else "weight")


def _fan_in(module: nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d) -> float:
    if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
        return module.weight.shape[0] * math.prod(module.kernel_size) / math.prod(module.stride)
    return float(module.weight[0].numel())
