"""Which face counts where a tool found several in a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def chosen_faces(
    images: Sequence[str], areas: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]
) -> tuple[list[int], int]:
    """One face of each picture: the largest, of equal ones the one with the highest score, then the first.

    Args:
        images: the picture of each face.
        areas: of the faces' boxes, NaN where there is none.
        scores: the detector's confidence, NaN where there is none.

    Returns:
        The places of the chosen faces, in their order, and how many pictures have several.
    """
    best: dict[str, int] = {}
    several = set()
    measures = list(zip(np.nan_to_num(areas, nan=-1).tolist(), np.nan_to_num(scores, nan=-1).tolist(), strict=True))
    for place, image in enumerate(images):
        if image in best:
            several.add(image)
            if measures[place] <= measures[best[image]]:
                continue
        best[image] = place
    return sorted(best.values()), len(several)


def note(several: int) -> tuple[str, ...]:
    """The sentence about pictures with several faces."""
    if not several:
        return ()
    return (f"{several:,} images have several faces; the largest of each was taken.",)
