"""Every network has as many parameters as counted by hand, and only the image sizes it knows."""

from __future__ import annotations

import pytest
from network_checks import LATENT, WIDTH
from noisyfer.models.networks import Classifier, Decoder, Discriminator, Encoder, VGGTrunk
from noisyfer.models.networks.layers import check_image_size, scaled
from torch import nn


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


VGG16_CONVOLUTIONS = (
    (64 * 3 * 9 + 64)
    + (64 * 64 * 9 + 64)
    + (128 * 64 * 9 + 128)
    + (128 * 128 * 9 + 128)
    + (256 * 128 * 9 + 256)
    + (256 * 256 * 9 + 256)
    + (256 * 256 * 9 + 256)
    + (512 * 256 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
)


@pytest.mark.parametrize(
    ("size", "widths", "hidden", "count"),
    [
        pytest.param(
            32,
            (10, 10, 10),
            512,
            VGG16_CONVOLUTIONS
            + (512 * 512 + 512)  # 1×1×512 flat
            + (512 * 512 + 512)
            + 2 * (512 * 100 + 100)  # mean, log-variance
            + (512 * 30 + 30),
            id="32",
        ),
        pytest.param(
            64,
            (7, 2),
            500,
            VGG16_CONVOLUTIONS
            + (2048 * 500 + 500)  # 2×2×512 flat
            + (500 * 500 + 500)
            + 2 * (500 * 100 + 100)
            + (500 * 9 + 9),
            id="64",
        ),
        pytest.param(
            128,
            (7, 2),
            500,
            VGG16_CONVOLUTIONS
            + (8192 * 500 + 500)  # 4×4×512 flat
            + (500 * 500 + 500)
            + 2 * (500 * 100 + 100)
            + (500 * 9 + 9),
            id="128",
        ),
    ],
)
def test_encoder_size(size: int, widths: tuple[int, ...], hidden: int, count: int) -> None:
    assert VGG16_CONVOLUTIONS == 14_714_688  # as everyone counts VGG-16
    assert parameters(Encoder(VGGTrunk(size, 1.0, hidden), widths)) == count


def test_classifier_size() -> None:
    count = VGG16_CONVOLUTIONS + (512 * 512 + 512) + (512 * 512 + 512) + (512 * 10 + 10)
    assert parameters(Classifier(VGGTrunk(32), 10)) == count


@pytest.mark.parametrize(
    ("size", "widths", "count"),
    [
        pytest.param(
            32,
            (10, 10, 10),
            ((100 + 30) * 512 + 512)
            + (512 * 512 * 16 + 512 + 2 * 512)  # kernel and bias, then batch norm's scale and shift
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 256 * 16 + 256 + 2 * 256)
            + (256 * 128 * 16 + 128 + 2 * 128)
            + (128 * 3 * 16 + 3),
            id="32",
        ),
        pytest.param(
            64,
            (7, 2),
            ((100 + 9) * 512 + 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 256 * 16 + 256 + 2 * 256)
            + (256 * 128 * 16 + 128 + 2 * 128)
            + (128 * 64 * 16 + 64 + 2 * 64)
            + (64 * 3 * 16 + 3),
            id="64",
        ),
        pytest.param(
            128,
            (7, 2),
            ((100 + 9) * 512 + 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 256 * 16 + 256 + 2 * 256)
            + (256 * 128 * 16 + 128 + 2 * 128)
            + (128 * 64 * 16 + 64 + 2 * 64)
            + (64 * 3 * 16 + 3),
            id="128",
        ),
    ],
)
def test_decoder_size(size: int, widths: tuple[int, ...], count: int) -> None:
    assert parameters(Decoder(size, widths)) == count


# the image stream is the same at every size: it pools, and sums over space
IMAGE_STREAM = (
    (64 * 3 * 9 + 64 + 64 * 64 * 9 + 64 + 64 * 3 + 64)  # two 3×3 and the 1×1 shortcut
    + (8 * 64 + 8 * 64 + 32 * 64 + 64 * 32 + 1)  # attention: θ, φ, g, output, γ
    + (128 * 64 * 9 + 128 + 128 * 128 * 9 + 128 + 128 * 64 + 128)
    + (256 * 128 * 9 + 256 + 256 * 256 * 9 + 256 + 256 * 128 + 256)
    + (512 * 256 * 9 + 512 + 512 * 512 * 9 + 512 + 512 * 256 + 512)
    + (512 * 512 * 9 + 512 + 512 * 512 * 9 + 512 + 512 * 512 + 512)  # halves: shortcut though no channel changes
    + (512 * 512 * 9 + 512 + 512 * 512 * 9 + 512)  # does not: no shortcut
    + (512 + 1)  # S_x
)


@pytest.mark.parametrize(
    ("size", "widths", "count"),
    [
        pytest.param(
            32,
            (10, 10, 10),
            IMAGE_STREAM
            + ((100 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))  # y0
            + 3 * ((10 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))  # y1, y2, y3
            + ((512 * 5 * 1024 + 1024) + 4 * 2 * (1024 * 1024 + 1024) + (1024 + 1)),  # joint
            id="32",
        ),
        *[
            pytest.param(
                size,
                (7, 2),
                IMAGE_STREAM
                + ((100 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))
                + ((7 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))
                + ((2 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))
                + ((512 * 4 * 1024 + 1024) + 4 * 2 * (1024 * 1024 + 1024) + (1024 + 1)),
                id=str(size),
            )
            for size in (64, 128)
        ],
    ],
)
def test_discriminator_size(size: int, widths: tuple[int, ...], count: int) -> None:
    assert parameters(Discriminator(size, widths)) == count


def test_width_scales_every_channel_count_and_never_below_one() -> None:
    assert [scaled(512, width) for width in (1.0, 0.25, 1 / 16, 2.0, 1e-6)] == [512, 128, 32, 1024, 1]
    half = Encoder(VGGTrunk(32, 0.5, 300), (10,))
    assert [m.out_channels for m in half.modules() if isinstance(m, nn.Conv2d)][::4] == [32, 128, 256, 256]
    assert half.trunk.features == 300  # the hidden layers have a size of their own
    assert half.mean.out_features == half.log_variance.out_features == LATENT
    assert half.labels.out_features == 10
    channels = [m.out_channels for m in Decoder(32, (10,), 0.25).modules() if isinstance(m, nn.ConvTranspose2d)]
    assert channels == [128, 128, 64, 32, 3]
    discriminator = Discriminator(32, (10,), 0.25)
    assert discriminator.joint.block.entry.in_features == 3 * 128
    assert discriminator.joint.block.entry.out_features == 256


@pytest.mark.parametrize("size", [0, 31, 48, 256])
def test_other_image_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} is not one of 32, 64, 128"):
        check_image_size(size)
    with pytest.raises(ValueError, match="not one of"):
        VGGTrunk(size, WIDTH)
    for build in (Decoder, Discriminator):
        with pytest.raises(ValueError, match="not one of"):
            build(size, (10,), WIDTH)
