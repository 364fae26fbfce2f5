"""`vgg-majority`: VGG trained on the majority vote of the chosen label sets."""

from .base import METHODS, Uses
from .vgg import VGG


@METHODS.register("vgg-majority")
class VGGMajority(VGG):
    """VGG trained on the majority vote of the chosen label sets."""

    uses = Uses(labels="majority")
