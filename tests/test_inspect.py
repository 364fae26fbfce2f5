"""The audit of labels: figures against values worked by hand, scikit-learn's, and what the manifest knows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from inspect_builders import CLASSES, labelled
from noisyfer.benchmark.inspect import inspect_manifest
from noisyfer.benchmark.inspecting import audit as audits
from noisyfer.benchmark.inspecting import estimates
from noisyfer.benchmark.inspecting import opinions as opinions_module
from noisyfer.benchmark.inspecting.agreement import cohen_kappa, fleiss_kappa
from noisyfer.benchmark.inspecting.audit import Audit, audit_manifest
from noisyfer.benchmark.inspecting.beliefs import Belief, Beliefs, run_beliefs
from noisyfer.benchmark.inspecting.estimates import confident_learning
from noisyfer.benchmark.inspecting.opinions import read_opinions
from noisyfer.benchmark.inspecting.suspects import judge, most_suspicious
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from noisyfer.models.aggregation import dawid_skene, posterior_of
from noisyfer.training.metrics import confusion_counts
from page_reading import check_self_contained
from report_runs import CLASSES as HOSTILE_CLASSES
from report_runs import HOSTILE, IMAGE, hostile_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

# 10 subjects, 14 raters, 5 categories: the worked example of en.wikipedia.org/wiki/Fleiss'_kappa
FLEISS = [
    *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
    *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
]


def noisyfer(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


@pytest.fixture(scope="module")
def digits(digits_manifest: Path) -> Audit:
    return audit_manifest(Manifest.open(digits_manifest))


def test_fleiss_kappa_is_that_of_the_published_example() -> None:
    assert fleiss_kappa(np.array(FLEISS)) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_is_nothing_where_it_is_not_defined() -> None:
    assert fleiss_kappa(np.zeros((0, 3), int)) is None
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])) is None
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa(np.array([[3, 0], [1, 1]]))


def test_cohen_kappa_is_that_worked_by_hand() -> None:
    # yes/yes 20, yes/no 5, no/yes 10, no/no 15: observed 0.7, by chance 0.5·0.6 + 0.5·0.4 = 0.5
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    counts = confusion_counts(first, second, 3)
    assert counts.tolist() == [[20, 5, 0], [10, 15, 0], [0, 0, 0]]
    assert cohen_kappa(counts) == pytest.approx(0.4)
    assert cohen_kappa(confusion_counts(np.zeros(4, int), np.zeros(4, int), 3)) is None
    assert cohen_kappa(confusion_counts(np.zeros(0, int), np.zeros(0, int), 3)) is None
    assert cohen_kappa(confusion_counts(first, first, 3)) == 1


def test_counts_and_kappa_are_scikit_learns() -> None:
    from sklearn.metrics import cohen_kappa_score, confusion_matrix

    for samples, classes in ((7, 300), (2000, 5)):
        first, other = np.random.default_rng(0).integers(0, classes, (2, samples)).astype(np.int16)
        second = np.where(np.arange(samples) % 3, first, other)
        counts = confusion_counts(first, second, classes)
        assert counts.tolist() == confusion_matrix(first, second, labels=np.arange(classes)).tolist()
        assert cohen_kappa(counts) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def test_pairs_of_many_annotators_are_counted_without_scikit_learn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opinions = read_opinions(labelled(path, {f"a{number}": [0, 1, 2, number % 3] for number in range(8)}), "class")
    for name in ("cohen_kappa_score", "confusion_matrix"):
        monkeypatch.setattr(f"sklearn.metrics.{name}", None)
    assert audits._pairs(opinions)[0]["class_a0", "class_a3"] == (1, 4)


def test_the_true_noise_is_what_the_manifest_knows(digits: Audit) -> None:
    found = digits.tasks["class"]
    assert found.opinions.truth == "class_clean"
    assert found.opinions.annotators == ("class_flip20", "class_flip30", "class_flip40")
    for name in found.opinions.annotators:
        told = digits.manifest.header.label_sets[name].provenance
        true = found.noise[name]["true"]
        assert true.rate == told["measured_rate"]
        assert np.allclose(true.transition, told["transition_matrix"], atol=1e-6)
    assert "true" not in found.noise["class_clean"]


def test_em_and_agreement_come_near_the_true_rates(digits: Audit) -> None:
    found = digits.tasks["class"]
    for name, true in (("class_flip20", 0.2), ("class_flip30", 0.3), ("class_flip40", 0.4)):
        assert found.noise[name]["em"].rate == pytest.approx(true, abs=0.03)
        assert found.noise[name]["agreement"].rate == pytest.approx(true, abs=0.03)
        assert found.noise[name]["em"].transition.sum(axis=1) == pytest.approx(1)
    assert "em" not in found.noise["class_clean"]


def test_suspicious_labels_are_wrong_far_more_often_than_others(digits: Audit) -> None:
    """A fifth of the set's labels are wrong; of the hundred that two others speak against most, far more are."""
    found = digits.tasks["class"]
    worst = found.judged["class_flip20"].suspicious[:100]
    clean, noisy = (found.opinions.values[name][worst] for name in ("class_clean", "class_flip20"))
    assert (clean != noisy).mean() > 0.7


def test_kappa_and_agreement_of_samples_that_both_label(digits: Audit) -> None:
    kappa, samples = digits.tasks["class"].kappa["class_clean", "class_flip20"]
    assert samples == 1438
    assert kappa == pytest.approx((0.79972 - 0.1) / 0.9, abs=2e-3)  # classes are nearly balanced
    assert digits.tasks["class"].confusions["class_clean", "class_flip20"].trace() == 1438 - 288
    assert digits.tasks["class"].fleiss is not None
    assert digits.tasks["class"].fleiss[1] == 1438


def test_confident_learning_counts_confident_disagreement(path: Path) -> None:
    """90 cats and 110 dogs, certainly told apart; 20 of the dogs are labelled cat, 10 of the cats dog."""
    pytest.importorskip("cleanlab")
    true = np.repeat([0, 1], [90, 110])
    given = true.copy()
    given[90:110], given[:10] = 0, 1
    opinions = read_opinions(labelled(path, {"a": given.tolist()}), "class")
    assert opinions is not None
    probs = np.full((200, 3), 0.01, np.float32)
    probs[np.arange(200), true] = 0.98
    notes: list[str] = []
    found = confident_learning(opinions, "class_a", Belief("hand", probs, np.ones(200, bool)), notes)
    assert found is not None
    assert found.rate == pytest.approx(0.15)
    assert found.wrong == 30
    assert found.transition[:2, :2] == pytest.approx(np.array([[80 / 90, 10 / 90], [20 / 110, 90 / 110]]), abs=0.01)
    assert np.isnan(found.transition[2]).all()
    assert notes == []


def test_without_cleanlab_the_rest_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (audits, estimates):
        monkeypatch.setattr(module, "has_cleanlab", lambda: False)
    found = audit_manifest(labelled(path, {name: [0, 1, 2, 0] for name in "abc"}))
    assert "cleanlab is not installed" in found.notes[0]
    assert set(found.tasks["class"].noise["class_a"]) == {"em", "agreement"}
    assert found.tasks["class"].kappa["class_a", "class_b"] == (1.0, 4)


def test_quality_is_cleanlabs_self_confidence_and_orders_the_labels(path: Path) -> None:
    labels = [0, 1, 2, 0, None, 1]
    opinions = read_opinions(labelled(path, {"a": labels}), "class")
    assert opinions is not None
    rows = [[0.1, 0.9, 0], [0.3, 0.7, 0], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [1, 0, 0], [0.4, 0.3, 0.3]]
    belief = Belief("hand", np.array(rows, np.float32), np.array([1, 1, 1, 1, 1, 0], bool))
    quality = judge(opinions, "class_a", belief)
    assert quality.score.tolist()[:4] == pytest.approx([0.1, 0.7, 0.1, 0.2])
    assert [math.isnan(value) for value in quality.score] == [False] * 4 + [True] * 2
    assert quality.order.tolist() == [0, 2, 3, 1]  # rows 0 and 2 are equal: the surer suggestion comes first
    assert quality.suspicious.tolist() == [0, 2, 3]
    if estimates.has_cleanlab():
        from cleanlab.rank import get_label_quality_scores

        theirs = get_label_quality_scores(np.array(labels[:4]), np.array(rows[:4]))
        assert quality.score[:4] == pytest.approx(theirs)


def test_each_annotators_worst_come_in_turn(path: Path) -> None:
    opinions = read_opinions(labelled(path, {"a": [0, 0, 0], "b": [1, 1, 1], "clean": [0, 1, 2]}), "class")
    assert opinions is not None
    belief = Belief("hand", np.array([[0.1, 0.9, 0], [0.2, 0, 0.8], [0, 0.3, 0.7]], np.float32), np.ones(3, bool))
    judged = {name: judge(opinions, name, belief) for name in opinions.sets}
    found = most_suspicious(opinions, judged, 4)
    assert [(each.name, each.row, each.rank) for each in found] == [
        *(("class_a", 2, 1), ("class_b", 1, 1), ("class_a", 0, 2), ("class_b", 2, 2)),
    ]
    assert (found[0].label, found[0].suggested) == (0, 2)


def test_a_label_is_judged_by_others_probabilities_and_never_by_its_own(path: Path) -> None:
    own, net, gan = [[1, 0, 0], [0, 1, 0]], [[0.2, 0.8, 0], [0, 0.5, 0.5]], [[0.4, 0.6, 0], None]
    manifest = labelled(
        path, {"own": [0, 1], "net": [1, 1], "gan": [1, None]}, probs={"own": own, "net": net, "gan": gan}
    )
    opinions = read_opinions(manifest, "class")
    assert opinions is not None
    found = Beliefs(manifest, opinions).about("class_own")
    assert found is not None
    assert found.source == "the mean of the probabilities of class_net, class_gan"
    assert found.probs == pytest.approx(np.array([[0.3, 0.7, 0], [0, 0.5, 0.5]]))


def test_without_probabilities_it_is_the_posterior_of_the_others(digits: Audit) -> None:
    found = digits.tasks["class"]
    assert found.sources["class_flip20"] == "the Dawid-Skene posterior of class_flip30, class_flip40"
    assert np.isnan(found.judged["class_flip20"].score[1438:]).all()  # test samples have no noisy label


def test_a_posterior_of_further_samples_is_that_of_em() -> None:
    source = torch.Generator().manual_seed(3)
    labels = [torch.randint(3, (50,), generator=source) for _ in range(3)]
    masks = [torch.rand(50, generator=source) < 0.8 for _ in range(3)]
    model = dawid_skene(labels, masks, 3, 500)
    again = posterior_of(model, labels, masks)
    assert torch.allclose(again, model.posterior, atol=1e-3)
    nobody = posterior_of(model, labels, [torch.zeros(50, dtype=torch.bool)] * 3)
    assert torch.allclose(nobody, model.prior.expand(50, 3))


def test_one_annotator_alone_is_told_so(path: Path) -> None:
    found = audit_manifest(labelled(path, {"a": [0, 1], "clean": [0, 2]})).tasks["class"]
    assert set(found.judged) == {"class_clean"}
    assert "class_a: nobody else labels class" in found.notes[0]
    assert found.noise["class_a"]["true"].rate == 0.5


def test_a_human_is_no_truth_unless_it_is_said(path: Path) -> None:
    manifest = labelled(path, {"human": [0, 1, 2], "net": [0, 1, 1]})
    assert audit_manifest(manifest).tasks["class"].opinions.truth is None
    named = audit_manifest(manifest, truth="class_human").tasks["class"]
    assert named.noise["class_net"]["true"].rate == pytest.approx(1 / 3)
    clean = labelled(path.with_name("c.parquet"), {"clean": [0, 1, 2], "net": [0, 1, 1]})
    assert audit_manifest(clean, truth="none").tasks["class"].opinions.truth is None
    with pytest.raises(UserError, match="no label set"):
        audit_manifest(manifest, truth="class_huamn")


def predictions(path: Path, ids: list[str], probs: list[Any] | None, kind: pa.DataType | None = None) -> Path:
    kind = kind or pa.list_(pa.float32())
    columns = {"id": ids} | ({} if probs is None else {"class_probs": pa.array(probs, kind)})
    pq.write_table(pa.table(columns), path)
    return path


def test_a_runs_predictions_are_matched_by_id(path: Path, tmp_path: Path) -> None:
    manifest = labelled(path, {"a": [0, 1, 2], "b": [0, 0, 0]})
    run = tmp_path / "runs" / "vgg"
    run.mkdir(parents=True)
    predictions(run / "predictions.parquet", ["s2", "other", "s0"], [[0.1, 0.2, 0.7], [1, 0, 0], [0.3, 0.3, 0.4]])
    found = run_beliefs(manifest, run)["class"]
    assert found.known.tolist() == [True, False, True]
    assert found.probs[[0, 2]] == pytest.approx(np.array([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]]))
    audited = audit_manifest(manifest, probs=run)
    assert audited.tasks["class"].sources["class_a"] == "the predictions of the run vgg"
    assert "cover 2 of 3 samples" in audited.all_notes[0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file, "There is no"),
        (lambda file: file.write_bytes(b"PAR1 nothing") and file, "is damaged"),
        (lambda file: predictions(file, ["s0"], None), "has no columns 'id' and 'class_probs'"),
        (lambda file: predictions(file, ["x"], [[1, 0, 0]]), "no id is in both"),
        (lambda file: predictions(file, ["s0"], [[1, 0]]), "3 were expected"),
        (lambda file: predictions(file, ["s0"], [[2, 0, 0]]), "that sum to 1"),
        (lambda file: predictions(file, ["s0"], [[2, 0, 0]], pa.list_(pa.int8())), "that sum to 1"),
        (lambda file: predictions(file, ["s0"], [0.5], pa.float32()), "the type float; lists of numbers were expected"),
        (lambda file: predictions(file, ["s0"], ["1 0 0"], pa.string()), "'class_probs' has values of the type string"),
        (lambda file: predictions(file, ["s0"], [list("100")], pa.list_(pa.string())), "lists of numbers"),
        (lambda file: predictions(file, ["s0"], [[True, False, False]], pa.list_(pa.bool_())), "lists of numbers"),
        (lambda file: predictions(file, ["s0"], [None], pa.null()), "lists of numbers"),
    ],
)
def test_predictions_that_cannot_be_used_are_a_sentence(make: object, said: str, path: Path, tmp_path: Path) -> None:
    manifest = labelled(path, {"a": [0, 1, 2]})
    with pytest.raises(UserError, match=said):
        run_beliefs(manifest, make(tmp_path / "p.parquet"))  # type: ignore[operator]


def test_estimates_of_very_many_samples_are_made_from_some_and_scores_of_all(
    digits: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opinions_module, "MOST_ROWS", 1200)
    found = audit_manifest(digits.manifest).tasks["class"]
    assert "from 1,200 of 1,797 samples" in found.notes[0]
    assert found.kappa["class_clean", "class_flip20"][1] < 1200
    assert found.noise["class_flip20"]["em"].rate == pytest.approx(0.2, abs=0.04)
    assert (~np.isnan(found.judged["class_flip20"].score)).sum() == 1438


def test_scores_are_columns_of_a_manifest(digits_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "scored.parquet"
    found = inspect_manifest(Manifest.open(digits_manifest), scores=out)
    assert found.columns[:2] == ("class_clean_quality", "class_flip20_quality")
    copy = Manifest.open(out)
    copy.validate()
    assert copy.header.parents[0]["sha256"] == found.audit.manifest.fingerprint
    assert copy.read().equals(found.audit.manifest.read())
    scores = copy.read(["class_flip20_quality"])["class_flip20_quality"]
    assert scores.null_count == 359
    expected = found.audit.tasks["class"].judged["class_flip20"].score
    assert np.array_equal(scores.to_numpy(), expected, equal_nan=True)


def test_scores_replace_a_manifest_when_asked_and_nothing_else(path: Path, here: Path) -> None:
    manifest, scored, notes = labelled(path, {"a": [0, 1], "b": [0, 1]}), Path("scored.parquet"), Path("notes.txt")
    assert noisyfer(path, "--scores", scored, "-o", "page.html").exit_code == 0
    before = scored.read_bytes()
    refused = noisyfer(path, "--scores", scored)  # though the same command wrote it
    assert "Give another name with --scores, or replace it with --overwrite." in refused.stderr
    assert (refused.exit_code, scored.read_bytes(), Path("audit.html").exists()) == (1, before, False)
    assert noisyfer(path, "--scores", scored, "--overwrite").exit_code == 0
    notes.write_text("mine")
    with pytest.raises(UserError, match="no manifest stands there"):
        inspect_manifest(manifest, scores=notes, overwrite=True)


def test_the_page_takes_no_manifests_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = labelled(path, {"a": [0, 1, 2], "b": [0, 1, 1]}).path.read_bytes()
    monkeypatch.setattr("noisyfer.benchmark.inspect.audit_manifest", None)  # refused before the work
    refused = noisyfer(path, "-o", path)
    assert "a file that is no page stands there. Choose another name." in refused.stderr
    assert (refused.exit_code, path.read_bytes()) == (1, before)


def test_the_page_shows_hostile_names_as_text(digits_manifest: Path, tmp_path: Path) -> None:
    manifest = hostile_manifest(digits_manifest, tmp_path / "h.parquet")
    out = tmp_path / "audit.html"
    inspect_manifest(manifest, out=out, suspects=30)
    html = out.read_text(encoding="utf-8")
    reading = check_self_contained(html)
    assert HOSTILE in reading.text
    assert IMAGE in reading.text
    assert [row[0] for row in reading.tables["Class counts, class"][1:]] == list(HOSTILE_CLASSES)
    assert html.count("data:image/jpeg;base64,") == 30
    rates = {row[0]: row[1] for row in reading.tables["Share of wrong labels, class"][1:]}
    assert rates["class_flip20"] == "20.0%"


def test_broken_pictures_and_hostile_ids_are_text_tiles(path: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    images = ["bad.png", "gone.png", "digits#3", "digits#99999"]
    sets = {"a": [0, 1, 2, 0], "b": [1, 2, 0, 1], "c": [1, 2, 0, 1]}
    manifest = labelled(path, sets, images=images, ids=[f"{HOSTILE}{row}" for row in range(4)])
    out = tmp_path / "audit.html"
    found = inspect_manifest(manifest, out=out)
    reading = check_self_contained(out.read_text(encoding="utf-8"))
    assert "No picture: there is no such file" in reading.text
    assert f"{HOSTILE}0 (train)" in reading.text
    assert any("of 4 pictures cannot be shown" in note for note in found.notes)


def test_many_classes_are_listed_and_no_class_at_all_is_told(path: Path, tmp_path: Path) -> None:
    labels = [row % 40 for row in range(80)]
    shifted = [(row + (row % 7 == 0)) % 40 for row in range(80)]
    names = [f"class {number}" for number in range(40)]
    manifest = labelled(path, {"a": labels, "b": shifted, "c": labels}, classes=names)
    out = tmp_path / "audit.html"
    inspect_manifest(manifest, out=out, suspects=0)
    text = out.read_text(encoding="utf-8")
    assert "largest entries off the diagonal of 40 classes" in text
    assert "Suspicious labels" not in text


def test_the_command_prints_figures_for_people_and_programs(digits_manifest: Path, here: Path) -> None:
    shown = noisyfer(digits_manifest, "--suspects", "3")
    assert shown.exit_code == 0, shown.output
    assert "Fleiss' κ, class: 0.4" in shown.output
    assert Path("audit.html").exists()
    told = json.loads(noisyfer(digits_manifest, "--json", "--suspects", "0").stdout)["tasks"]["class"]
    assert told["sets"]["class_flip20"]["noise"]["true"]["rate"] == pytest.approx(288 / 1438)
    assert told["truth"] == "class_clean"
    assert len(told["pairs"]) == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suspects", "-1"], "--suspects is -1; 0 to 5000 was expected"),
        (["--truth", "nobody"], "There is no label set"),
        (["--probs", "gone"], "There is no gone"),
    ],
)
def test_wrong_options_are_sentences(arguments: list[str], said: str, digits_manifest: Path, here: Path) -> None:
    result = noisyfer(digits_manifest, *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not Path("audit.html").exists()


def test_valence_and_arousal_are_drawn_by_class(manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "audit.html"
    inspect_manifest(manifest, out=out, root=tmp_path)
    text = out.read_text(encoding="utf-8")
    assert "va_net by class_net" in text
    assert text.count('class="cloud"') == len(CLASSES) - 1  # nobody is a frog for `net`
