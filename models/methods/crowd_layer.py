"""`crowd-layer`: a matrix for each label set on top of the network's class probabilities, learned with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..losses import cross_entropy
from ..networks import Classifier
from ..networks.encoder import Trunk
from .base import METHODS, Batch, LabelSetSpec, TrainingConfig, Uses, unit_images
from .classifier import ClassifierMethod


class CrowdClassifier(Classifier):
    """A classifier and a K×K matrix for each label set, the identity at first.

    Args:
        trunk: images to features B×F.
        classes: K.
        sets: T label sets.
    """

    def __init__(self, trunk: Trunk, classes: int, sets: int) -> None:
        super().__init__(trunk, classes)
        self.crowd = nn.Parameter(torch.eye(classes).repeat(sets, 1, 1))

    def transform(self, logits: Tensor, place: int) -> Tensor:
        """W_r·softmax(z) of logits B×K, for the set at this place, B×K."""
        with torch.autocast(logits.device.type, enabled=False):
            transformed: Tensor = torch.softmax(logits.float(), dim=1) @ self.crowd[place].T
        return transformed


@METHODS.register("crowd-layer")
class CrowdLayer(ClassifierMethod):
    """Crowd layer: a matrix for each label set on top of the network's class probabilities, learned with it.

    σ = softmax(z)                                    the bottleneck, which predicts
    a_r = W_r·σ                                       what set r says, W_r K×K (the paper's MW)
    L = mean over sets of −mean log softmax(a_r)_ỹ    over the samples that set r labels

    W_r starts as the identity, has no bias and no constraint, and Adam learns it together with the network.

    Choices: the cross entropy normalises a_r by a softmax, as in the authors' code, since a_r may be negative. With W
    the identity that loss is at least ln(1 + (K − 1)/e) (1.46 for ten classes), and entries of W must grow for it to
    fall. The paper sums over annotators, here sets are averaged as in all methods. Each set's own prediction is
    softmax(a_r).
    """

    paper = "Rodrigues & Pereira, AAAI 2018"
    uses = Uses()
    config_class = TrainingConfig
    network: CrowdClassifier

    def set_loss(self, logits: Tensor, label_set: LabelSetSpec, batch: Batch) -> Tensor:
        """The cross entropy of what the set's matrix makes of the probabilities."""
        transformed = self.network.transform(logits, self.problem.label_sets.index(label_set))
        return cross_entropy(transformed, batch.labels[label_set.name], batch.masks[label_set.name])

    @torch.inference_mode()
    def predict_with_sets(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The bottleneck's probabilities, and each set's."""
        logits = self.network.eval()(unit_images(images))
        sets = {
            label_set.name: torch.softmax(self.network.transform(logits, place), dim=1)
            for place, label_set in enumerate(self.problem.label_sets)
        }
        return self.probabilities(self.by_task(logits)), sets

    def _classifier(self) -> CrowdClassifier:
        network = CrowdClassifier(self._trunk(), sum(self.widths), len(self.problem.label_sets))
        found: CrowdClassifier = self._place(network)
        return found
