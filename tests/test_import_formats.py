"""Each format of labels is recognised, and its labels come to the samples that they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from import_files import (
    EXPRESSION,
    HEADER,
    annotation,
    as_json,
    column,
    faces,
    imported,
    names,
    raf,
    text,
)
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.manifest import Header, Manifest, Task
from noisyfer.relabel.importing import FORMATS, ImportOptions, detect, import_labels
from noisyfer.relabel.sources.ferplus import count_votes

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

RAF_ORDER = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return raf(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("line", "first", "order"),
    [("train_{:05d}.jpg {}", 1, "raf"), ("/home/x/aligned/train_{:05d}_aligned.jpg {}", 0, "zero")],
    ids=["RAF-DB and EAC", "SCN"],
)
def test_a_list_in_rafs_ids_from_one_or_from_zero(
    manifest: Manifest, tmp_path: Path, line: str, first: int, order: str
) -> None:
    lines = [line.format(number, (number - 1) % 7 + first) for number in range(1, 11)]  # the tenth is nobody's
    path = text(tmp_path / "noise.txt", "\n".join(lines) + "\n")
    assert detect(path) == "raf-list"
    report = imported(manifest, path)
    assert list(names(report.manifest, "expression_me").values()) == [*RAF_ORDER, *RAF_ORDER[:2], None, None, None]
    file = report.files[0]
    assert (file.rows, file.matched, file.unmatched.count) == (10, 9, 1)
    assert "00010" in file.unmatched.first[0]
    assert f"--ids {order}" in file.notes[0]
    provenance = report.manifest.label_set("expression_me").provenance["files"][0]
    assert provenance["ids"] == order
    assert provenance["sha256"] == file.sha256
    assert len(file.sha256) == 64
    assert report.sets[0].labelled == {"train": (9, 9), "test": (0, 3)}


def test_a_list_whose_ids_could_be_either_is_refused_and_can_be_said(manifest: Manifest, tmp_path: Path) -> None:
    for ids in ((1, 2, 3), (0, 7, 3)):
        path = text(tmp_path / "l.txt", "".join(f"train_0000{row}.jpg {label}\n" for row, label in enumerate(ids, 1)))
        with pytest.raises(UserError, match="--ids raf or --ids zero") as error:
            imported(manifest, path)
        sentence(error)
    path = text(tmp_path / "l.txt", "train_00001.jpg 1\ntrain_00002.jpg 2\n")
    assert names(imported(manifest, path, ids="zero").manifest, "expression_me")["train_00001"] == "fear"


def test_a_list_of_valence_and_arousal_beside_one_of_classes(manifest: Manifest, tmp_path: Path) -> None:
    classes = text(tmp_path / "list_label.txt", "train_00001.jpg 7\ntrain_00002.jpg 4\n")
    lines = ["train_00001.jpg -0.3415 -0.1292", "train_00002.jpg 0.25 1.0503", "train_00003.jpg nan 0.5"]
    va = text(tmp_path / "list_va.txt", "\r\n".join([*lines, "train_00004.jpg 0.1 1.6"]))
    report = imported(manifest, classes, va)
    assert column(report.manifest, "valence_me")[:4] == [pytest.approx(-0.3415), 0.25, None, None]
    assert column(report.manifest, "arousal_me")[:4] == [pytest.approx(-0.1292), 1.0, None, None]
    assert names(report.manifest, "expression_me")["train_00002"] == "happy"
    assert report.files[1].clipped == 1
    assert report.files[1].unusable.count == 2
    assert [file["file"] for file in report.manifest.label_set("va_me").provenance["files"]] == ["list_va.txt"]
    report.manifest.validate()


def test_affectnets_csv_by_the_names_of_its_columns(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", [f"10/{name}.jpg" for name in "abcdefg"])
    rows = ["arousal,expression,subDirectory_filePath,facial_landmarks,valence"]
    rows += [
        f"{a},{e},10/{k}.jpg,1;2,{v}"
        for k, e, v, a in zip("abcdef", (1, 8, 10, 7, 3, 11), (0.5, -2, 0, 1, "", 3), (0, -2, 0, 1, "", 0), strict=True)
    ]
    path = text(tmp_path / "training.csv", "\n".join(rows))
    assert detect(path) == "affectnet-csv"
    report = imported(manifest, path)
    assert list(names(report.manifest, "expression_me").values()) == ["happy", None, None, None, "surprise", None, None]
    assert column(report.manifest, "valence_me") == [0.5, None, 0.0, 1.0, None, None, None]
    assert report.files[0].unusable.count == 2
    assert "contempt" in report.files[0].unusable.first[0]
    assert "id 11" in report.files[0].unusable.first[1]


@pytest.mark.parametrize(("ids", "noted", "name"), [("", "affectnet", "happy"), ("raf", "raf", "surprise")])
def test_the_provenance_of_affectnets_csv_tells_the_order_of_the_ids(
    ids: str, noted: str, name: str, tmp_path: Path
) -> None:
    manifest = faces(tmp_path / "m.parquet", ["1/a.jpg"])
    path = text(tmp_path / "t.csv", "subDirectory_filePath,expression\n1/a.jpg,1\n")
    found = imported(manifest, path, ids=ids).manifest
    assert names(found, "expression_me") == {"1/a.jpg": name}
    assert [file["ids"] for file in found.label_set("expression_me").provenance["files"]] == [noted]


def test_contempt_is_kept_where_the_manifest_has_it(tmp_path: Path) -> None:
    header = Header(
        HEADER.dataset, {"expression": Task("expression", "categorical", (*EXPRESSION.classes, "contempt"))}, {}
    )
    manifest = faces(tmp_path / "m.parquet", ["1/a.jpg"], header=header)
    path = text(tmp_path / "t.csv", "subDirectory_filePath,expression\n1/a.jpg,7\n")
    assert names(imported(manifest, path).manifest, "expression_me") == {"1/a.jpg": "contempt"}


VOTES = {
    "fer0000000": (4, 0, 0, 1, 3, 2, 0, 0, 0, 0),
    "fer0000001": (0, 0, 0, 0, 0, 0, 0, 2, 8, 0),
    "fer0000002": (0, 3, 3, 0, 0, 0, 0, 2, 2, 0),
    "fer0000003": (0, 0, 0, 0, 0, 0, 0, 10, 0, 0),
    "fer0000004": (0, 0, 0, 0, 5, 0, 0, 0, 0, 5),
    "fer0000005": (0, 0, 0, 0, 0, 0, 0, 0, 0, 10),
}
COLUMNS = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def test_the_votes_of_ferplus_are_counted_as_the_source_counts_them(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", list(VOTES))
    rows = [f"Training,{name}.png,{','.join(map(str, votes))}" for name, votes in VOTES.items()]
    path = text(tmp_path / "fer2013new.csv", "\n".join([COLUMNS, *rows, "PublicTest,,0,0,0,0,0,0,0,0,0,10"]))
    report = imported(manifest, path, annotator="")
    probs = column(report.manifest, "expression_ferplus_probs")
    labels = names(report.manifest, "expression_ferplus")
    assert report.files[0].rows == 6
    assert report.files[0].format == "ferplus"
    for place, (name, votes) in enumerate(VOTES.items()):
        row = dict(zip(COLUMNS.split(",")[2:], map(str, votes), strict=True))
        expected = count_votes(row, contempt=False)
        assert labels[name] == (None if expected.label is None else EXPRESSION.classes[expected.label]), name
        assert probs[place] == (None if expected.probs is None else pytest.approx(expected.probs)), name
    assert sum(label is not None for label in labels.values()) == 3


def test_a_csv_with_the_columns_one_names(manifest: Manifest, tmp_path: Path) -> None:
    content = '\ufeffFILE;x,"what, then",conf\r\nbasic/Image/original/train_00001.jpg,Happiness,1\r\n'
    path = text(
        tmp_path / "c.csv", content + '"train_00002.jpg",SAD,1\r\ntrain_00003.jpg,6,1\r\ntrain_00004,bored,1\r\n'
    )
    report = imported(manifest, path, columns={"image": "file;X", "expression": "what, then"})
    found = names(report.manifest, "expression_me")
    assert [found[f"train_0000{number}"] for number in range(1, 5)] == ["happy", "sad", "anger", None]
    assert report.files[0].unusable.first == ["'train_00004': bored"]
    assert report.manifest.label_set("expression_me").kind == "imported"


def test_ids_in_another_datasets_order(manifest: Manifest, tmp_path: Path) -> None:
    path = text(tmp_path / "c.csv", "id,label\ntrain_00001,0\ntrain_00002,3.0\ntrain_00003,9\ntrain_00004,sad\n")
    found = names(imported(manifest, path, ids="fer2013", kind="human").manifest, "expression_me")
    assert [found[f"train_0000{number}"] for number in range(1, 5)] == ["anger", "happy", None, "sad"]
    found = names(imported(manifest, path, out=tmp_path / "o.parquet").manifest, "expression_me")
    assert [found[f"train_0000{number}"] for number in range(1, 5)] == ["neutral", "surprise", None, "sad"]


def test_many_annotators_in_long_form_become_sparse_label_sets(manifest: Manifest, tmp_path: Path) -> None:
    lines = ["image,annotator,label"]
    lines += [f"train_{1 + worker % 9:05d}.jpg,w {worker},{EXPRESSION.classes[worker % 7]}" for worker in range(60)]
    path = text(tmp_path / "crowd.csv", "\n".join(lines))
    assert detect(path) == "long"
    report = imported(manifest, path, annotator="")
    assert len(report.sets) == 60
    assert names(report.manifest, "expression_w_8")["train_00009"] == "happy"
    assert sum(value is not None for value in column(report.manifest, "expression_w_59")) == 1
    prefixed = import_labels(manifest, [path], tmp_path / "p.parquet", ImportOptions(annotator="crowd"))
    assert prefixed.sets[0].name == "expression_crowd_w_0"
    default = import_labels(manifest, [path]).manifest.path
    assert default == tmp_path / "m_with_60_annotators.parquet"


PYFEAT = (
    "FaceRectX,FaceRectWidth,FaceRectHeight,FaceScore,anger,disgust,fear,happiness,sadness,surprise,neutral,input,frame"
)


def test_pyfeats_table_with_the_largest_face_of_each_image(manifest: Manifest, tmp_path: Path) -> None:
    rows = [
        "0,10,10,0.9,1,0,0,0,0,0,0,pics/train_00001.jpg,0",
        "0,20,20,0.8,0,0,0,0.75,0,0,0.25,pics/train_00001.jpg,0",
        "0,5,5,0.99,0,0,1,0,0,0,0,pics/train_00001.jpg,0",
        ",,,0.0,,,,,,,,pics/train_00002.jpg,1",
    ]
    path = text(tmp_path / "fex.csv", "\n".join([PYFEAT, *rows]))
    assert detect(path) == "py-feat"
    report = imported(manifest, path, annotator="")
    assert names(report.manifest, "expression_pyfeat")["train_00001"] == "happy"
    probs = column(report.manifest, "expression_pyfeat_probs")
    assert probs[:2] == [pytest.approx([0.25, 0.75, 0, 0, 0, 0, 0]), None]
    assert report.files[0].notes == ["1 images have several faces; the largest of each was taken."]
    assert report.files[0].missing == 1


def test_pyfeats_eight_emotions_with_valence_and_arousal(manifest: Manifest, tmp_path: Path) -> None:
    head = "FaceRectWidth,FaceRectHeight,Neutral,Happy,Sad,Surprise,Fear,Disgust,Anger,Contempt,valence,arousal,input"
    rows = ["9,9,.2,.3,0,0,0,0,0,.5,.1,.2,train_00001.jpg", "9,9,.1,.7,0,0,0,0,0,.2,.3,.4,train_00002.jpg"]
    report = imported(manifest, text(tmp_path / "f.csv", "\n".join([head, *rows])))
    assert names(report.manifest, "expression_me")["train_00001"] is None  # it is contempt, which is no class here
    assert column(report.manifest, "expression_me_probs")[1] == pytest.approx([0.125, 0.875, 0, 0, 0, 0, 0])
    assert column(report.manifest, "valence_me")[:2] == [pytest.approx(0.1), pytest.approx(0.3)]
    assert report.files[0].unusable.count == 1


def result(top: str, size: int = 10) -> dict[str, Any]:
    emotions = dict.fromkeys(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), 2.0)
    return {
        "emotion": {**emotions, top: 88.0},
        "dominant_emotion": top,
        "region": {"x": 0, "y": 0, "w": size, "h": size},
        "face_confidence": 0.9,
    }


@pytest.mark.parametrize(
    "value",
    [
        {"a/train_00001.jpg": [result("sad"), result("angry", 20)], "train_00002.jpg": result("happy")},
        [
            {"image": "train_00001.jpg", "results": [result("sad"), result("angry", 20)]},
            {"image": "train_00002.jpg", **result("happy")},
        ],
        [
            {"img_path": "train_00001.jpg", **result("angry", 20)},
            {"img_path": "train_00001.jpg", **result("sad")},
            {"img_path": "train_00002.jpg", **result("happy")},
        ],
    ],
    ids=["by name", "results", "one a face"],
)
def test_deepfaces_results_however_they_were_stored(manifest: Manifest, tmp_path: Path, value: Any) -> None:
    path = as_json(tmp_path / "d.json", value)
    assert detect(path) == "deepface"
    report = imported(manifest, path, annotator="")
    found = names(report.manifest, "expression_deepface")
    assert (found["train_00001"], found["train_00002"]) == ("anger", "happy")
    assert column(report.manifest, "expression_deepface_probs")[1] == pytest.approx([0.02, 0.88, *[0.02] * 5])
    assert "1 images have several faces" in report.files[0].notes[0]


def test_of_faces_of_one_size_the_surer_one_counts_then_the_first(manifest: Manifest, tmp_path: Path) -> None:
    surer = {**result("fear"), "face_confidence": 0.95}
    value = {"train_00001.jpg": [result("sad"), surer], "train_00002.jpg": [result("angry"), result("happy")]}
    found = names(imported(manifest, as_json(tmp_path / "d.json", value)).manifest, "expression_me")
    assert (found["train_00001"], found["train_00002"]) == ("fear", "anger")


def test_probabilities_are_missing_where_only_the_label_is_there(manifest: Manifest, tmp_path: Path) -> None:
    value = {"train_00001.jpg": {"dominant_emotion": "fear"}, "train_00002.jpg": result("happy")}
    found = imported(manifest, as_json(tmp_path / "d.json", value)).manifest
    assert names(found, "expression_me")["train_00001"] == "fear"
    assert [probs is None for probs in column(found, "expression_me_probs")] == [True, False, *[True] * 10]
    found.validate()


def test_deepfaces_results_a_line_each_and_without_names(manifest: Manifest, tmp_path: Path) -> None:
    lines = '{"image": "train_00001.jpg", "dominant_emotion": "fear"}\n{"image": "train_00002.jpg", "emotion": {}}\n'
    report = imported(manifest, text(tmp_path / "d.jsonl", lines))
    assert names(report.manifest, "expression_me")["train_00001"] == "fear"
    assert report.files[0].missing == 1
    with pytest.raises(UserError, match="does not say which result is of which image") as error:
        imported(manifest, as_json(tmp_path / "d.json", [result("sad")]), out=tmp_path / "o.parquet")
    sentence(error)


EIGHT = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")


def test_emotiefflibs_scores_as_logits_or_probabilities(manifest: Manifest, tmp_path: Path) -> None:
    logits = [[0.0, -9, 0, 0, 3, 1, 0, 0, 0.5, -0.25], [0.0, -9, 0, 5, 1, 0, 0, 0, 0.1, 0.2]]
    records = [
        {"image": f"train_0000{number}.jpg", "emotion": [name], "scores": scores}
        for number, name, scores in zip((1, 2), ("Happiness", "Fear"), logits, strict=True)
    ]
    path = as_json(tmp_path / "e.json", records)
    assert detect(path) == "emotiefflib"
    report = imported(manifest, path, annotator="")
    powers = {name: np.exp(value) for name, value in zip(EIGHT, logits[0], strict=False)}
    total = sum(powers.values()) - powers["Contempt"]
    order = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger")
    expected = [powers[name] / total for name in order]
    assert column(report.manifest, "expression_emotiefflib_probs")[0] == pytest.approx(expected, abs=1e-6)
    assert names(report.manifest, "expression_emotiefflib")["train_00002"] == "fear"
    assert column(report.manifest, "arousal_emotiefflib")[:2] == [-0.25, pytest.approx(0.2)]
    columns = {"images": ["train_00001.jpg"], "emotions": ["Sadness"], "scores": [[0, 0, 0, 0.25, 0, 0.75, 0]]}
    report = imported(manifest, as_json(tmp_path / "f.json", columns), out=tmp_path / "p.parquet")
    assert column(report.manifest, "expression_me_probs")[0] == pytest.approx([0, 0.25, 0.75, 0, 0, 0, 0])


def test_emotiefflibs_csv(manifest: Manifest, tmp_path: Path) -> None:
    rows = ["image,emotion," + ",".join(EIGHT) + ",valence,arousal"]
    rows += ["train_00001.jpg,Sadness,0,0,0,0,0,0,1,0,-0.5,0", "train_00002.jpg,Contempt,0,1,0,0,0,0,0,0,0,0"]
    path = text(tmp_path / "e.csv", "\n".join(rows))
    assert detect(path) == "emotiefflib"
    report = imported(manifest, path)
    assert names(report.manifest, "expression_me")["train_00001"] == "sad"
    assert names(report.manifest, "expression_me")["train_00002"] is None
    assert column(report.manifest, "valence_me")[0] == -0.5


def test_label_studios_export_with_several_people(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", ["one", "two", "three"], ["a/one.jpg", "a/two two.jpg", "a/three.jpg"])
    tasks = [
        {
            "data": {"image": "/data/upload/3/0a1b2c3d-one.jpg"},
            "annotations": [
                annotation("Happy", 7, at="2024-03-02"),
                annotation("Sad", 7, at="2024-03-01"),
                annotation("Anger", {"id": 9, "email": "a@b"}),
                annotation("Fear", 11, was_cancelled=True),
            ],
        },
        {"data": {"image": "/data/local-files/?d=a/two%20two.jpg"}, "annotations": [annotation(["Sad", "Fear"], 7)]},
        {"data": {"image": "https://host/x/a/three.jpg?Expires=1"}, "annotations": [annotation("surprised", 7)]},
    ]
    path = as_json(tmp_path / "ls.json", tasks)
    assert detect(path) == "label-studio"
    report = imported(manifest, path, annotator="", kind="human")
    assert names(report.manifest, "expression_user7") == {"one": "happy", "two": None, "three": "surprise"}
    assert names(report.manifest, "expression_user9") == {"one": "anger", "two": None, "three": None}
    assert len(report.sets) == 2
    assert "2 choices" in report.files[0].unusable.first[0]


def test_label_studios_questions_are_named_where_there_are_several(manifest: Manifest, tmp_path: Path) -> None:
    second = annotation("yes", 1)
    second["result"] = [*annotation("Sad", 1)["result"], {**second["result"][0], "from_name": "sure"}]
    second["result"] += [
        {"from_name": name, "type": "number", "value": {"number": 0.5}} for name in ("valence", "arousal")
    ]
    path = as_json(tmp_path / "ls.json", [{"data": {"image": "train_00001.jpg"}, "annotations": [second]}])
    with pytest.raises(UserError, match="several questions with choices: 'mood', 'sure'") as error:
        imported(manifest, path, annotator="")
    sentence(error)
    report = imported(manifest, path, annotator="", columns={"expression": "mood"})
    assert names(report.manifest, "expression_user1")["train_00001"] == "sad"
    assert column(report.manifest, "valence_user1")[0] == 0.5


def test_every_format_has_a_test_and_a_summary() -> None:
    here = Path(__file__)
    source = "".join(
        here.with_name(f"test_import_{part}.py").read_text(encoding="utf-8") for part in ("formats", "cifar_n")
    )
    for name in FORMATS:
        assert FORMATS[name].summary
        assert f'"{name}"' in source, name
    assert '"csv"' in source
