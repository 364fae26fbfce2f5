"""Convolutions on images of a few pixels, as matrix products without padding.

At 1×1, 2×2 and 4×4 pixels most taps of a kernel lie on padding, and the libraries' convolutions, made for large images,
reach a small share of a CPU's rate. Here each position of the result sees the part of the kernel that lies on the
image, as matrix products of views: nothing is padded and nothing is copied. On other devices, and for larger images,
torch's own convolutions are used.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .spectral import scaled_inputs

SMALL = 2
"""Side of the results (of the images, where the convolution is transposed) that are always computed here."""

SMALL_WIDE, WIDE = 4, 256
"""The same for convolutions with so many channels in and out; with fewer, sixteen positions are too many calls."""


def _is_small(height: int, width: int, kernel: Tensor) -> bool:
    if kernel.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False  # the products below want one dtype, and a compiler would unroll them
    if torch.onnx.is_in_onnx_export():
        return False  # as a graph they would be hundreds of nodes for one number of images
    return height == width <= (SMALL_WIDE if min(kernel.shape[:2]) >= WIDE else SMALL)


class _Row(NamedTuple):
    """What one row of the kernel does at one position of the result.

    Attributes:
        row: of the result.
        column: of the result.
        source: row of the image.
        sources: columns of the image.
        tap: row of the kernel.
        taps: columns of the kernel.
    """

    row: int
    column: int
    source: int
    sources: slice
    tap: int
    taps: slice


@cache
def _rows(size: int, kernel: int, stride: int, padding: int) -> tuple[_Row, ...]:
    """The rows of the kernel at all positions of the result, without those that lie on the padding."""
    results = (size + 2 * padding - kernel) // stride + 1
    found = []
    for row in range(results):
        for column in range(results):
            left = column * stride - padding
            sources = slice(max(0, left), min(size, left + kernel))
            taps = slice(sources.start - left, sources.stop - left)
            for tap in range(kernel):
                source = row * stride - padding + tap
                if 0 <= source < size:
                    found.append(_Row(row, column, source, sources, tap, taps))
    return tuple(found)


def _gather(images: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    """The convolution of images B×S×S×I with a kernel O×k×k×I: B×R×R×O."""
    size, taps = images.shape[1], kernel.shape[1]
    results = (size + 2 * padding - taps) // stride + 1
    found = images.new_zeros(len(images), results, results, len(kernel))
    for each in _rows(size, taps, stride, padding):
        place = found[:, each.row, each.column]
        seen = images[:, each.source, each.sources].flatten(1)
        torch.addmm(place, seen, kernel[:, each.tap, each.taps].flatten(1).t(), out=place)
    return found


def _scatter(results: Tensor, kernel: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """The transpose of `_gather` in its images: B×R×R×O to B×S×S×I."""
    images = results.new_zeros(len(results), size, size, kernel.shape[3])
    for each in _rows(size, kernel.shape[1], stride, padding):
        place = images[:, each.source, each.sources].flatten(1)
        torch.addmm(place, results[:, each.row, each.column], kernel[:, each.tap, each.taps].flatten(1), out=place)
    return images


def _correlate(images: Tensor, results: Tensor, taps: int, stride: int, padding: int) -> Tensor:
    """The transpose of `_gather` in its kernel: O×k×k×I."""
    size, inputs = images.shape[1], images.shape[3]
    kernel = results.new_zeros(results.shape[3], taps, taps, inputs)
    for each in _rows(size, taps, stride, padding):
        place = kernel[:, each.tap, each.taps].flatten(1)
        seen = images[:, each.source, each.sources].flatten(1)
        torch.addmm(place, results[:, each.row, each.column].t(), seen, out=place)
    return kernel


class _Convolution(torch.autograd.Function):
    """`_gather` with its gradients; tensors have torch's order of axes, B×C×H×W and O×I×k×k."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
        """Convolve."""
        ctx.save_for_backward(images, kernel)
        ctx.stride, ctx.padding = stride, padding
        return _gather(_last(images), _last(kernel), stride, padding).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of images and kernel."""
        images, kernel = ctx.saved_tensors
        slope = _last(slopes[0])
        of_images = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_images = _scatter(slope, _last(kernel), images.shape[2], ctx.stride, ctx.padding).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            found = _correlate(_last(images), slope, kernel.shape[2], ctx.stride, ctx.padding)
            of_kernel = found.permute(0, 3, 1, 2)
        return of_images, of_kernel, None, None


class _Transposed(torch.autograd.Function):
    """`_scatter` with its gradients: a transposed convolution; the kernel is I×O×k×k as torch has it."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
        """Convolve, transposed."""
        ctx.save_for_backward(images, kernel)
        ctx.stride, ctx.padding = stride, padding
        size = (images.shape[2] - 1) * stride - 2 * padding + kernel.shape[2]
        return _scatter(_last(images), _last(kernel), size, stride, padding).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of images and kernel."""
        images, kernel = ctx.saved_tensors
        slope = _last(slopes[0])
        of_images = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_images = _gather(slope, _last(kernel), ctx.stride, ctx.padding).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            found = _correlate(slope, _last(images), kernel.shape[2], ctx.stride, ctx.padding)
            of_kernel = found.permute(0, 3, 1, 2)
        return of_images, of_kernel, None, None


def _last(tensor: Tensor) -> Tensor:
    """Channels as the last axis; a view where the tensor is in channels_last."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def convolve(images: Tensor, kernel: Tensor, bias: Tensor | None, *, stride: int = 1, padding: int = 0) -> Tensor:
    """A convolution, B×I×H×W with O×I×k×k to B×O×H'×W'.

    Args:
        images: B×I×H×W.
        kernel: O×I×k×k.
        bias: O, or None.
        stride: between positions.
        padding: pixels of zeros on each side.
    """
    results = (images.shape[2] + 2 * padding - kernel.shape[2]) // stride + 1
    square = images.shape[2] == images.shape[3]
    if not square or kernel.shape[2] == 1 or not _is_small(results, results, kernel):
        return functional.conv2d(images, kernel, bias, stride, padding)
    found: Tensor = _Convolution.apply(images, kernel, stride, padding)
    return found if bias is None else found + bias[:, None, None]


class Linear(nn.Linear):
    """torch's layer, which may be under spectral norm."""

    def forward(self, input: Tensor) -> Tensor:
        """Map B×I to B×O."""
        inputs, weight = scaled_inputs(self, input)
        return functional.linear(inputs, weight, self.bias)


class Conv2d(nn.Conv2d):
    """torch's layer for square kernels, fast on small images too; it may be under spectral norm."""

    def forward(self, input: Tensor) -> Tensor:
        """Map B×I×H×W to B×O×H'×W'."""
        inputs, weight = scaled_inputs(self, input)
        return convolve(inputs, weight, self.bias, stride=self.stride[0], padding=int(self.padding[0]))


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch's layer for square kernels, fast on small images too; it may be under spectral norm."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map B×I×H×W to B×O×H'×W'."""
        inputs, weight = scaled_inputs(self, input)
        stride, padding = self.stride[0], int(self.padding[0])
        if not _is_small(inputs.shape[2], inputs.shape[3], weight):
            return functional.conv_transpose2d(inputs, weight, self.bias, stride, padding)
        found: Tensor = _Transposed.apply(inputs, weight, stride, padding)
        return found if self.bias is None else found + self.bias[:, None, None]
