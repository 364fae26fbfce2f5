"""A run of `noisyfer bench` as a teacher: what was trained on noisy labels labels images."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

import torch
from torch import Tensor

from ..training.trained import Trained
from .foreign import in_pieces


class RunTeacher:
    """The method of a trained run, behind the contract of a teacher.

    Args:
        annotator: its name.
        trained: the run.
        device: `cpu` or `cuda`.
    """

    def __init__(self, annotator: str, trained: Trained, device: str = "cpu") -> None:
        self.annotator, self.trained = annotator, trained
        self.size, self.align = trained.size, trained.learned.align
        self.tasks, self.figures, self.origin = trained.learned.tasks, trained.figures, trained.origin
        self.architecture = f"{trained.name} on {trained.architecture}"
        self.device = torch.device(device)
        self.method = trained.method(device)

    @cached_property
    def sha256(self) -> str:
        """Over the configuration, what the outputs mean, and the tensors that predict."""
        told = {"run": self.trained.run, "learned": self.trained.learned.to_json()}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for name, tensor in sorted(self.method.predictor().items()):
            digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Label images by the method's own `predict`; see `Teacher.predict`."""
        found = in_pieces(self.method.predict, images.to(self.device))
        return {task: values.float().cpu() for task, values in found.items()}
