"""Hostile pictures: every one ends as a status of the relabelling pipeline, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confined import Case, Judge, check, confined, summary
from mutations import KINDS, mutated

SECONDS = 30
MEBIBYTES = 1536
"""What the largest picture that is allowed may take; the bounds are on one worker's address space."""

STATUSES = frozenset(("ok", "unreadable", "missing", "too_large", "refused", "bad_landmarks", "no_face"))
PARTS = 3
"""Children among which the kinds are dealt out: one takes seconds to start."""

EVERY = 20
"""Of so many mutations one goes to the real detector of faces; the others to one that finds a face in every middle."""


class MiddleFace:
    """A detector that finds a face in every picture."""

    def detect(self, images: list[Any], widths: list[int]) -> list[Any]:
        from noisyfer.relabel.faces import Face

        return [
            Face((0.0, 0.0, float(width), float(width)), 0.99, (width * 0.4, width * 0.3, width * 0.6, width * 0.3))
            for width in widths
        ]


def judge(folder: Path) -> Judge:
    """Write a mutation as a file and send it through the pipeline: taken whole, by given eyes, by a detected face."""
    import torch
    from noisyfer.relabel.faces import Detector
    from noisyfer.relabel.pipeline import Labeller
    from noisyfer.relabel.sources import Sample
    from PIL import Image

    torch.set_num_threads(1)
    labeller = Labeller(folder, [], workers=1, kept_size=64)
    real, middle = Detector(), MiddleFace()
    real.detect([Image.new("RGB", (64, 64))], [64])  # its networks are loaded before memory is counted

    def decide(case: Case) -> str:
        name, number = case
        (folder / "picture.jpg").write_bytes(mutated(name, number))
        samples = [
            Sample("whole", "train", "picture.jpg", whole=True),
            Sample("eyes", "train", "picture.jpg", eyes=(20.0, 20.0, 40.0, 21.0)),
            Sample("detected", "train", "picture.jpg"),
        ]
        labeller.__dict__["detector"] = middle if number % EVERY else real
        (_, outcomes) = next(labeller.label([(0, samples)]))
        for outcome in outcomes:
            assert outcome.status in STATUSES, outcome.status
            if outcome.status == "ok":
                assert [face.shape for face in outcome.faces.values()] == [(64, 64, 3)]
            else:
                assert outcome.detail
                assert "\n" not in outcome.detail
                assert outcome.detail.encode()
                assert "memory" not in outcome.detail.lower(), outcome.detail
        return outcomes[0].status

    return decide


@pytest.mark.parametrize("part", range(PARTS))
def test_every_mutation_ends_as_a_status(part: int, mutations: int, tmp_path: Path) -> None:
    names = list(KINDS)[part::PARTS]
    cases: list[Case] = [[name, number] for name in names for number in range(mutations)]
    endings = confined("test_pictures:judge", cases, tmp_path / "pictures", seconds=SECONDS, mebibytes=MEBIBYTES)
    for name in names:
        print(summary([each for each in endings if each.case[0] == name], f"pictures, {name}"))
    check(endings, f"pictures, part {part + 1} of {PARTS}", len(cases))


def test_there_are_thirty_kinds() -> None:
    assert len(KINDS) == 30
    assert all(mutated(name, 3) == mutated(name, 3) for name in KINDS)
    assert len({mutated(name, number) for name in KINDS for number in range(5)}) > 120
