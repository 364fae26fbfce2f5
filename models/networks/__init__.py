"""Encoder, decoder and discriminator of the paper, and the layers they share."""

from .backbone import build_trunk
from .decoder import Decoder
from .discriminator import Discriminator
from .encoder import Classifier, Encoder, Trunk, VGGTrunk
from .teacher import Architecture, TeacherNetwork, build_teacher

__all__ = [
    "Architecture",
    "Classifier",
    "Decoder",
    "Discriminator",
    "Encoder",
    "TeacherNetwork",
    "Trunk",
    "VGGTrunk",
    "build_teacher",
    "build_trunk",
]
