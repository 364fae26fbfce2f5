"""`scn`: Self-Cure Network, importance weights that are ranked and labels that are changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core.config import option
from ..losses import masked_mean
from ..networks import Classifier
from ..networks.encoder import Trunk
from .base import METHODS, Batch, Problem, TrainingConfig, TrainingSet, Uses, unit_images
from .classifier import ClassifierMethod


@dataclass(frozen=True)
class SCNConfig(TrainingConfig):
    """Options of the Self-Cure Network; defaults are those of the authors' code, which has no `pretrain_epochs`."""

    pretrain_epochs: int = option(
        5, "epochs of plain cross entropy on all label sets before importances are learned and used", low=0
    )
    high_share: float = option(0.7, "β, share of a batch in the group of high importance", above=0, high=1)
    rank_margin: float = option(0.15, "δ₁, by how much the groups' mean importances should differ", low=0, high=1)
    rank_weight: float = option(1.0, "weight of the rank regularization against the cross entropy", low=0)
    relabel_margin: float = option(
        0.2, "δ₂, a label is changed where another class is more probable by more than this", low=0, high=1
    )
    relabel_epoch: int = option(10, "the first epoch, counted from 1, in which labels are changed", low=1)


class ImportanceClassifier(Classifier):
    """A classifier that also tells each image's importance.

    Args:
        trunk: images to features B×F.
        outputs: K.
    """

    def __init__(self, trunk: Trunk, outputs: int) -> None:
        super().__init__(trunk, outputs)
        self.importance = nn.Linear(trunk.features, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images B×3×S×S in [-1, 1] to B×(K+1): logits z, and the importance α in the last column."""
        features = self.trunk(images)
        return torch.cat([self.head(features), torch.sigmoid(self.importance(features))], dim=1)


@METHODS.register("scn")
class SCN(ClassifierMethod):
    """Weighs logits by a learned importance, separates high from low importances, and changes labels of low ones.

    α = σ(w_α·x + b_α)                                   importance of an image with features x
    L_WCE = −mean log softmax(α·z)_ỹ                     logit-weighted cross entropy, mean over sets
    L_RR = max(0, δ₁ − (ᾱ_high − ᾱ_low))                 rank regularization
    L = L_WCE + w·L_RR

    A batch's images are ranked by α; the first ⌊β·B⌋ of them are the high group (at least one image on either side).
    From epoch `relabel_epoch` on, a label in the low group becomes the most probable class where P_max − P_ỹ > δ₂,
    for each label set by itself; the changed labels stay.

    Choices: the paper's L = γ·L_RR + (1 − γ)·L_WCE is, up to a factor, ours with w = γ/(1 − γ); w = 1 is what the
    authors' code has. The code changes labels in both groups; here the low one only, as the paper says. Sets share an
    image's importance. The prediction is softmax(α·z), as in the code. The paper starts from a network that knows
    faces. On random weights L_RR has the largest gradient and shapes features that do not tell classes apart yet: on
    the digits of the examples nothing is learned for nine epochs. So the first `pretrain_epochs` have
    L = −mean log softmax(z)_ỹ.
    """

    paper = "Wang, Peng, Yang, Lu & Qiao, CVPR 2020"
    uses = Uses()
    config_class = SCNConfig
    config: SCNConfig

    def __init__(self, problem: Problem, config: SCNConfig, device: torch.device) -> None:
        super().__init__(problem, config, device)
        self.labels: dict[str, Tensor] = {}
        self.pretrains = config.pretrain_epochs > 0
        self.relabels = False

    def prepare(self, training: TrainingSet) -> None:
        """Keep the labels, to change them."""
        self.labels = {found.name: training.labels[found.name].clone() for found in self.problem.label_sets}

    def start_epoch(self, epoch: int) -> None:
        """Use importances after `pretrain_epochs`, and change labels from epoch `relabel_epoch` on, counted from 1."""
        self.pretrains = epoch < self.config.pretrain_epochs
        self.relabels = epoch + 1 >= self.config.relabel_epoch and not self.pretrains

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam, and new labels by the outputs before it."""
        self.network.train()
        outputs = self.network(unit_images(batch.images)).float()
        labels = {name: values[batch.indices] for name, values in self.labels.items()}
        now = Batch(batch.images, labels, batch.masks, batch.indices)
        if self.pretrains:
            loss, told = self.loss(self.by_task(outputs[:, :-1]), now)
            self.step(loss)
            return {"loss": loss.detach(), **told}
        logits, importance = weighted(outputs), outputs[:, -1]
        entropy, told = self.loss(self.by_task(logits), now)
        high = self._high(importance.detach())
        rank = rank_loss(importance, high, self.config.rank_margin)
        loss = entropy + self.config.rank_weight * rank
        self.step(loss)
        told |= {"rank": rank.detach(), "importance": importance.detach().mean()}
        if self.relabels:
            told["relabelled"] = self._relabel(logits.detach(), ~high, now)
        return {"loss": loss.detach(), **told}

    def _high(self, importance: Tensor) -> Tensor:
        """Which of B images are in the group of high importance."""
        rows = len(importance)
        count = max(1, min(int(rows * self.config.high_share), rows - 1))
        places = importance.argsort(descending=True, stable=True)
        return torch.zeros(rows, dtype=torch.bool, device=self.device).index_fill_(0, places[:count], True)

    def _relabel(self, logits: Tensor, low: Tensor, batch: Batch) -> Tensor:
        """Change labels of the low group; returns the changed share of the batch's labels."""
        probabilities = torch.softmax(logits, dim=1)
        probable, classes = probabilities.max(dim=1)
        changes, present = [], []
        for name, labels in batch.labels.items():
            given = probabilities.gather(1, labels[:, None])[:, 0]
            changed = low & batch.masks[name] & (probable - given > self.config.relabel_margin)
            self.labels[name].index_copy_(0, batch.indices, torch.where(changed, classes, labels))
            changes.append(changed)
            present.append(batch.masks[name])
        return masked_mean(torch.stack(changes).float(), torch.stack(present))

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Class probabilities B×K, of the weighted logits."""
        self.network.eval()
        return self.probabilities(self.by_task(weighted(self.network(unit_images(images)))))

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizer and the labels as they are now."""
        return {**super().state_dict(), "labels": dict(self.labels)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        super().load_state_dict(state)
        self.labels = {name: values.to(self.device) for name, values in state["labels"].items()}

    def _classifier(self) -> Classifier:
        found: Classifier = self._place(ImportanceClassifier(self._trunk(), sum(self.widths)))
        return found


def weighted(outputs: Tensor) -> Tensor:
    """α·z, B×K, of outputs B×(K+1)."""
    return outputs[:, -1:] * outputs[:, :-1]


def rank_loss(importance: Tensor, high: Tensor, margin: float) -> Tensor:
    """max(0, δ₁ − (ᾱ_high − ᾱ_low)); 0 where a group is empty.

    Args:
        importance: B, in [0, 1].
        high: bool B, the group of high importance; the others are the low one.
        margin: δ₁.
    """
    both = high.any() & ~high.all()
    gap = masked_mean(importance, high) - masked_mean(importance, ~high)
    return torch.relu(margin - gap) * both
