"""The contract between a way of learning and the one training loop that serves them all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from ...core.config import option
from ...core.registry import Registry
from ..networks.backbone import VGG, build_trunk
from ..networks.encoder import Trunk
from ..networks.shared import BatchNorm2d, Dropout
from ..peers import ALONE, Peers


@dataclass(frozen=True)
class LabelSetSpec:
    """A label set as a method sees it.

    Attributes:
        name: e.g. `class_flip20`.
        task: e.g. `class`, `expression`, `va`.
        width: K classes, or 2 for valence and arousal.
        continuous: values in [-1, 1] instead of class ids.
        transition: where it is known how the noise was made, row-stochastic K×K: row the true class, column the
            label. For methods that are told to use it; none does so by itself.
    """

    name: str
    task: str
    width: int
    continuous: bool = False
    transition: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Problem:
    """What there is to learn.

    Attributes:
        image_size: S, pixels.
        label_sets: the sets to train on, in the order chosen.
        samples: number of training samples.
    """

    image_size: int
    label_sets: tuple[LabelSetSpec, ...]
    samples: int


@dataclass(frozen=True)
class Batch:
    """A batch on the device.

    Attributes:
        images: uint8 B×3×S×S, 0 to 255; of several processes each has its rows of them and of all else here.
        labels: per label set int64 B (class ids; 0 where missing) or float32 B×2 (valence, arousal; 0 where missing).
        masks: per label set bool B, true where there is a label.
        indices: int64 B, each sample's position in the training set, 0 to samples − 1.
    """

    images: Tensor
    labels: dict[str, Tensor]
    masks: dict[str, Tensor]
    indices: Tensor


class TrainingSet(Protocol):
    """All training samples, for methods that look at them beyond their batches.

    Attributes:
        labels: per label set N labels on the device, as in a batch.
        masks: per label set bool N.
    """

    labels: dict[str, Tensor]
    masks: dict[str, Tensor]

    def __len__(self) -> int: ...

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All samples in their order, without augmentation."""


@dataclass(frozen=True)
class Uses:
    """What a method can learn from.

    Attributes:
        labels: `chosen` — the sets the user names; `truth` — the clean or human set of the task; `majority` — the
            majority vote of the chosen sets.
        continuous: valence/arousal sets are used.
        several: more than one set at once.
        missing: sets may lack labels on some samples.
        maps: the encoder must have feature maps with places, which not every model of timm has.
    """

    labels: Literal["chosen", "truth", "majority"] = "chosen"
    continuous: bool = False
    several: bool = True
    missing: bool = True
    maps: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """Options that every method has."""

    arch: str = option(VGG, "the encoder: vgg (the paper's), or a model of timm such as resnet18")
    width: float = option(1.0, "multiplier of every channel count of vgg; 1 is the paper's network", above=0, high=8)
    hidden: int = option(512, "units of vgg's two hidden linear layers", low=1)
    dropout: float = option(0.5, "share of those units that a training step leaves out", low=0, high=0.99)
    initial: Literal["outputs", "inputs"] = option(
        "outputs",
        "how vgg's first weights are drawn: convolutions by their outputs, as the authors do, or all by their inputs",
        choices=("outputs", "inputs"),
    )
    stem: Literal["model", "small"] = option(
        "model",
        "first layers of a ResNet of timm: its own, or 3×3 without pooling for 32 px",
        choices=("model", "small"),
    )
    learning_rate: float = option(1e-4, "Adam's learning rate", above=0)


class Method(ABC):
    """A way to learn from label sets; its networks and optimizers live inside.

    A subclass registers itself with `@METHODS.register(name)`, names its `paper` (authors, venue and year), its
    configuration class and what it uses, fills
    `self.networks` and `self.optimizers`, and writes `update` and `predict`. All randomness during training comes from
    torch's default generator, which the training loop seeds at each epoch, so that a resumed run repeats exactly.

    With `parallel` it also learns as one of several processes that `join` connects, each with its rows of a batch: it
    gathers what the losses need, draws random numbers for the whole batch and adds up gradients before each step of an
    optimizer; see `models.peers.Peers`.
    """

    uses: ClassVar[Uses] = Uses()
    paper: ClassVar[str] = ""
    config_class: ClassVar[type[TrainingConfig]] = TrainingConfig
    parallel: ClassVar[bool] = False

    def __init__(self, problem: Problem, config: Any, device: torch.device) -> None:
        self.problem = problem
        self.config = config
        self.device = device
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.peers: Peers = ALONE

    def join(self, peers: Peers) -> None:
        """Share every batch with other processes, which call this with theirs; statistics and masks become common."""
        self.peers = peers
        for network in self.networks.values():
            for module in network.modules():
                if isinstance(module, (BatchNorm2d, Dropout)):
                    module.peers = peers

    def prepare(self, training: TrainingSet) -> None:  # noqa: B027  (most methods see their batches only)
        """Called once before training, and again before a resumed run's state is loaded, with all training samples."""

    def start_epoch(self, epoch: int) -> None:  # noqa: B027  (most methods have no schedule)
        """Called before each epoch, counted from 0; schedules belong here."""

    @abstractmethod
    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimisation step; returns detached scalar tensors by name, `loss` among them."""

    @abstractmethod
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Predict each task for uint8 images B×3×S×S: probabilities B×K, or valence and arousal B×2."""

    def predict_sets(self, images: Tensor) -> dict[str, Tensor]:
        """Predict by each head alone, where the method has several; empty otherwise. Their tasks are in `heads`."""
        return self.predict_with_sets(images)[1]

    @property
    def heads(self) -> dict[str, str]:
        """The task of each head: of a label set, by its name, unless a method has other heads."""
        return {label_set.name: label_set.task for label_set in self.problem.label_sets}

    def predict_with_sets(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What `predict` and `predict_sets` say; a method with several heads overrides this."""
        return self.predict(images), {}

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs, as tensors and plain numbers."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Bring back what `state_dict` returned."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    @property
    def predicting(self) -> dict[str, nn.Module]:
        """The networks that `predict` needs, by name; all of them where a method does not say less."""
        return self.networks

    def predictor(self) -> dict[str, Tensor]:
        """Everything that `predict` needs, as named tensors."""
        return {
            f"{name}.{key}": tensor
            for name, network in self.predicting.items()
            for key, tensor in network.state_dict().items()
        }

    def load_predictor(self, tensors: Mapping[str, Tensor]) -> None:
        """Bring back what `predictor` returned; the rest of the state stays as it is.

        Raises:
            RuntimeError: tensors are missing, too many or of another shape.
        """
        left = dict(tensors)
        for name, network in self.predicting.items():
            own = [key for key in left if key.startswith(f"{name}.")]
            network.load_state_dict({key.removeprefix(f"{name}."): left.pop(key) for key in own})
        if left:
            raise RuntimeError(f"there is no place for {next(iter(left))}")

    def _whole(self, batch: Batch) -> Batch:
        """The batch with all processes' labels and masks beside this one's images and indices."""
        if self.peers.size == 1:
            return batch
        labels = {name: self.peers.gather(values) for name, values in batch.labels.items()}
        masks = {name: self.peers.gather(mask) for name, mask in batch.masks.items()}
        return Batch(batch.images, labels, masks, batch.indices)

    def _place(self, network: nn.Module) -> Any:
        # channels_last is the faster layout for these convolutions, on CPUs and on tensor cores alike
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _trunk(self) -> Trunk:
        """A fresh trunk as configured."""
        return configured_trunk(self.config, self.problem.image_size)

    def _adam(self, *networks: nn.Module, rate: float = 1.0) -> torch.optim.Adam:
        """Adam on the networks' parameters, at so many times the configured learning rate."""
        parameters = [parameter for network in networks for parameter in network.parameters()]
        return torch.optim.Adam(parameters, lr=rate * self.config.learning_rate, betas=(0.9, 0.999), fused=True)


def configured_trunk(config: TrainingConfig, image_size: int) -> Trunk:
    """A fresh trunk, for images of S pixels.

    Raises:
        UserError: an unknown `arch`, or one that cannot be had like this.
    """
    return build_trunk(
        config.arch,
        image_size,
        width=config.width,
        hidden=config.hidden,
        dropout=config.dropout,
        by_inputs=config.initial == "inputs",
        small_stem=config.stem == "small",
    )


LOOK_IMAGES = 500

METHODS: Registry[type[Method]] = Registry("method")


@dataclass(frozen=True)
class Synthesis:
    """Images drawn by a decoder, for the figure with a column a class.

    Attributes:
        images: rows×K×3×S×S in [-1, 1].
        task: the task whose class changes from column to column.
    """

    images: Tensor
    task: str


def images_at_once(image_size: int) -> int:
    """Images of S pixels that are looked at together without gradients: 500, fewer above 64 px to bound memory."""
    return max(1, min(LOOK_IMAGES, LOOK_IMAGES * 64 * 64 // image_size**2))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Class ids of any shape as float32 with K at the end; torch's own looks at the ids first, and a GPU waits."""
    return (labels[..., None] == torch.arange(classes, device=labels.device)).to(torch.get_default_dtype())


def unit_images(images: Tensor) -> Tensor:
    """uint8 images B×3×S×S to float32 in [-1, 1], in channels_last layout."""
    return images.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 127.5).sub_(1)
