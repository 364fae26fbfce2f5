"""noisyfer aggregate: hand-worked votes and means, simulated crowds, what is written, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from manifest_rows import contents
from noisyfer import api
from noisyfer.benchmark.aggregate import Aggregated, aggregate
from noisyfer.benchmark.aggregators import AGGREGATORS, Given, most_probable
from noisyfer.benchmark.choose import choose
from noisyfer.cli import main
from noisyfer.commands.aggregate import command
from noisyfer.manifest import STATUS_OK, Dataset, Header, LabelSet, Manifest, Task, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

CLASSES = ("cat", "dog", "frog", "horse")
RATES = (0.15, 0.3, 0.5)
CROWD = tuple(f"class_flip{int(rate * 100)}" for rate in RATES)
Column = Sequence[Any]


def made(path: Path, sets: Mapping[str, Column], probs: Mapping[str, Column] | None = None) -> Manifest:
    """A manifest of categorical sets by name (`class_…`; `clean` is the truth) and of valence/arousal ones (`va_…`)."""
    tasks = {"class": Task("class", "categorical", CLASSES), "va": Task("va", "continuous")}
    count = len(next(iter(sets.values())))
    columns: dict[str, Any] = {
        "id": [f"train_{row:05d}" for row in range(count)],
        "split": ["train"] * count,
        "image": [f"train/{row}.png" for row in range(count)],
        "status": [STATUS_OK] * count,
        "detail": pa.nulls(count, pa.string()),
    }
    label_sets = {}
    for name, values in sets.items():
        task, annotator = name.split("_", 1)
        kind = "human" if annotator == "clean" else "synthetic"
        if task == "va":
            found = LabelSet.valence_arousal(annotator, kind, {})
            for place, column in enumerate(found.columns.values()):
                columns[column] = pa.array([None if pair is None else pair[place] for pair in values], pa.float32())
        else:
            found = LabelSet.categorical(task, annotator, kind, {}, probs=name in (probs or {}))
            columns[name] = pa.array(values, pa.int16())
        label_sets[name] = found
    for name, shares in (probs or {}).items():
        columns[f"{name}_probs"] = pa.array(shares, pa.list_(pa.float32(), len(CLASSES)))
    return write_manifest(path, Header(Dataset("animals"), tasks, label_sets), [pa.table(columns)])


def column(found: Aggregated, name: str) -> list[Any]:
    return found.manifest.read([name])[name].to_pylist()


def simulated(samples: int = 600, missing: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The truth, and three annotators' labels S×N with a mask, who err and stay away independently."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, len(CLASSES), samples)
    labels, present = [], []
    for rate in RATES:
        wrong = draw.random(samples) < rate
        labels.append(np.where(wrong, (truth + draw.integers(1, len(CLASSES), samples)) % len(CLASSES), truth))
        present.append(draw.random(samples) >= missing)
    return truth, np.stack(labels), np.stack(present)


def crowd(path: Path, samples: int = 600) -> Manifest:
    """A simulated crowd with the truth and a model, `class_net`, that is right on 70 %."""
    truth, labels, present = simulated(samples)
    sets: dict[str, Column] = {"class_clean": truth}
    for name, values, mask in zip(CROWD, labels, present, strict=True):
        sets[name] = [int(value) if there else None for value, there in zip(values, mask, strict=True)]
    draw = np.random.default_rng(1)
    best = np.where(draw.random(samples) < 0.3, draw.integers(0, len(CLASSES), samples), truth)
    probs = np.full((samples, len(CLASSES)), 0.1)
    probs[np.arange(samples), best] = 0.7
    sets["class_net"] = best
    return made(path, sets, {"class_net": probs.tolist()})


def rate(found: Aggregated, truth: str = "class_clean") -> float:
    """The result's accuracy, counted here and not by the command."""
    result, right = found.manifest.labels(found.label_set.name), found.manifest.labels(truth)
    return float((result.values == right.values)[result.present].mean())


# ------------------------------------------------------------------------------------------------------------ majority


def test_majority_is_the_hand_worked_one(path: Path) -> None:
    made(
        path,
        {
            "class_clean": [0, 1, 2, 3, 0],
            "class_a": [0, 1, None, None, None],
            "class_b": [0, 2, 2, None, 3],
            "class_c": [1, 2, None, None, None],
        },
    )
    found = aggregate(path, "majority")
    assert found.manifest.path == path.with_name("m_with_majority.parquet")
    assert column(found, "class_majority") == [0, 2, 2, None, 3]
    shares = column(found, "class_majority_probs")
    assert shares[3] is None
    expected = [[2 / 3, 1 / 3, 0, 0], [0, 1 / 3, 2 / 3, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose([row for row in shares if row], expected, atol=1e-6)
    assert [(entry.labels, entry.scores["accuracy"]) for entry in found.parents] == [(2, 1), (4, 0.5), (2, 0)]
    assert [entry.reliability for entry in found.parents] == [0.5, 1, 0.5]
    assert (found.result.labels, found.result.scores["accuracy"], found.truth) == (4, 0.5, "class_clean")


def test_ties_fall_on_the_tied_classes_with_equal_chance_and_by_seed(path: Path) -> None:
    made(path, {"class_a": [1] * 2000, "class_b": [3] * 2000})
    first = aggregate(path, "majority", name="one", out=path.with_name("1.parquet"))
    again = aggregate(path, "majority", name="one", out=path.with_name("2.parquet"))
    other = aggregate(path, "majority", name="one", seed=1, out=path.with_name("3.parquet"))
    votes = column(first, "class_one")
    assert set(votes) == {1, 3}
    assert 880 < votes.count(1) < 1120
    assert contents(path.parent)["1.parquet"] == contents(path.parent)["2.parquet"]
    assert votes != column(other, "class_one")
    assert first.manifest.labels("class_one").present.all()
    assert votes == column(again, "class_one")


def test_votes_are_counted_block_by_block_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, labels, present = simulated(500)
    given = Given(labels, present, len(CLASSES), seed=3)
    whole = AGGREGATORS["majority"].run(given)
    monkeypatch.setattr("noisyfer.benchmark.aggregators.BLOCK", 7)
    parts = AGGREGATORS["majority"].run(given)
    np.testing.assert_array_equal(whole.values, parts.values)
    np.testing.assert_array_equal(whole.probs, parts.probs)


def test_it_is_the_vote_that_make_cifar_stores(digits_manifest: Path, tmp_path: Path) -> None:
    found = aggregate(digits_manifest, "majority", name="vote", out=tmp_path / "vote.parquet")
    assert column(found, "class_vote") == column(found, "class_majority")
    stored = found.manifest.label_set("class_majority").provenance
    assert found.label_set.provenance["measured_rate"] == pytest.approx(stored["measured_rate"])


def test_vgg_majority_learns_from_the_stored_vote(path: Path) -> None:
    found = aggregate(crowd(path), "majority", labels=CROWD)
    chosen = choose(found.manifest, "vgg-majority", CROWD)
    assert chosen.voted is None
    assert [spec.name for spec in chosen.specs] == ["class_majority"]
    assert choose(found.manifest, "vgg-majority", CROWD[:2]).voted == "class_majority"  # of other sets: its own vote


# ------------------------------------------------------------------------------------------------- models of annotators


@pytest.mark.parametrize("method", ["majority", "dawid-skene", "glad", "mace", "crowdlab"])
def test_every_method_recovers_a_crowd_and_ranks_its_annotators(method: str, path: Path) -> None:
    if method in ("glad", "mace"):
        pytest.importorskip("crowdkit")
    if method == "crowdlab":
        pytest.importorskip("cleanlab")
    manifest = crowd(path, 150 if method == "glad" else 600)
    probs = "class_net" if method == "crowdlab" else None
    found = aggregate(manifest, method, labels=CROWD, probs=probs)
    found.manifest.validate()
    accuracies = [entry.scores["accuracy"] for entry in found.parents]
    assert accuracies == sorted(accuracies, reverse=True)
    assert rate(found) == pytest.approx(found.result.scores["accuracy"])
    assert rate(found) > accuracies[1]  # the middle annotator, who is far better than the worst
    worth = [entry.reliability for entry in found.parents]
    assert worth == sorted(worth, reverse=True)
    present = np.logical_or.reduce([manifest.labels(name).present for name in CROWD])
    assert (~present).any()
    result = found.manifest.labels(found.label_set.name)
    np.testing.assert_array_equal(result.present, present)
    shares = column(found, f"class_{method}_probs")
    assert [row is not None for row in shares] == present.tolist()
    if method != "crowdlab":  # whose consensus is that of its first round, and whose probabilities are of its second
        best = np.array([row for row in shares if row is not None])
        chosen = best[np.arange(len(best)), result.values[present]]
        np.testing.assert_allclose(chosen, best.max(axis=1), atol=1e-6)
    provenance = found.manifest.label_set(f"class_{method}").provenance
    assert provenance["method"] == method
    assert provenance["parents"] == list(CROWD)
    assert set(provenance["annotators"]) == set(CROWD)
    assert provenance.get("model") == probs


def test_dawid_skene_is_crowd_kits_and_tells_confusions(monkeypatch: pytest.MonkeyPatch) -> None:
    crowdkit = pytest.importorskip("crowdkit.aggregation")
    import pandas as pd

    _, labels, present = simulated(2000)
    sets, samples = np.nonzero(present)
    frame = pd.DataFrame({"task": samples, "worker": sets, "label": labels[present]})
    other = crowdkit.DawidSkene(n_iter=12, tol=-np.inf).fit(frame)
    monkeypatch.setattr("noisyfer.benchmark.aggregators.EM_ITERATIONS", 12)  # so that both stop at the same place
    found = AGGREGATORS["dawid-skene"].run(Given(labels, present, len(CLASSES)))
    rows = other.probas_.index.to_numpy()
    assert found.probs is not None
    assert found.confusion is not None
    theirs = other.probas_[list(range(len(CLASSES)))].to_numpy()
    np.testing.assert_allclose(found.probs[rows], theirs, atol=1e-6)
    matrices = (
        other.errors_.sort_index().sort_index(axis=1).to_numpy().reshape(3, len(CLASSES), len(CLASSES))
    )  # worker, label, true class
    np.testing.assert_allclose(found.confusion, matrices.transpose(0, 2, 1), atol=1e-6)
    np.testing.assert_allclose(found.reliability, [1 - rate for rate in RATES], atol=0.05)


def test_two_sets_are_too_few_for_dawid_and_skene_and_it_says_so(path: Path) -> None:
    manifest = crowd(path, 100)
    found = aggregate(manifest, "dawid-skene", labels=CROWD[:2])
    assert "Two label sets do not determine" in found.notes[0]
    assert not aggregate(manifest, "dawid-skene", labels=CROWD, out=path.with_name("three.parquet")).notes


def test_mace_does_not_depend_on_how_classes_come_along() -> None:
    pytest.importorskip("crowdkit")
    truth, labels, present = simulated(150)
    order = np.argsort(-truth, kind="stable")  # the highest class first
    plain, turned = (
        AGGREGATORS["mace"].run(Given(labels[:, rows], present[:, rows], len(CLASSES)))
        for rows in (np.arange(150), order)
    )
    assert plain.probs is not None
    assert turned.probs is not None
    np.testing.assert_allclose(plain.probs[order], turned.probs, atol=0.02)
    np.testing.assert_allclose(plain.reliability, turned.reliability, atol=0.02)


def test_crowdlab_is_the_mean_of_model_and_annotators_by_their_weights() -> None:
    multiannotator = pytest.importorskip("cleanlab.multiannotator")
    _, labels, present = simulated(300)
    present[:, :3] = [[True], [True], [False]]
    model = np.random.default_rng(0).dirichlet(np.ones(4), 300).astype(np.float32)
    model[1] = np.nan
    found = AGGREGATORS["crowdlab"].run(Given(labels, present, 4, probs=model))
    assert not found.present[1]
    assert "1 samples" in found.notes[0]
    used = found.present
    votes = np.where(present, labels, np.nan).T[used]
    # cleanlab's own, from inside: what noisyfer works out again from what cleanlab tells
    first = found.values[used]
    agree = np.array([(row[~np.isnan(row)] == best).mean() for row, best in zip(votes, first, strict=True)])
    probs, _, _ = multiannotator._get_post_pred_probs_and_weights(
        votes, first, model[used].astype(float), (~np.isnan(votes)).sum(axis=1), agree, verbose=False
    )
    assert found.probs is not None
    np.testing.assert_allclose(found.probs[used], probs, atol=1e-5)


def test_equal_chances_are_a_tie() -> None:
    probs = np.tile([0.4, 0.2, 0.4 - 1e-15], (1000, 1))
    picked = most_probable(probs, 0).tolist()
    assert set(picked) == {0, 2}
    assert 400 < picked.count(0) < 600


# -------------------------------------------------------------------------------------------------- valence and arousal


def test_the_command_prints_everyone_and_json_for_programs(path: Path, here: Path) -> None:
    crowd(path)
    names = ",".join(CROWD)
    told = CliRunner().invoke(main, ["aggregate", str(path), "--method", "majority", "--labels", names])
    assert told.exit_code == 0, told.output
    for words in (*CROWD, "class_majority", "agreement", "accuracy", "scored against class_clean", "Written: "):
        assert words in told.output
    asked = CliRunner().invoke(
        main, ["aggregate", str(path), "--method", "dawid-skene", "--labels", names, "--out", "ds.parquet", "--json"]
    )
    found = json.loads(asked.output)
    assert found["label_set"] == "class_dawid-skene"
    assert list(found["parents"]) == list(CROWD)
    assert found["result"]["scores"]["accuracy"] > 0.8
    assert found["parents"][CROWD[0]]["reliability"] == pytest.approx(0.85, abs=0.08)


def test_the_help_names_every_method() -> None:
    told = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert all(name in told for name in AGGREGATORS)


def test_default_sets_are_the_noisy_ones_of_the_only_task_that_has_several(path: Path) -> None:
    made(path, {"class_clean": [0, 1], "class_a": [0, 1], "class_b": [0, 2], "va_a": [(0, 0), (1, 1)]})
    found = aggregate(path, "majority")
    assert found.label_set.provenance["parents"] == ["class_a", "class_b"]
    second = aggregate(found.manifest, "majority", name="again", out=path.with_name("second.parquet"))
    assert second.label_set.provenance["parents"] == ["class_a", "class_b"]  # an aggregate is none of them


def test_what_is_scored_against_is_aggregated_only_where_it_is_named(path: Path) -> None:
    manifest = made(path, {"class_human": [0, 1], "class_a": [0, 1], "class_b": [0, 2]})
    assert manifest.label_set("class_human").kind == "synthetic"  # the truth goes by its annotator
    found = aggregate(path, "majority")
    assert (found.truth, found.label_set.provenance["parents"]) == ("class_human", ["class_a", "class_b"])
    named = aggregate(path, "majority", labels=["class_human", "class_a"], name="two")
    assert named.label_set.provenance["parents"] == ["class_human", "class_a"]


def test_it_is_in_the_package_and_takes_comma_lists(path: Path) -> None:
    import noisyfer

    assert noisyfer.aggregate is api.aggregate
    found = noisyfer.aggregate(crowd(path), "majority", labels=f"{CROWD[0]},{CROWD[1]}", name="two")
    assert found.label_set.provenance["parents"] == list(CROWD[:2])
    assert found.manifest.header.parents[0]["file"] == path.name


def test_without_a_truth_nothing_is_scored(path: Path) -> None:
    made(path, {"class_a": [0, 1], "class_b": [0, 2]})
    found = aggregate(path, "majority")
    assert (found.truth, found.result.scores) == (None, {})
    assert "measured_rate" not in found.label_set.provenance


SMALL: dict[str, Column] = {
    "class_clean": [0, 1],
    "class_a": [0, 1],
    "class_b": [0, 2],
    "class_empty": [None, None],
    "va_a": [(0, 0), (1, 1)],
    "va_b": [(0, 0), (1, 1)],
}
