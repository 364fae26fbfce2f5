"""Noise that looks at labels only: uniform, pairwise, or between look-alikes; the number of flips is exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from .base import NOISE_MODELS, CleanLabels, NoiseModel, choose, listing

_LOOK_ALIKES = (("truck", "automobile"), ("bird", "airplane"), ("deer", "horse"), ("cat", "dog"), ("dog", "cat"))
_ALIASES = {"plane": "airplane", "car": "automobile"}


@NOISE_MODELS.register("uniform")
class Uniform(NoiseModel):
    """Exactly round(rate·n) samples, chosen without replacement, get one of the other K-1 classes, each alike.

    "Randomly flipping 20%, 30%, and 40%" of Zhang et al., Facial Emotion Recognition with Noisy Multi-task
    Annotations, WACV 2021, section 5.1. The measured rate is the rate.
    """

    name, stem = "uniform", "flip"
    formula = (
        "exactly round(rate·n) of n samples, chosen without replacement, get a class drawn uniformly from the other "
        "K-1 classes (Zhang et al., WACV 2021)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        noisy, classes = clean.labels.astype(np.int64), len(clean.classes)
        chosen = choose(np.arange(len(noisy)), rate, rng)
        noisy[chosen] = (noisy[chosen] + rng.integers(1, classes, len(chosen))) % classes
        return noisy


@NOISE_MODELS.register("uniform-all")
class UniformAll(NoiseModel):
    """Exactly round(rate·n) samples, chosen without replacement, get any of the K classes, each alike.

    The published loader of Zhang et al. (github.com/sanweiliti/noisyFER). One draw in K hits the class that was there,
    so that about rate·(K-1)/K is measured: 18 % for a rate of 0.2 and ten classes.
    """

    name, stem = "uniform-all", "flipall"
    formula = (
        "exactly round(rate·n) of n samples, chosen without replacement, get a class drawn uniformly from all K "
        "classes, the old one included, so that about rate·(K-1)/K differ (the published loader of Zhang et al., "
        "WACV 2021)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        noisy = clean.labels.astype(np.int64)
        chosen = choose(np.arange(len(noisy)), rate, rng)
        noisy[chosen] = rng.integers(0, len(clean.classes), len(chosen))
        return noisy


@NOISE_MODELS.register("pairflip")
class PairFlip(NoiseModel):
    """Exactly round(rate·n) samples, chosen without replacement, move from class i to class (i + 1) mod K.

    The pair flipping of Han et al., Co-teaching, NeurIPS 2018, who flip each sample with probability rate; here the
    number of flips is exact.
    """

    name, stem = "pairflip", "pair"
    formula = (
        "exactly round(rate·n) of n samples, chosen without replacement, move from class i to class (i + 1) mod K "
        "(pair flipping, Han et al., NeurIPS 2018)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        noisy = clean.labels.astype(np.int64)
        chosen = choose(np.arange(len(noisy)), rate, rng)
        noisy[chosen] = (noisy[chosen] + 1) % len(clean.classes)
        return noisy


@NOISE_MODELS.register("asymmetric")
class Asymmetric(NoiseModel):
    """CIFAR-10's look-alikes: truck→automobile, bird→airplane, deer→horse, cat→dog, dog→cat.

    Exactly round(rate·n_c) of each of these five classes c flip, and no other class does, so that half the rate is
    measured on CIFAR-10. The map of Patrini et al., Making Deep Neural Networks Robust to Label Noise, CVPR 2017, who
    flip each sample with probability rate.
    """

    name, stem = "asymmetric", "asym"
    formula = (
        "exactly round(rate·n_c) samples of each class c flip truck→automobile, bird→airplane, deer→horse, cat→dog, "
        "dog→cat, other classes stay (Patrini et al., CVPR 2017)"
    )

    def _flip(self, clean: CleanLabels, rate: float, rng: np.random.Generator) -> NDArray[np.int64]:
        spelled = [name.strip().casefold() for name in clean.classes]
        ids = {_ALIASES.get(name, name): index for index, name in enumerate(spelled)}
        missing = sorted({name for pair in _LOOK_ALIKES for name in pair} - ids.keys())
        if missing:
            raise UserError(
                f"The noise model 'asymmetric' is made for CIFAR-10's classes, but the data has no "
                f"{', '.join(missing)} (its classes: {listing(clean.classes)}). Use 'pairflip' or 'matrix:FILE' here."
            )
        noisy = clean.labels.astype(np.int64)
        for source, target in _LOOK_ALIKES:
            noisy[choose(np.flatnonzero(clean.labels == ids[source]), rate, rng)] = ids[target]
        return noisy
