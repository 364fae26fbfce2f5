"""The paper's tables as runs: which systems learn from which label sets, and what cannot be asked of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cifar_files import tiny_cifar, write_python
from noisyfer.benchmark.bench import dataset_root
from noisyfer.benchmark.cifar import make_cifar
from noisyfer.benchmark.tables import TABLES, TableRun, plan_table
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from test_protocols import HUMAN, MODEL, manifest

COMMON: dict[str, Any] = {"preset": "smoke", "device": "cpu", "say": lambda text: None}


def planned(name: str, *seeds: int, **more: Any) -> list[TableRun]:
    return plan_table(name, seeds or (0,), **{**COMMON, **more})


def learns(run: TableRun) -> tuple[str, ...]:
    return tuple(spec.name for spec in run.plan.choice.specs)


def test_table_1_has_the_papers_systems_and_every_seed_of_one_before_the_next(
    digits_manifest: Path, tmp_path: Path
) -> None:
    runs = planned("1", 0, 3, manifest=digits_manifest, out=tmp_path)
    assert [run.plan.config.seed for run in runs] == [0] * 9 + [3] * 9
    published = {run.row.system: run.row.published[""]["accuracy"] for run in runs if run.row.published}
    assert sorted(published.values()) == [76.37, 80.23, 82.36, 84.21, 86.34, 87.23, 87.90, 88.55]
    by_system = {run.row.system: run for run in runs}
    assert learns(by_system["VGG, clean labels"]) == ("class_clean",)
    assert learns(by_system["proposed"]) == ("class_flip20", "class_flip30", "class_flip40")
    assert by_system["VGG, all labels, a head a set"].plan.config.options.share == "trunk"
    assert len({run.plan.folder.path for run in runs}) == len(runs)


def test_table_3_learns_from_one_set_and_from_three(digits_manifest: Path, tmp_path: Path) -> None:
    runs = planned("3", manifest=digits_manifest, out=tmp_path)
    labels = {run.row.system: run.plan.config.labels for run in runs}
    assert labels["proposed, one set"] == labels["without joint score, one set"] == ("class_flip20",)
    assert labels["proposed, three sets"] == ("class_flip20", "class_flip30", "class_flip40")
    assert [run.row.published[""]["accuracy"] for run in runs] == [
        *(77.82, 77.93, 83.65, 83.51, 84.78),
        *(80.23, 79.10, 85.48, 87.88, 87.90),
    ]


def test_table_2_has_the_rows_of_its_protocol(tmp_path: Path) -> None:
    relabelled = manifest(tmp_path / "raf.parquet", HUMAN[0], *MODEL).path
    raf = planned("2", manifest=relabelled, protocol="raf-base", out=tmp_path, preset="small")
    sets = {run.row.system: run.plan.config.labels for run in raf}
    assert sets["SCE, expression"] == sets["VGG, expression"] == ("expression_teacher",)
    assert sets["proposed, both tasks"] == ("expression_teacher", "va_teacher")
    assert not [system for system in sets if "valence" in system]  # RAF-DB has no human valence to score them by
    assert {run.plan.config.settings.image_size for run in raf} == {64}
    both = manifest(tmp_path / "affectnet.parquet", *HUMAN, MODEL[0]).path
    affectnet = planned("2", manifest=both, protocol="affectnet-base", out=tmp_path)
    sets = {run.row.system: run.plan.config.labels for run in affectnet}
    assert sets["proposed, valence/arousal"] == ("va_human",)
    published = {run.row.system: run.row.published["affectnet-base"] for run in affectnet}
    assert published["proposed, both tasks"] == {"accuracy": 46.08, "ccc": 0.6727, "mse": 0.1248}


def test_tables_of_several_kinds_of_noise_make_their_manifests(here: Path) -> None:
    write_python(here / "datasets", tiny_cifar(per_batch=20, test=20))
    told: list[str] = []
    runs = planned("noise", methods=("vgg-all",), say=told.append)
    assert [run.plan.manifest.path.name for run in runs] == [
        "cifar10.parquet",
        "cifar10-asymmetric.parquet",
        "cifar10-instance.parquet",
    ]
    assert len(told) == 3
    sets = Manifest.open(Path("data_manifests/cifar10-asymmetric.parquet")).header.label_sets
    noises = {found.provenance.get("noise") for found in sets.values() if found.kind == "synthetic"}
    assert noises == {"asymmetric"}
    told.clear()
    assert planned("noise", methods=("vgg-all",), say=told.append)[0].plan.folder == runs[0].plan.folder
    assert not told


def test_other_noise_under_the_name_of_a_tables_own_manifest_is_refused(here: Path) -> None:
    digits = Path("digits")
    own = make_cifar((0.5,), data=digits, noise="pairflip").path
    other = rf"is for uniform noise of 0\.2, 0\.3, 0\.4, and {own} has other noisy label sets: class_pair50\. Rename"
    with pytest.raises(UserError, match=rf"'VGG, all labels, uniform' {other}.* with --manifest\.$"):
        planned("noise", systems=("*uniform",), data=digits)
    with pytest.raises(UserError, match=rf"'λ 0\.2, 20, 30, 40 %' {other}.* makes its own\.$"):  # takes no --manifest
        planned("lambda", data=digits)
    (run,) = planned("noise", methods=("vgg-all",), systems=("*uniform",), manifest=own)
    assert learns(run) == ("class_pair50",)


def test_a_row_of_the_first_label_set_needs_that_one_alone(here: Path) -> None:
    digits = Path("digits")
    make_cifar((0.2,), data=digits)
    (run,) = planned("3", systems=("proposed, one set",), data=digits)
    assert learns(run) == ("class_flip20",)
    with pytest.raises(UserError, match="'proposed, three sets' is for"):
        planned("3", systems=("proposed, three sets",), data=digits)
    make_cifar((0.4, 0.3, 0.2), data=digits)
    assert len(learns(planned("3", systems=("proposed, three sets",), data=digits)[0])) == 3
    with pytest.raises(UserError, match=r"uniform noise of 0\.2, and .*: class_flip40\."):
        planned("3", systems=("proposed, one set",), data=digits)


def test_a_table_can_be_asked_for_rows_by_name(digits_manifest: Path, tmp_path: Path) -> None:
    runs = planned("3", 0, 1, manifest=digits_manifest, out=tmp_path, systems=("proposed*", "VGG*one set"))
    asked = [(run.row.system, run.plan.config.seed) for run in runs]
    rows = ("VGG, a head a set, one set", "proposed, one set", "proposed, three sets")
    assert asked == [(row, seed) for seed in (0, 1) for row in rows]


def test_the_table_of_lambda_has_each_rule_beside_weights_by_hand(here: Path) -> None:
    write_python(here / "datasets", tiny_cifar(per_batch=20, test=20))
    runs = planned("lambda", systems=("*20, 30, 40 %",))
    found = [(run.plan.config.options.lambda_rule, run.plan.config.options.lambda_) for run in runs]
    assert [weight for rule, weight in found if rule == "fixed"] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [rule for rule, _ in found if rule != "fixed"] == ["balance", "controller", "uncertainty"]


def test_an_option_of_one_method_is_left_out_of_the_others(digits_manifest: Path, tmp_path: Path) -> None:
    runs = planned("1", manifest=digits_manifest, out=tmp_path, changes={"lambda": "0.3", "epochs": "3"})
    weights = {run.row.method: getattr(run.plan.config.options, "lambda_", None) for run in runs}
    assert weights["proposed"] == 0.3
    assert weights["sce"] is None
    assert {run.plan.config.settings.epochs for run in runs} == {3}


def test_what_a_row_is_named_for_is_not_changed(digits_manifest: Path, tmp_path: Path) -> None:
    def asked(name: str, **changes: Any) -> list[TableRun]:
        more = {"manifest": digits_manifest} if name == "1" else {"data": Path("digits"), "systems": systems}
        return planned(name, out=tmp_path, changes={key.rstrip("_"): value for key, value in changes.items()}, **more)

    head = "'VGG, all labels, a head a set' is the row of share=trunk, which share=head would undo. Leave that out"
    with pytest.raises(UserError, match=head):
        asked("1", share="head")
    systems: tuple[str, ...] = ("λ 0.2, 20*", "λ 0.4, 20*")
    for value, said in (("0.4", "0.4"), ("auto", "auto"), (0.6, "0.6")):
        with pytest.raises(UserError, match=rf"'λ 0\.2, 20, 30, 40 %' is the row of lambda=0\.2, which lambda={said}"):
            asked("lambda", lambda_=value)
    with pytest.raises(UserError, match="lambda_rule=balance would undo"):
        asked("lambda", lambda_rule="balance")
    systems = ("λ by balance, 20*",)
    with pytest.raises(UserError, match="is the row of lambda_rule=balance, which lambda_rule=controller"):
        asked("lambda", lambda_rule="controller")


def test_a_change_that_leaves_a_row_what_it_is_is_taken(here: Path) -> None:
    data = Path("digits")
    (run,) = planned("lambda", systems=("λ 0.2, 20*",), data=data, changes={"lambda": 0.20, "lambda_rule": "fixed"})
    assert run.plan.config.options.lambda_ == 0.2
    (run,) = planned("lambda", systems=("λ by balance, 20*",), data=data, changes={"lambda": "auto"})
    assert run.plan.config.options.lambda_rule == "balance"
    (run,) = planned("lambda", systems=("λ by controller, 20*",), data=data, changes={"lambda": "0.5"})  # starts there
    assert (run.plan.config.options.lambda_rule, run.plan.config.options.lambda_) == ("controller", 0.5)
    (run,) = planned("1", methods=("proposed",), data=data, changes={"lambda": "auto"})
    assert run.plan.config.options.lambda_rule == "balance"


def test_digits_are_the_packaged_ones_for_a_manifest_of_these_alone(digits_manifest: Path, here: Path) -> None:
    write_python(here / "datasets", tiny_cifar(per_batch=20, test=20))
    cifar = make_cifar((0.2,))
    faces = manifest(here / "raf.parquet", HUMAN[0])
    digits = Path("digits")
    assert dataset_root(Manifest.open(digits_manifest), digits) is None
    for other in (cifar, faces):
        with pytest.raises(UserError, match="digits"):
            dataset_root(other, digits)
    digits.mkdir()
    assert dataset_root(faces, digits) == digits


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("4", {}, "no table named '4'"),
        ("2", {}, "--manifest"),
        ("1", {"protocol": "raf-base"}, "leave it out"),
        ("noise", {"manifest": Path("any.parquet")}, "leave out --manifest"),
        ("1", {"methods": ("elr",)}, "no row of elr; its methods are vgg-clean"),
        ("1", {"systems": ("sce",)}, "no row 'sce'. Its rows are: VGG, clean labels; "),
        ("1", {"changes": {"lamda": "1"}}, "lamda"),
        ("1", {"methods": ("sce",), "changes": {"lambda": "1"}}, "lambda"),
        ("2", {"manifest": Path("any.parquet"), "protocol": "fer-base"}, "fer-base"),
    ],
)
def test_what_a_table_cannot_be_asked_is_refused(
    name: str, more: dict[str, Any], said: str, digits_manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        planned(name, **{"manifest": None if name in ("noise", "2") else digits_manifest, "out": tmp_path, **more})


def test_every_table_names_methods_that_exist() -> None:
    from noisyfer.models.methods import METHODS

    assert {row.method for table in TABLES.values() for row in table.rows} <= set(METHODS)
    for table in TABLES.values():
        names = [row.system for row in table.rows]
        assert len(set(names)) == len(names)
