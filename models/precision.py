"""Half floats as float32, where digits matter."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_fp32(values: Tensor) -> Tensor:
    """The values as float32, or as they are where they are wider.

    On a CPU autocast leaves in bf16 what is computed from a network's bf16 outputs, softmaxes included.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
