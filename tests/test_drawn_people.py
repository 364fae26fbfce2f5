"""What is drawn: expressions, the annotators' habits, landmarks, heads that turn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from noisyfer.core.streams import rng
from noisyfer.relabel.drawn.annotators import CROWD, HURRIED
from noisyfer.relabel.drawn.casting import draw_person
from noisyfer.relabel.drawn.geometry import View
from noisyfer.relabel.drawn.layouts import align
from noisyfer.relabel.drawn.shape import Build, landmarks, shape_face
from noisyfer.relabel.drawn.state import ACTIONS, CLASSES, EMOTIONS, State, state_of
from noisyfer.relabel.drawn.worlds import AFFECTNET, RAF, World, draw_sample
from PIL import Image
from test_make_faces import WORLDS


def test_every_expression_is_drawn_as_itself() -> None:
    for world in WORLDS.values():
        random = rng(0, world.name)
        for expression in world.moods.frequencies:
            states = [state_of(expression, world.moods, random) for _ in range(300)]
            assert {CLASSES[state.expression] for state in states} == {expression}
            assert all(0 <= level <= 1 for state in states for level in state.levels)
            if expression != "neutral":  # faint ones and blends are among them
                assert min(state.levels.sum() for state in states) < 0.5
                assert max(np.sort(state.levels)[-2] / state.levels.max() for state in states) > 0.8


def answers(world: World) -> np.ndarray:
    """How a world's annotator answers: row the truth, column the answer, as shares."""
    random = rng(1, "answers", world.name)
    shares = np.zeros((8, 8))
    for expression in world.moods.frequencies:
        for _ in range(200):
            state = state_of(expression, world.moods, random)
            shares[state.expression, world.annotator.expression(state, random)] += 1 / 200
    return shares


def test_the_crowd_is_careful_and_the_single_annotator_has_habits() -> None:
    careful, hurried = answers(RAF), answers(AFFECTNET)
    assert careful.trace() / 7 > 0.95
    assert 0.75 < hurried.trace() / 8 < 0.92
    at = {name: CLASSES.index(name) for name in CLASSES}
    assert hurried[at["disgust"], at["anger"]] > 0.2 > 5 * hurried[at["anger"], at["disgust"]]
    assert hurried[at["surprise"], at["fear"]] > 0.06 > 2 * hurried[at["happy"], at["fear"]]
    assert hurried[at["fear"], at["surprise"]] > hurried[at["sad"], at["surprise"]]
    assert hurried[at["sad"], at["neutral"]] > 0.06 > hurried[at["neutral"], at["sad"]]


def test_one_voter_of_the_crowd_errs_more_often_than_the_crowd() -> None:
    random = rng(5, "votes")
    states = [state_of(name, RAF.moods, random) for name in RAF.moods.frequencies for _ in range(40)]
    votes = [CROWD.votes(state, random) for state in states]
    assert all(found.sum() == 40 and found[7] == 0 for found in votes)
    single = np.mean([found[state.expression] / 40 for found, state in zip(votes, states, strict=True)])
    majority = np.mean([found.argmax() == state.expression for found, state in zip(votes, states, strict=True)])
    assert single < 0.9 < majority


def test_the_single_annotators_valence_and_arousal_are_noisy_and_in_range() -> None:
    state = State(np.eye(7)[EMOTIONS.index("happy")], 0.5)
    random = rng(6, "va")
    given = np.array([HURRIED.valence_arousal(state, random) for _ in range(2000)])
    assert np.abs(given).max() <= 1
    assert given.mean(axis=0) == pytest.approx((0.8, 0.3), abs=0.03)
    assert given.std(axis=0) == pytest.approx((0.12, 0.12), abs=0.02)


def face_of(**doing: float) -> np.ndarray:
    """Landmarks of a plain head, 100 pixels a unit, that does something."""
    build = draw_plain()
    return landmarks(shape_face(build, {**dict.fromkeys(ACTIONS, 0.0), **doing}), View(0, 0, 0, 100, (0, 0)))


def draw_plain() -> Build:
    build, _ = draw_person(RAF.style, rng(1, "build"))
    return replace(build, rest={}, lopsided=0.0, eye_tilt=0.0)


def test_landmarks_are_symmetric_and_follow_the_actions() -> None:
    calm = face_of()
    pairs = [(0, 16), (4, 12), (17, 26), (21, 22), (31, 35), (36, 45), (39, 42), (48, 54), (50, 52), (60, 64)]
    for left, right in pairs:
        assert calm[left] == pytest.approx(calm[right] * (-1, 1), abs=0.5)
    assert calm[8, 1] == calm[:, 1].max()
    assert calm[[27, 28, 29, 30], 0] == pytest.approx(0, abs=0.5)
    assert np.all(np.diff(calm[27:31, 1]) > 0)

    def lower(point: int, **doing: float) -> float:
        return float(face_of(**doing)[point, 1] - calm[point, 1])

    assert lower(48, corner=1) < -5 < 5 < lower(48, corner=-1)
    assert lower(21, brow_inner=-1) > 5 > -5 > lower(21, brow_inner=1)
    assert lower(57, jaw=1) > 10
    assert lower(8, jaw=1) > 5
    opened, closed = face_of(eye_open=1), face_of(eye_open=-1)
    assert opened[41, 1] - opened[37, 1] > 1.4 * (closed[41, 1] - closed[37, 1])
    smirk = face_of(smirk=1)
    assert smirk[54, 1] < calm[54, 1] - 3
    assert smirk[48, 1] == pytest.approx(calm[48, 1], abs=3)


def test_a_turned_head_shows_its_depth() -> None:
    build = draw_plain()
    face = shape_face(build, dict.fromkeys(ACTIONS, 0.0))
    straight, turned = (landmarks(face, View(yaw, 0, 0, 100, (0, 0))) for yaw in (0.0, 0.3))
    moved = turned[:, 0] - straight[:, 0]
    assert moved[30] > 25 > 8 > abs(moved[8])
    rolled = landmarks(face, View(0, 0, math.pi / 2, 100, (10, 20)))
    assert rolled - (10, 20) == pytest.approx(straight[:, ::-1] * (-1, 1), abs=1e-6)


def test_the_aligned_faces_have_their_eyes_in_place() -> None:
    picture = np.zeros((200, 240, 3), dtype=np.uint8)
    eyes = np.array([(90.0, 70.0), (150.0, 100.0)])
    for number, (x, y) in enumerate(eyes.astype(int)):
        picture[y - 4 : y + 5, x - 4 : x + 5, number] = 255
    aligned = np.asarray(align(Image.fromarray(picture), eyes + 0.5), dtype=float)
    assert aligned.shape == (100, 100, 3)
    for number, place in enumerate(((30.0, 38.0), (70.0, 38.0))):
        y, x = np.indices((100, 100))
        weight = aligned[..., number] / aligned[..., number].sum()
        assert ((x + 0.5) * weight).sum() == pytest.approx(place[0], abs=0.6)
        assert ((y + 0.5) * weight).sum() == pytest.approx(place[1], abs=0.6)


def test_pictures_of_the_two_datasets_differ() -> None:
    samples = {world.name: [draw_sample(world, 0, "train", index) for index in range(8)] for world in WORLDS.values()}
    shares = {
        name: np.mean([np.ptp(one.landmarks[:17, 0]) / one.image.width for one in found])
        for name, found in samples.items()
    }
    assert shares["affectnet"] > 1.2 * shares["raf"]
    assert max(one.quality for one in samples["affectnet"]) < min(one.quality for one in samples["raf"]) + 1
    for found in samples.values():
        for one in found:
            assert np.asarray(one.image).std() > 8
