"""`vgg-clean`: VGG trained on the truth: the upper bound of every table."""

from .base import METHODS, Uses
from .vgg import VGG


@METHODS.register("vgg-clean")
class VGGClean(VGG):
    """VGG trained on the truth: the upper bound of every table."""

    uses = Uses(labels="truth", continuous=True)
