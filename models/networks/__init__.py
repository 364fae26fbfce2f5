"""Encoder, decoder and discriminator of the paper, and the layers they share."""

from .decoder import Decoder
from .discriminator import Discriminator
from .encoder import Encoder, VGGClassifier, VGGTrunk

__all__ = ["Decoder", "Discriminator", "Encoder", "VGGClassifier", "VGGTrunk"]
