"""Spectral normalisation, equal to torch's, with few passes over the weights."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

EPSILON = 1e-12
FIRST_ITERATIONS = 15
"""Power iterations on the initial weights, as in `torch.nn.utils.parametrizations.spectral_norm`."""

Layer = TypeVar("Layer", bound=nn.Module)


class _Divide(torch.autograd.Function):
    """W/σ with σ = uᵀWv for fixed u and v; its gradient is (G − ⟨G, W/σ⟩·uvᵀ)/σ for the gradient G of W/σ.

    Written as one function it takes one pass over the weights forward and two backward, where the same in torch's
    operations takes a dozen.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor, transposed: bool) -> Tensor:
        """Divide the weight."""
        normed = weight / sigma
        ctx.save_for_backward(normed, sigma, u, v)
        ctx.transposed = transposed
        return normed

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the weight."""
        normed, sigma, u, v = ctx.saved_tensors
        slope = slopes[0]
        product = (flat_view(slope, normed) @ flat_view(normed, normed)) / sigma
        found = slope / sigma
        matrix, columns = as_matrix(found, ctx.transposed), _ordered(v, found, ctx.transposed)
        matrix.addr_(u * -product, columns)
        return found, None, None, None, None


def flat_view(tensor: Tensor, like: Tensor) -> Tensor:
    """All numbers in the order in which `like` has them in memory; a view where both are stored alike."""
    if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).reshape(-1)
    return tensor.reshape(-1)


def as_matrix(weight: Tensor, transposed: bool) -> Tensor:
    """A weight as a matrix with a row for each output: a view, for weights in channels_last and linear ones.

    The columns of a convolution in channels_last are ordered rows, columns, inputs (see `_ordered`); torch's order is
    inputs, rows, columns.
    """
    if weight.dim() == 2:
        return weight
    if not weight.is_contiguous(memory_format=torch.channels_last):
        return weight.transpose(0, 1).flatten(1) if transposed else weight.flatten(1)
    last = weight.permute(0, 2, 3, 1)
    return last.flatten(0, 2).t() if transposed else last.flatten(1)


def _ordered(v: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    """v, which is kept in torch's order of columns, in the order of `as_matrix`."""
    if weight.dim() == 2 or transposed or not weight.is_contiguous(memory_format=torch.channels_last):
        return v
    return v.view(weight.shape[1:]).permute(1, 2, 0).flatten()


def _restored(v: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    """The inverse of `_ordered`."""
    if weight.dim() == 2 or transposed or not weight.is_contiguous(memory_format=torch.channels_last):
        return v
    _, inputs, height, width = weight.shape
    return v.view(height, width, inputs).permute(2, 0, 1).flatten()


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, which one power iteration a training forward estimates.

    Miyato et al. 2018. Vectors, their names and the numbers drawn for them are those of torch's parametrization, so
    that weights can be exchanged.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, transposed: bool) -> None:
        super().__init__()
        self.transposed = transposed
        matrix = as_matrix(weight, transposed)
        rows, columns = matrix.shape
        u, v = (functional.normalize(weight.new_empty(n).normal_(), dim=0, eps=EPSILON) for n in (rows, columns))
        self.register_buffer("_u", u)
        self.register_buffer("_v", v)
        for _ in range(FIRST_ITERATIONS):
            self._iterate(weight)

    @torch.no_grad()
    def _iterate(self, weight: Tensor) -> Tensor:
        """One power iteration, u first as torch has it; returns Wᵀu before it is normalised, in the matrix's order."""
        matrix = as_matrix(weight, self.transposed)
        v = _ordered(self._v, weight, self.transposed)
        self._u.copy_(functional.normalize(matrix @ v, dim=0, eps=EPSILON))
        product = matrix.t() @ self._u
        normed = functional.normalize(product, dim=0, eps=EPSILON)
        self._v.copy_(_restored(normed, weight, self.transposed))
        return product

    def forward(self, weight: Tensor) -> Tensor:
        """W/σ, σ = uᵀWv."""
        with torch.no_grad():
            if self.training:
                product = self._iterate(weight)
            else:
                product = as_matrix(weight, self.transposed).t() @ self._u
            sigma = product @ _ordered(self._v, weight, self.transposed)
        # the next iteration writes u and v anew, which a backward through this one must not see
        u, v = self._u.clone(), self._v.clone()
        normed: Tensor = _Divide.apply(weight, sigma, u, v, self.transposed)  # type: ignore[no-untyped-call]
        return normed


def spectral_norm(layer: Layer) -> Layer:
    """Put a layer's weight under spectral norm."""
    weight = cast(Tensor, layer.weight)
    with torch.no_grad():
        norm = SpectralNorm(weight, isinstance(layer, nn.ConvTranspose2d))
    parametrize.register_parametrization(layer, "weight", norm, unsafe=True)
    return layer
