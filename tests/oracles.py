"""Slow, literal references of the networks and losses, written from their description; nothing here imports noisyfer.

Everything is float64 PyTorch made of additions, products and comparisons, one position, tap or class at a time where
that is bearable, so that autograd gives reference gradients as well. Networks are functions of a `state_dict`: they
share numbers with the package and nothing else. `ŷ`, `x̃`, … are as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Weights = dict[str, Tensor]

_ORIGINAL = ".parametrizations.weight.original"
_LEFT, _RIGHT = ".parametrizations.weight.0._u", ".parametrizations.weight.0._v"
_BUFFERS = (_LEFT, _RIGHT, "running_mean", "running_var", "num_batches_tracked")


# ---------------------------------------------------------------------------------------------------------- weights


def leaves(state: Weights) -> Weights:
    """Copies of a state_dict in float64, the trainable ones as leaves that want a gradient."""
    copies = {name: tensor.detach().clone().double() for name, tensor in state.items()}
    for name in trainable(copies):
        copies[name].requires_grad_(True)
    return copies


def trainable(weights: Weights) -> list[str]:
    """The names of the entries that are parameters, not buffers."""
    return [name for name in weights if not name.endswith(_BUFFERS)]


def gradients(value: Tensor, weights: Weights) -> Weights:
    """d value / d weight for every trainable weight, by name; zeros where the value does not depend on it."""
    names = trainable(weights)
    found = torch.autograd.grad(value, [weights[name] for name in names], retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(weights[name]) if gradient is None else gradient
        for name, gradient in zip(names, found, strict=True)
    }


def gradients_of_two(value: Tensor, first: Weights, second: Weights) -> tuple[Weights, Weights]:
    """The gradients with respect to two networks at once."""
    found = gradients(
        value,
        {f"1{name}": tensor for name, tensor in first.items()}
        | {f"2{name}": tensor for name, tensor in second.items()},
    )
    halves = ({name[1:]: slope for name, slope in found.items() if name[0] == digit} for digit in "12")
    return next(halves), next(halves)


def as_matrix(weight: Tensor, rows: int) -> Tensor:
    """A kernel as a matrix: a row for each index of dimension `rows` (the outputs), the rest in order as columns."""
    return torch.stack([row.reshape(-1) for row in weight.unbind(dim=rows)])


def _rows(name: str, weights: Weights, transposed: bool) -> int:
    # a transposed convolution keeps its outputs in dimension 1; the networks that have any have no other 4-D weights
    return 1 if transposed and weights[name + _ORIGINAL].dim() == 4 else 0


def sigma(weights: Weights, name: str, transposed: bool = False) -> Tensor:
    """uᵀWv of a layer, from the stored u and v."""
    matrix = as_matrix(weights[name + _ORIGINAL], _rows(name, weights, transposed))
    left, right = weights[name + _LEFT], weights[name + _RIGHT]
    return (left * (matrix * right).sum(dim=1)).sum()


def normed(weights: Weights, name: str, transposed: bool = False) -> Tensor:
    """W / (uᵀWv)."""
    return weights[name + _ORIGINAL] / sigma(weights, name, transposed)


def power_iteration(weights: Weights, transposed: bool = False) -> Weights:
    """The same weights with every u and v one power iteration further: u = Wv/|Wv|, then v = Wᵀu/|Wᵀu|."""
    after = dict(weights)
    for key in weights:
        if key.endswith(_LEFT):
            name = key.removesuffix(_LEFT)
            matrix = as_matrix(weights[name + _ORIGINAL].detach(), _rows(name, weights, transposed))
            left = (matrix * weights[name + _RIGHT]).sum(dim=1)
            left = left / left.square().sum().sqrt()
            right = (matrix.T * left).sum(dim=1)
            after[name + _LEFT], after[name + _RIGHT] = left, right / right.square().sum().sqrt()
    return after


# ----------------------------------------------------------------------------------------------------------- layers


def relu(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, torch.zeros_like(values))


def linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y_o = Σ_i w_oi·x_i + b_o."""
    return (values[:, None, :] * weight[None, :, :]).sum(dim=2) + bias


def convolution(images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Stride 1, zeros around so that height and width stay; the sum over the kernel's taps of shifted products."""
    size = weight.shape[2]
    margin = size // 2
    batch, channels, height, width = images.shape
    padded = images.new_zeros(batch, channels, height + 2 * margin, width + 2 * margin)
    padded[:, :, margin : margin + height, margin : margin + width] = images
    total = images.new_zeros(batch, len(weight), height, width)
    for row in range(size):
        for column in range(size):
            shifted = padded[:, :, row : row + height, column : column + width]
            total = total + torch.einsum("oc,bchw->bohw", weight[:, :, row, column], shifted)
    return total if bias is None else total + bias[None, :, None, None]


def transposed_convolution(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """4×4, stride 2, padding 1: every pixel stamps the kernel, two steps apart; one row is cut off on each side."""
    batch, _, height, width = images.shape
    total = images.new_zeros(batch, weight.shape[1], 2 * height + 2, 2 * width + 2)
    for row in range(4):
        for column in range(4):
            stamped = torch.zeros_like(total)
            product = torch.einsum("co,bchw->bohw", weight[:, :, row, column], images)
            stamped[:, :, row : row + 2 * height : 2, column : column + 2 * width : 2] = product
            total = total + stamped
    return total[:, :, 1:-1, 1:-1] + bias[None, :, None, None]


def _windows(images: Tensor) -> list[Tensor]:
    return [images[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]


def average_pool(images: Tensor) -> Tensor:
    return sum(_windows(images)) / 4


def max_pool(images: Tensor) -> Tensor:
    return torch.stack(_windows(images)).max(dim=0).values


def softmax(values: Tensor) -> Tensor:
    """exp(x_k) / Σ_j exp(x_j) along the last dimension."""
    powers = torch.exp(values - values.detach().max(dim=-1, keepdim=True).values)
    return powers / powers.sum(dim=-1, keepdim=True)


def attention(weights: Weights, name: str, features: Tensor) -> Tensor:
    """x + γ·W_o(Σ_j softmax_j(θ_i·φ_j)·g_j) at each position i, with φ and g max-pooled by 2."""
    queries = convolution(features, normed(weights, f"{name}.theta"))
    keys = max_pool(convolution(features, normed(weights, f"{name}.phi")))
    values = max_pool(convolution(features, normed(weights, f"{name}.g")))
    keys, values = keys.flatten(2), values.flatten(2)  # B×C/8×J and B×C/2×J
    _, _, height, width = features.shape
    mixed = []
    for query in queries.flatten(2).unbind(dim=2):  # one position after the other
        energy = (query[:, :, None] * keys).sum(dim=1)  # B×J
        mixed.append((softmax(energy)[:, None, :] * values).sum(dim=2))  # B×C/2
    mixed_image = torch.stack(mixed, dim=2).reshape(len(features), -1, height, width)
    return features + weights[f"{name}.gain"] * convolution(mixed_image, normed(weights, f"{name}.output"))


def _layers(weights: Weights, prefix: str, suffix: str) -> list[str]:
    """The numbered layers under a prefix that have an entry with this suffix, in the order of their numbers."""
    names = [key.removesuffix(suffix) for key in weights if key.startswith(prefix) and key.endswith(suffix)]
    return sorted(names, key=lambda name: int(name.removeprefix(prefix).split(".")[0]))


# --------------------------------------------------------------------------------------------------------- networks


def trunk(weights: Weights, images: Tensor, prefix: str = "trunk") -> Tensor:
    """Five blocks of 2, 2, 3, 3, 3 convolutions with max pooling, then two hidden layers; dropout off."""
    convolutions = iter(_layers(weights, f"{prefix}.convolutions.", ".weight"))
    features = images
    for repeats in (2, 2, 3, 3, 3):
        for _ in range(repeats):
            layer = next(convolutions)
            features = relu(convolution(features, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
        features = max_pool(features)
    assert next(convolutions, None) is None, "more than thirteen convolutions"
    features = features.reshape(len(features), -1)
    first, second = _layers(weights, f"{prefix}.hidden.", ".weight")
    features = relu(linear(features, weights[f"{first}.weight"], weights[f"{first}.bias"]))
    return relu(linear(features, weights[f"{second}.weight"], weights[f"{second}.bias"]))


def classifier(weights: Weights, images: Tensor) -> Tensor:
    """VGGNet: the trunk and one head."""
    return linear(trunk(weights, images), weights["head.weight"], weights["head.bias"])


def encoder(weights: Weights, images: Tensor, widths: Sequence[int]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """G_Y: μ, log σ² and the outputs ŷ1 … ŷT."""
    features = trunk(weights, images)
    mean = linear(features, weights["mean.weight"], weights["mean.bias"])
    log_variance = linear(features, weights["log_variance.weight"], weights["log_variance.bias"])
    joined = linear(features, weights["labels.weight"], weights["labels.bias"])
    outputs, start = [], 0
    for width in widths:
        outputs.append(joined[:, start : start + width])
        start += width
    assert start == joined.shape[1], "outputs that belong to no label set"
    return mean, log_variance, outputs


def latent(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """y0 = μ + σ·ε."""
    return mean + torch.exp(log_variance / 2) * noise


def decoder(
    weights: Weights, noise: Tensor, labels: Sequence[Tensor], *, training: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """G_X: x̃, and what the running statistics are afterwards (momentum 0.1, unbiased variance; empty in eval)."""
    code = torch.cat([noise, *labels], dim=1)
    features = relu(linear(code, normed(weights, "linear", True), weights["linear.bias"]))[:, :, None, None]
    upsamplings = _layers(weights, "upsampling.", _ORIGINAL)
    norms = _layers(weights, "upsampling.", ".running_mean")
    assert len(norms) == len(upsamplings) - 1, "batch norm after all transposed convolutions but the last"
    running: dict[str, Tensor] = {}
    for layer, norm in zip(upsamplings, norms, strict=False):
        features = transposed_convolution(features, normed(weights, layer, True), weights[f"{layer}.bias"])
        mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        if training:
            count = features.numel() / features.shape[1]
            here = features.sum(dim=(0, 2, 3)) / count
            spread = (features - here[None, :, None, None]).square().sum(dim=(0, 2, 3))
            running[f"{norm}.running_mean"] = (0.9 * mean + 0.1 * here).detach()
            running[f"{norm}.running_var"] = (0.9 * variance + 0.1 * spread / (count - 1)).detach()
            mean, variance = here, spread / count
        features = (features - mean[None, :, None, None]) / torch.sqrt(variance + 1e-5)[None, :, None, None]
        gain, shift = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
        features = relu(features * gain[None, :, None, None] + shift[None, :, None, None])
    last = upsamplings[-1]
    features = transposed_convolution(features, normed(weights, last, True), weights[f"{last}.bias"])
    return torch.tanh(features), running


def normed_linear(weights: Weights, name: str, values: Tensor) -> Tensor:
    return linear(values, normed(weights, name), weights[f"{name}.bias"])


def normed_convolution(weights: Weights, name: str, images: Tensor) -> Tensor:
    return convolution(images, normed(weights, name), weights[f"{name}.bias"])


def residual_block(weights: Weights, name: str, features: Tensor, *, activate_first: bool, halve: bool) -> Tensor:
    """[ReLU] 3×3, ReLU, 3×3, pooling; plus a 1×1 shortcut, then pooling, where channels or size change."""
    hidden = relu(features) if activate_first else features
    hidden = relu(normed_convolution(weights, f"{name}.first", hidden))
    hidden = normed_convolution(weights, f"{name}.second", hidden)
    changes = halve or hidden.shape[1] != features.shape[1]
    passed = normed_convolution(weights, f"{name}.shortcut", features) if changes else features
    if halve:
        hidden, passed = average_pool(hidden), average_pool(passed)
    return hidden + passed


def image_stream(weights: Weights, images: Tensor) -> Tensor:
    """The image's features; S > 32 is halved first."""
    features = average_pool(images) if images.shape[2] > 32 else images
    features = residual_block(weights, "image.blocks.0", features, activate_first=False, halve=True)
    features = attention(weights, "image.blocks.1", features)
    for block in (2, 3, 4, 5):
        features = residual_block(weights, f"image.blocks.{block}", features, activate_first=True, halve=True)
    features = residual_block(weights, "image.blocks.6", features, activate_first=True, halve=False)
    return relu(features).sum(dim=3).sum(dim=2)


def mlp_block(weights: Weights, name: str, values: Tensor) -> Tensor:
    """h = Linear(x), r = ReLU(h), h + Σ_{k=1..4} Linear(ReLU(Linear(r)))."""
    hidden = normed_linear(weights, f"{name}.block.entry", values)
    active = relu(hidden)
    total = hidden
    for branch in range(4):
        inner = relu(normed_linear(weights, f"{name}.block.inner.{branch}", active))
        total = total + normed_linear(weights, f"{name}.block.outer.{branch}", inner)
    return total


def discriminator(weights: Weights, images: Tensor, code: Tensor, labels: Sequence[Tensor]) -> Tensor:
    """D: S_x, S_y0, S_y1 … S_yT, S_joint in this order, B×(T+3)."""
    features = [image_stream(weights, images), mlp_block(weights, "latent", code)]
    scores = [normed_linear(weights, "image.score", features[0]), normed_linear(weights, "latent.score", features[1])]
    for index, label in enumerate(labels):
        features.append(mlp_block(weights, f"labels.{index}", label))
        scores.append(normed_linear(weights, f"labels.{index}.score", features[-1]))
    joint = mlp_block(weights, "joint", torch.cat(features, dim=1))
    scores.append(normed_linear(weights, "joint.score", joint))
    return torch.cat(scores, dim=1)


# ----------------------------------------------------------------------------------------------------------- losses


def cross_entropy(logits: Tensor, labels: Sequence[int], mask: Sequence[bool]) -> Tensor:
    """Mean over the labelled samples of log Σ_k exp(z_k) − z_label; 0 without any."""
    total, count = logits.new_zeros(()), 0
    for row, label, labelled in zip(logits, labels, mask, strict=True):
        if labelled:
            shift = max(value.item() for value in row)
            total = total + shift + torch.log(sum(torch.exp(value - shift) for value in row)) - row[label]
            count += 1
    return total / max(count, 1)


def concordance(predicted: Tensor, labels: Tensor, mask: Sequence[bool]) -> Tensor:
    """Lin's 2·cov / (var + var + (difference of means)²) over the labelled samples, moments divided by n."""
    pairs = [(p, y) for p, y, labelled in zip(predicted, labels, mask, strict=True) if labelled]
    count = len(pairs)
    if count < 2:
        return (predicted * 0).sum()
    mean_p, mean_y = sum(p for p, _ in pairs) / count, sum(y for _, y in pairs) / count
    covariance = sum((p - mean_p) * (y - mean_y) for p, y in pairs) / count
    variance_p = sum((p - mean_p) ** 2 for p, _ in pairs) / count
    variance_y = sum((y - mean_y) ** 2 for _, y in pairs) / count
    return 2 * covariance / (variance_p + variance_y + (mean_p - mean_y) ** 2)


def similarity(predicted: Tensor, labels: Tensor, mask: Sequence[bool]) -> Tensor:
    """One minus the mean of valence's and arousal's concordance."""
    valence = concordance(predicted[:, 0], labels[:, 0], mask)
    arousal = concordance(predicted[:, 1], labels[:, 1], mask)
    return 1 - (valence + arousal) / 2


def out_of_range(predicted: Tensor, mask: Sequence[bool]) -> Tensor:
    """Mean over the labelled samples of both values' squared distances from [-1, 1]."""
    total = torch.zeros((), dtype=torch.float64)
    for row, there in zip(predicted, mask, strict=True):
        for value in row:
            if there and value.abs() > 1:
                total = total + (value - value.sign()) ** 2 / 2
    return total / max(sum(mask), 1)


def mean_over_sets(losses: Sequence[Tensor], masks: Sequence[Sequence[bool]]) -> Tensor:
    """Mean over the sets that have at least one label; 0 without any."""
    present = [loss for loss, mask in zip(losses, masks, strict=True) if any(mask)]
    return sum(present) / len(present) if present else torch.zeros((), dtype=torch.float64)


def _mean_of(scores: Tensor, present: Sequence[Sequence[bool]], term: object) -> Tensor:
    """Mean over the samples' scores that count of term(score), one by one."""
    rows = zip(scores, present, strict=True)
    terms = [term(score) for row, there in rows for score, counts in zip(row, there, strict=True) if counts]  # type: ignore[operator]
    return sum(terms) / len(terms)


def discriminator_loss(encoder_scores: Tensor, decoder_scores: Tensor, present: Sequence[Sequence[bool]]) -> Tensor:
    """What D minimises: minus E[g(s_enc)] + E[h(s_dec)] of eq. 9, g(z) = min(0, z − 1), h(z) = min(0, −z − 1)."""
    zero = torch.zeros((), dtype=torch.float64)
    gained = _mean_of(encoder_scores, present, lambda z: torch.minimum(zero, z - 1))
    return -(gained + _mean_of(decoder_scores, present, lambda z: torch.minimum(zero, -z - 1)))


def generator_loss(encoder_scores: Tensor, decoder_scores: Tensor, present: Sequence[Sequence[bool]]) -> Tensor:
    """What λ weighs: E[ĥ(−s_enc)] + E[ĥ(s_dec)] of eq. 9, ĥ(z) = −z."""

    def h_hat(z: Tensor) -> Tensor:
        return -z

    return _mean_of(encoder_scores, present, lambda s: h_hat(-s)) + _mean_of(decoder_scores, present, h_hat)


def one_hot(labels: Sequence[int], width: int) -> Tensor:
    return torch.tensor([[1.0 if k == label else 0.0 for k in range(width)] for label in labels], dtype=torch.float64)


class Adam:
    """Kingma & Ba (2015), algorithm 1, with β = (0.9, 0.999) and ε = 1e-8."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.steps: dict[str, int] = {}
        self.first: Weights = {}
        self.second: Weights = {}

    def step(self, weights: Weights, gradient: Weights) -> Weights:
        """The weights after one step, as new leaves; each has its own count of steps."""
        after = dict(weights)
        for name, slope in gradient.items():
            steps = self.steps[name] = self.steps.get(name, 0) + 1
            self.first[name] = 0.9 * self.first.get(name, 0.0) + 0.1 * slope
            self.second[name] = 0.999 * self.second.get(name, 0.0) + 0.001 * slope * slope
            corrected = self.first[name] / (1 - 0.9**steps)
            scale = torch.sqrt(self.second[name] / (1 - 0.999**steps))
            after[name] = (weights[name].detach() - self.rate * corrected / (scale + 1e-8)).requires_grad_(True)
        return after
