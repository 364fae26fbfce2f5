"""The adversarial model written plainly from the network descriptions: what the package's step is measured against.

Every layer is torch's own, in torch's own layout; nothing is fused, frozen, batched or kept from one update to the
next: each update runs encoder and decoder, and D once for each side. `PlainProposed` takes the same initial weights as
`models.methods.proposed` (`load_state_dict`), so that both can be run on the same batch and compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from noisyfer.models.methods import Batch, LabelSetSpec
from noisyfer.models.methods.proposed import ProposedConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

LATENT = 100


def scaled(channels: int, width: float) -> int:
    """Channels at a width, at least 1."""
    return max(1, round(channels * width))


def convolution(inputs: int, outputs: int, kernel: int, bias: bool = True) -> nn.Module:
    """A convolution under spectral norm that keeps height and width."""
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias))


def linear(inputs: int, outputs: int) -> nn.Module:
    """A linear layer under spectral norm."""
    return spectral_norm(nn.Linear(inputs, outputs))


class Trunk(nn.Module):
    """VGG-16's convolutions and two hidden layers."""

    def __init__(self, size: int, width: float, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for outputs, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(repeats):
                layers += [nn.Conv2d(channels, scaled(outputs, width), 3, padding=1), nn.ReLU()]
                channels = scaled(outputs, width)
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        flat = channels * (size // 32) ** 2
        first, second = nn.Linear(flat, hidden), nn.Linear(hidden, hidden)
        self.hidden = nn.Sequential(first, nn.ReLU(), nn.Dropout(0.5), second, nn.ReLU(), nn.Dropout(0.5))

    def forward(self, images: Tensor) -> Tensor:
        """Images to features."""
        return self.hidden(self.convolutions(images).flatten(1))


class Classifier(nn.Module):
    """VGG-16 with one linear head."""

    def __init__(self, size: int, classes: int, width: float, hidden: int) -> None:
        super().__init__()
        self.trunk = Trunk(size, width, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits."""
        return self.head(self.trunk(images))


class Encoder(nn.Module):
    """The trunk with heads for mean, log-variance and labels."""

    def __init__(self, size: int, widths: Sequence[int], width: float, hidden: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.trunk = Trunk(size, width, hidden)
        self.mean = nn.Linear(hidden, LATENT)
        self.log_variance = nn.Linear(hidden, LATENT)
        self.labels = nn.Linear(hidden, sum(widths))

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Images to latent vectors and the outputs of every set."""
        features = self.trunk(images)
        latent = self.mean(features) + torch.exp(0.5 * self.log_variance(features)) * noise
        return latent, list(self.labels(features).split(self.widths, dim=1))


class Decoder(nn.Module):
    """A linear layer and transposed convolutions from 1×1."""

    def __init__(self, size: int, widths: Sequence[int], width: float) -> None:
        super().__init__()
        counts = {32: (512, 512, 256, 128), 64: (512, 512, 256, 128, 64), 128: (512, 512, 512, 256, 128, 64)}[size]
        self.linear = linear(LATENT + sum(widths), scaled(512, width))
        layers: list[nn.Module] = []
        channels = scaled(512, width)
        for count in (scaled(each, width) for each in counts):
            up = spectral_norm(nn.ConvTranspose2d(channels, count, 4, stride=2, padding=1))
            layers += [up, nn.BatchNorm2d(count), nn.ReLU()]
            channels = count
        layers += [spectral_norm(nn.ConvTranspose2d(channels, 3, 4, stride=2, padding=1)), nn.Tanh()]
        self.upsampling = nn.Sequential(*layers)

    def forward(self, latent: Tensor, labels: Sequence[Tensor]) -> Tensor:
        """Latent vectors and labels to images."""
        code = functional.relu(self.linear(torch.cat([latent, *labels], dim=1)))
        return self.upsampling(code[:, :, None, None])


class Block(nn.Module):
    """Two 3×3 convolutions and average pooling, and a 1×1 shortcut with pooling behind it."""

    def __init__(self, inputs: int, outputs: int, activate_first: bool, halve: bool) -> None:
        super().__init__()
        self.activate_first, self.halve = activate_first, halve
        self.first = convolution(inputs, outputs, 3)
        self.second = convolution(outputs, outputs, 3)
        self.shortcut = convolution(inputs, outputs, 1) if halve or inputs != outputs else None

    def forward(self, features: Tensor) -> Tensor:
        """Features to features."""
        hidden = self.first(functional.relu(features) if self.activate_first else features)
        hidden = self.second(functional.relu(hidden))
        passed = features if self.shortcut is None else self.shortcut(features)
        total = hidden + passed
        return functional.avg_pool2d(total, 2) if self.halve else total


class Attention(nn.Module):
    """Self-attention (SAGAN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        keys, values = max(1, channels // 8), max(1, channels // 2)
        self.theta = convolution(channels, keys, 1, bias=False)
        self.phi = convolution(channels, keys, 1, bias=False)
        self.g = convolution(channels, values, 1, bias=False)
        self.output = convolution(values, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Features to features."""
        batch, _, height, width = features.shape
        queries = self.theta(features).flatten(2)
        keys = functional.max_pool2d(self.phi(features), 2).flatten(2)
        values = functional.max_pool2d(self.g(features), 2).flatten(2)
        attention = torch.softmax(torch.bmm(queries.transpose(1, 2), keys), dim=-1)
        mixed = torch.bmm(values, attention.transpose(1, 2)).view(batch, -1, height, width)
        return self.gain * self.output(mixed) + features


class ImageStream(nn.Module):
    """Residual blocks with attention after the first."""

    def __init__(self, size: int, width: float) -> None:
        super().__init__()
        self.pool_first = size > 32
        first, *others = (scaled(channels, width) for channels in (64, 128, 256, 512, 512))
        blocks: list[nn.Module] = [Block(3, first, False, True), Attention(first)]
        channels = first
        for outputs in others:
            blocks.append(Block(channels, outputs, True, True))
            channels = outputs
        blocks.append(Block(channels, channels, True, False))
        self.blocks = nn.Sequential(*blocks)
        self.score = linear(channels, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images to features and scores."""
        images = functional.avg_pool2d(images, 2) if self.pool_first else images
        features = functional.relu(self.blocks(images)).sum(dim=(2, 3))
        return features, self.score(features)


class MLP(nn.Module):
    """h = Linear(x) plus four two-layer branches of ReLU(h)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.entry = linear(inputs, outputs)
        self.inner = nn.ModuleList(linear(outputs, outputs) for _ in range(4))
        self.outer = nn.ModuleList(linear(outputs, outputs) for _ in range(4))

    def forward(self, inputs: Tensor) -> Tensor:
        """Vectors to vectors."""
        hidden = self.entry(inputs)
        active = functional.relu(hidden)
        branches = [outer(functional.relu(inner(active))) for inner, outer in zip(self.inner, self.outer, strict=True)]
        return hidden + sum(branches)


class VectorStream(nn.Module):
    """An MLP block with a score."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = MLP(inputs, outputs)
        self.score = linear(outputs, 1)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors to features and scores."""
        features = self.block(vectors)
        return features, self.score(features)


class Discriminator(nn.Module):
    """A stream for the image, the latent vector and each label set, and a joint one."""

    def __init__(self, size: int, widths: Sequence[int], width: float) -> None:
        super().__init__()
        features = scaled(512, width)
        self.image = ImageStream(size, width)
        self.latent = VectorStream(LATENT, features)
        self.labels = nn.ModuleList(VectorStream(inputs, features) for inputs in widths)
        self.joint = VectorStream(features * (2 + len(widths)), scaled(1024, width))

    def forward(self, images: Tensor, latent: Tensor, labels: Sequence[Tensor]) -> Tensor:
        """Scores B×(T+3)."""
        found = [self.image(images), self.latent(latent)]
        found += [stream(label) for stream, label in zip(self.labels, labels, strict=True)]
        _, joint = self.joint(torch.cat([features for features, _ in found], dim=1))
        return torch.cat([*(score for _, score in found), joint], dim=1)


class PlainProposed:
    """Algorithm 1, each of its updates computed from the images on, for categorical sets without missing labels."""

    def __init__(self, size: int, sets: Sequence[LabelSetSpec], config: ProposedConfig) -> None:
        self.sets, self.config = tuple(sets), config
        widths = [found.width for found in sets]
        self.encoder = Encoder(size, widths, config.width, config.hidden)
        self.decoder = Decoder(size, widths, config.width)
        self.discriminator = Discriminator(size, widths, config.width)
        self.networks = {"encoder": self.encoder, "decoder": self.decoder, "discriminator": self.discriminator}
        generator = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.generator_optimizer = torch.optim.Adam(generator, lr=config.learning_rate, foreach=False)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.learning_rate, foreach=False
        )

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One iteration: D `discriminator_updates` times, then encoder and decoder."""
        images = batch.images.contiguous().float() / 127.5 - 1
        labels = [batch.labels[found.name] for found in self.sets]
        given = [functional.one_hot(label, found.width).float() for label, found in zip(labels, self.sets, strict=True)]
        for _ in range(self.config.discriminator_updates):
            with torch.no_grad():
                latent, outputs, noise, drawn = self._generate(images, given)
            encoder_scores = self.discriminator(images, latent, self._shown(outputs))
            decoder_scores = self.discriminator(drawn, noise, given)
            loss = functional.relu(1 - encoder_scores).mean() + functional.relu(1 + decoder_scores).mean()
            self.discriminator_optimizer.zero_grad()
            loss.backward()
            self.discriminator_optimizer.step()
        latent, outputs, noise, drawn = self._generate(images, given)
        prediction = sum(functional.cross_entropy(*pair) for pair in zip(outputs, labels, strict=True))
        encoder_scores = self.discriminator(images, latent, self._shown(outputs))
        decoder_scores = self.discriminator(drawn, noise, given)
        total = prediction + self.config.lambda_ * (encoder_scores.mean() - decoder_scores.mean())
        self.generator_optimizer.zero_grad()
        total.backward()
        self.generator_optimizer.step()
        return {"loss": total.detach(), "adversarial_discriminator": loss.detach()}

    def _generate(self, images: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        latent, outputs = self.encoder(images, torch.randn(len(images), LATENT))
        noise = torch.randn(len(images), LATENT)
        return latent, outputs, noise, self.decoder(noise, given)

    def _shown(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        if self.config.label_input == "softmax":
            return [torch.softmax(output, dim=1) for output in outputs]
        return list(outputs)


class PlainVGG:
    """VGG with cross entropy, averaged over the sets."""

    def __init__(self, size: int, sets: Sequence[LabelSetSpec], width: float, hidden: int, rate: float) -> None:
        self.sets = tuple(sets)
        self.network = Classifier(size, sets[0].width, width, hidden)
        self.networks = {"classifier": self.network}
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, foreach=False)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam."""
        logits = self.network(batch.images.contiguous().float() / 127.5 - 1)
        losses = [functional.cross_entropy(logits, batch.labels[found.name]) for found in self.sets]
        loss = torch.stack(losses).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}
