"""Layers whose numbers depend on the whole batch, also where several processes hold parts of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..peers import ALONE, Peers
from ..precision import at_least_fp32


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics are the whole batch's; alone it is torch's own.

    torch.nn.SyncBatchNorm does the same on GPUs and refuses tensors on a CPU, so it cannot serve here.
    """

    peers: Peers = ALONE

    def forward(self, features: Tensor) -> Tensor:
        """Normalise B×C×H×W, of which this process holds its rows."""
        if self.peers.size == 1 or not self.training:
            return super().forward(features)
        # the mean first, then squares about it: E[x²] − E[x]² would lose digits where the mean is large
        wide = at_least_fp32(features)
        mean = self.peers.average(wide.mean(dim=(0, 2, 3)))
        centred = wide - mean[:, None, None]
        variance = self.peers.average(centred.square().mean(dim=(0, 2, 3)))
        self._remember(mean.detach(), variance.detach(), self.peers.size * features.numel() // features.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as torch does: the unbiased variance, `count` values a channel."""
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            raise ValueError("batch norm over several processes needs running statistics and a momentum")
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class Dropout(nn.Dropout):
    """Dropout whose mask is drawn for the whole batch, of which a process takes its rows; alone it is torch's own.

    On a CPU torch draws the same numbers for its own dropout, so that one process and several drop the same units;
    on a GPU its fused kernel draws others, as another seed would.
    """

    peers: Peers = ALONE

    def forward(self, features: Tensor) -> Tensor:
        """Zero some of the entries of B×F, of which this process holds its rows, and scale the others up."""
        if self.peers.size == 1 or not self.training or self.p == 0:
            return functional.dropout(features, self.p, self.training, self.inplace)
        whole = features.new_empty((len(features) * self.peers.size, *features.shape[1:]))
        return features * self.peers.own(whole.bernoulli_(1 - self.p).div_(1 - self.p))
