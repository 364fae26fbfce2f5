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
    def _iterate(self, weight: Tensor) -> None:
        """One power iteration, u first as torch has it."""
        matrix = as_matrix(weight, self.transposed)
        v = _ordered(self._v, weight, self.transposed)
        self._u.copy_(functional.normalize(matrix @ v, dim=0, eps=EPSILON))
        self._v.copy_(
            _restored(functional.normalize(matrix.t() @ self._u, dim=0, eps=EPSILON), weight, self.transposed)
        )

    def scale(self, weight: Tensor) -> Tensor:
        """1/σ with σ = uᵀWv, a number; in training after a power iteration. u and v are constants of its gradient."""
        with torch.autocast(weight.device.type, enabled=False):  # one iteration in bf16 would not find σ
            if self.training:
                self._iterate(weight)
            # the next iteration writes u and v anew, which a backward through this one must not see
            u, v = self._u.clone(), _ordered(self._v, weight, self.transposed).clone()
            return 1 / torch.dot(u, as_matrix(weight, self.transposed) @ v)

    def forward(self, weight: Tensor) -> Tensor:
        """W/σ."""
        return weight * self.scale(weight)


def spectral_norm(layer: Layer) -> Layer:
    """Put a layer's weight under spectral norm."""
    weight = cast(Tensor, layer.weight)
    with torch.no_grad():
        norm = SpectralNorm(weight, isinstance(layer, nn.ConvTranspose2d))
    parametrize.register_parametrization(layer, "weight", norm)
    return layer


def scaled_inputs(layer: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and weight of a linear layer or convolution whose product is that of the inputs and the normed weight.

    1/σ is multiplied into the smaller of the two: behind the first layers a weight has more numbers than its inputs,
    and a normed weight would have to be kept until the backward.
    """
    if not parametrize.is_parametrized(layer):
        return inputs, cast(Tensor, layer.weight)
    weight, norm = parametrized(layer)
    scale = norm.scale(weight)
    return (inputs * scale, weight) if inputs.numel() < weight.numel() else (inputs, weight * scale)


def parametrized(layer: nn.Module) -> tuple[Tensor, SpectralNorm]:
    """The weight as it is learned, and its norm."""
    found = cast(Any, layer.parametrizations).weight
    return found.original, found[0]
