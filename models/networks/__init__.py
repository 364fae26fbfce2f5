"""Encoder, decoder and discriminator of the paper, and the layers they share."""

from .decoder import Decoder
from .discriminator import Discriminator
from .encoder import Encoder, VGGClassifier, VGGTrunk
from .teacher import Architecture, TeacherNetwork, build_teacher

__all__ = [
    "Architecture",
    "Decoder",
    "Discriminator",
    "Encoder",
    "TeacherNetwork",
    "VGGClassifier",
    "VGGTrunk",
    "build_teacher",
]
