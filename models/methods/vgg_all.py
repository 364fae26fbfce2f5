"""`vgg-all`: VGG trained on all chosen label sets at once."""

from .base import METHODS, Uses
from .vgg import VGG


@METHODS.register("vgg-all")
class VGGAll(VGG):
    """VGG trained on all chosen label sets at once."""

    uses = Uses(labels="chosen", continuous=True)
