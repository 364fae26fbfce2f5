"""make-cifar: exact rates, untouched test labels, sets that do not depend on one another, data found or asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cifar_files import tiny_cifar, write_archive, write_binary, write_parquet, write_python
from noisyfer.benchmark.cifar import find_dataset, make_cifar
from noisyfer.core.errors import UserError
from noisyfer.images.digits import Digits
from noisyfer.manifest import Manifest
from noisyfer.training.data import load_split

NOISY = ("class_flip20", "class_flip30", "class_flip40")


def test_rates_read_from_the_parquet_are_exact(digits_manifest: Path) -> None:
    table = pq.read_table(digits_manifest).to_pandas()
    train = table[table["split"] == "train"]
    for name, rate in zip(NOISY, (0.2, 0.3, 0.4), strict=True):
        assert (train[name] != train["class_clean"]).sum() == round(rate * len(train))


def test_test_labels_are_the_datasets_own_and_no_noisy_annotator_labels_them(digits_manifest: Path) -> None:
    test = Manifest.open(digits_manifest).select(splits=["test"])
    assert np.array_equal(test.labels("class_clean").values, Digits().labels("test"))
    assert test.labels("class_clean").present.all()
    for name in (*NOISY, "class_majority"):
        assert not test.labels(name).present.any()


def test_other_rates_leave_a_set_bit_for_bit_as_it_was(digits_manifest: Path, tmp_path: Path) -> None:
    before = Manifest.open(digits_manifest)
    other = make_cifar((0.35, 0.4, 0.2, 0.2), data="digits", out=tmp_path / "other.parquet")
    assert set(other.header.label_sets) >= {"class_flip35", "class_flip40", "class_flip20", "class_flip20b"}
    for name in ("class_flip20", "class_flip40", "class_clean"):
        assert np.array_equal(before.labels(name).values, other.labels(name).values)
    assert not np.array_equal(other.labels("class_flip20").values, other.labels("class_flip20b").values)


def test_the_majority_is_the_most_frequent_label_and_ties_do_not_follow_the_order_of_sets(tmp_path: Path) -> None:
    manifest = make_cifar((0.2, 0.3, 0.4), data="digits", out=tmp_path / "a.parquet").select(splits=["train"])
    votes = np.stack([manifest.labels(name).values for name in NOISY])
    majority = manifest.labels("class_majority").values
    first_wins = []
    for sample, voted in enumerate(majority):
        counts = {label: list(votes[:, sample]).count(label) for label in votes[:, sample]}
        assert counts[voted] == max(counts.values())
        if max(counts.values()) == 1:
            first_wins.append(voted == votes[0, sample])
    assert 0.2 < np.mean(first_wins) < 0.47  # about a third, where always taking the first set would give 1


def test_provenance_tells_how_a_set_was_made(digits_manifest: Path) -> None:
    found = Manifest.open(digits_manifest).header.label_sets["class_flip30"]
    assert (found.kind, found.annotator, found.task) == ("synthetic", "flip30", "class")
    assert found.provenance["noise"] == "uniform"
    assert found.provenance["rate"] == 0.3
    assert found.provenance["measured_rate"] == pytest.approx(0.3, abs=0.5 / 1437)
    assert found.provenance["seed"] == 0
    matrix = np.array(found.provenance["transition_matrix"])
    assert matrix.shape == (10, 10)
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-4)
    assert Manifest.open(digits_manifest).header.label_sets["class_majority"].provenance["parents"] == list(NOISY)


def test_same_arguments_give_the_same_bytes_and_another_seed_other_labels(tmp_path: Path) -> None:
    first = make_cifar((0.2,), data="digits", out=tmp_path / "a" / "m.parquet", seed=1)
    again = make_cifar((0.2,), data="digits", out=tmp_path / "b" / "m.parquet", seed=1)
    other = make_cifar((0.2,), data="digits", out=tmp_path / "c" / "m.parquet", seed=2)
    assert first.path.read_bytes() == again.path.read_bytes()
    assert not np.array_equal(first.labels("class_flip20").values, other.labels("class_flip20").values)


def test_every_noise_model_writes_a_valid_manifest(here: Path) -> None:
    write_python(here / "datasets", tiny_cifar(per_batch=40, test=20))
    for noise in ("uniform", "uniform-all", "pairflip", "asymmetric", "instance"):
        manifest = make_cifar((0.4,), noise=noise, out=here / f"{noise}.parquet")
        manifest.validate()
        noisy = next(found for found in manifest.header.label_sets.values() if found.kind == "synthetic")
        assert noisy.provenance["noise"] == noise
        assert 0 < noisy.provenance["measured_rate"] < 0.65


def test_a_matrix_without_rates_is_taken_as_it_stands(tmp_path: Path) -> None:
    rows = np.full((10, 10), 0.02)
    np.fill_diagonal(rows, 0.82)
    np.savetxt(tmp_path / "soft.csv", rows, delimiter=",")
    manifest = make_cifar(data="digits", noise=f"matrix:{tmp_path / 'soft.csv'}", out=tmp_path / "m.parquet")
    assert manifest.header.label_sets["class_soft"].provenance["measured_rate"] == pytest.approx(0.18, abs=0.04)


@pytest.mark.parametrize("layout", ["python", "binary", "archive", "parquet"])
def test_every_layout_gives_the_same_labels_and_images(layout: str, here: Path) -> None:
    data = tiny_cifar(per_batch=4, test=6)
    folder = here / "source"
    if layout == "python":
        write_python(folder, data)
    elif layout == "binary":
        write_binary(folder, data)
    elif layout == "parquet":
        write_parquet(folder, data)
    else:
        folder = write_archive(write_python(here / "unpacked", data), here / "cifar-10-python.tar.gz")
    manifest = make_cifar((0.2,), data=folder, out=here / "m.parquet")
    loaded = load_split(manifest, "train", ["class_clean"], size=32)
    assert np.array_equal(loaded.images, data.train_images)
    assert np.array_equal(loaded.labels["class_clean"].values, data.train_labels)


def test_data_is_found_in_the_environments_folder_and_in_datasets(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_binary(here / "datasets", tiny_cifar())
    assert find_dataset(None).layout == "binary"
    write_parquet(here / "elsewhere" / "cifar10", tiny_cifar())
    monkeypatch.setenv("NOISYFER_DATA", str(here / "elsewhere"))
    assert find_dataset(None).layout == "parquet"


def test_where_nothing_can_be_downloaded_both_remedies_are_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets

    def refused(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refused)
    with pytest.raises(UserError) as caught:
        make_cifar((0.2,))
    for remedy in ("datasets", "--data PATH", "--data digits", "network is unreachable"):
        assert remedy in str(caught.value)
    assert not (here / "data_manifests").exists()


def test_a_matrix_file_cannot_pass_for_the_truth(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "clean.csv", np.full((10, 10), 0.1), delimiter=",")
    manifest = make_cifar(data="digits", noise=f"matrix:{tmp_path / 'clean.csv'}", out=tmp_path / "m.parquet")
    assert set(manifest.header.label_sets) == {"class_clean", "class_matrix-clean"}
    assert manifest.header.label_sets["class_clean"].kind == "human"
    assert manifest.labels("class_clean").present.all()


def test_a_damaged_copy_is_named_and_not_looked_past(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "datasets").mkdir()
    (here / "datasets" / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b half an archive")
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz"):
        find_dataset(None)
    monkeypatch.setenv("NOISYFER_DATA", str(here / "mistyped"))
    with pytest.raises(UserError, match="mistyped, which does not exist"):
        find_dataset(None)


def test_a_file_that_is_no_manifest_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    pq.write_table(
        pq.read_table(make_cifar((0.2,), data="digits", out=tmp_path / "m.parquet").path), tmp_path / "m.parquet"
    )
    other = pq.read_table(tmp_path / "m.parquet").replace_schema_metadata(None)
    pq.write_table(other, tmp_path / "other.parquet")
    for name in ("notes.txt", "other.parquet"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UserError, match="no manifest stands there"):
            make_cifar((0.2,), data="digits", out=tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    make_cifar((0.3,), data="digits", out=tmp_path / "m.parquet")


def test_a_manifest_and_its_data_can_be_moved_together(here: Path) -> None:
    write_python(here / "project" / "datasets", tiny_cifar())
    (here / "project").mkdir(exist_ok=True)
    import os

    os.chdir(here / "project")
    make_cifar((0.2,))
    os.chdir(here)
    (here / "project").rename(here / "moved")
    manifest = Manifest.open(here / "moved" / "data_manifests" / "cifar10.parquet")
    assert len(load_split(manifest, "train", [], size=32)) == 15
