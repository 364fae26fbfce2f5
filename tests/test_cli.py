"""The command line: quick help, sentences instead of tracebacks, and nothing under a final name after an error."""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cifar_files import tiny_cifar, write_python
from click.testing import CliRunner, Result
from noisyfer.cli import main
from noisyfer.manifest import Manifest

SMOKE = ("--preset", "smoke", "--epochs", "1")


def noisyfer(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sentence(result: Result) -> str:
    """The error's text, after checking that it is a sentence on stderr and no traceback."""
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    text = result.stderr.strip()
    assert text.startswith("Error: ")
    assert text.endswith("."), text
    assert "Traceback" not in text
    return text


def test_help_imports_nothing_heavy_and_answers_at_once() -> None:
    code = "import sys, noisyfer.cli; print([name for name in sys.modules if '.' not in name])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "torchvision", "timm", "pandas", "pyarrow", "numpy", "matplotlib", "sklearn", "rich"):
        assert f"'{heavy}'" not in loaded
    times = []
    for _ in range(3):
        # the processor's time, which a busy machine does not stretch as it does the clock's
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "noisyfer.cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.4


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_a_help_text_with_an_example(command: str) -> None:
    result = noisyfer(command, "--help")
    assert result.exit_code == 0
    assert re.search(rf"^ +noisyfer {command} ", result.output, re.MULTILINE)
    for parameter in main.commands[command].params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_the_first_two_commands_work_on_data_in_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_python(here / "elsewhere" / "cifar10", tiny_cifar(per_batch=20, test=20))
    monkeypatch.setenv("NOISYFER_DATA", str(here / "elsewhere"))
    made = noisyfer("make-cifar", "--rates", "0.2,0.3,0.4")
    assert made.exit_code == 0, made.output
    assert "class_flip30" in made.output
    manifest = Manifest.open(here / "data_manifests" / "cifar10.parquet")
    assert manifest.header.label_sets["class_flip30"].provenance["measured_rate"] == 0.3
    ran = noisyfer("bench", "--method", "proposed", *SMOKE)
    assert ran.exit_code == 0, ran.output
    assert "preset smoke, device cpu, seed 0" in ran.output
    assert ", test_split test," in " ".join(ran.output.split())
    assert "labelled_by" not in ran.output  # an option without a value is not said
    assert list(here.glob("runs/cifar10-proposed-seed0-*/result.json"))


def test_bench_makes_the_manifest_where_there_is_none_and_says_so(here: Path) -> None:
    write_python(here / "datasets", tiny_cifar(per_batch=20, test=20))
    ran = noisyfer("bench", "--method", "vgg-clean,vgg-all", "--method", "vgg-majority", *SMOKE)
    assert ran.exit_code == 0, ran.output
    assert "making it" in ran.output
    assert (here / "data_manifests" / "cifar10.parquet").exists()
    table = ran.output[ran.output.index("Test scores after the last epoch") :]
    assert [name in table for name in ("vgg-clean", "vgg-all", "vgg-majority")] == [True] * 3
    assert list(here.glob("runs/cifar10-comparison-*/comparison.png"))


@pytest.mark.parametrize(("method", "head"), [("co-teaching", "class/first"), ("proposed", "class_flip20")])
def test_the_table_has_the_first_head_of_a_label_set_or_of_a_network(
    method: str, head: str, digits_manifest: Path, here: Path
) -> None:
    ran = noisyfer("bench", "--method", method, "--manifest", digits_manifest, *SMOKE)
    assert ran.exit_code == 0, ran.output
    result = json.loads(next(here.glob("runs/*/result.json")).read_text())
    row = next(line for line in ran.output.splitlines() if "class accuracy" in line)
    assert row.split("│")[5].strip() == f"{result['last']['heads'][head]['accuracy']:.4f}"


def test_a_changed_configuration_is_said_to_be_a_new_folder(digits_manifest: Path, here: Path) -> None:
    common = ("bench", "--method", "vgg-all", "--manifest", digits_manifest, *SMOKE)
    assert "a new folder" not in noisyfer(*common).output
    changed = noisyfer(*common, "--set", "learning_rate=0.01")
    assert "a new folder" in changed.output
    assert "learning_rate: 0.0005 → 0.01" in changed.output


def test_show_prints_samples_sets_counts_and_agreement(digits_manifest: Path) -> None:
    result = noisyfer("show", digits_manifest, "--check")
    assert result.exit_code == 0, result.output
    for part in ("1,438", "359", "synthetic", "Class counts", "Agreement", "measured rate", "in order"):
        assert part in result.output


def test_show_prints_the_same_figures_for_programs(digits_manifest: Path) -> None:
    found = json.loads(noisyfer("show", digits_manifest, "--json").stdout)
    opened = Manifest.open(digits_manifest)
    assert found["sha256"] == opened.fingerprint
    assert found["label_sets"]["class_flip20"]["provenance"]["rate"] == 0.2
    clean = opened.labels("class_clean").values
    assert list(found["label_sets"]["class_clean"]["counts"].values()) == np.bincount(clean).tolist()
    (pair,) = [each for each in found["agreement"] if each["label_sets"] == ["class_clean", "class_flip20"]]
    flipped = opened.labels("class_flip20")
    assert pair["samples"] == flipped.present.sum()
    assert pair["agreement"] == pytest.approx((clean == flipped.values)[flipped.present].mean())


def test_bench_takes_data_as_make_cifar_does(here: Path) -> None:
    folder = write_python(here / "elsewhere", tiny_cifar(per_batch=20, test=20))
    for data in (here / "elsewhere", folder):
        ran = noisyfer("bench", "--method", "vgg-all", "--data", data, *SMOKE)
        assert ran.exit_code == 0, ran.output
    assert "nowhere" in sentence(noisyfer("bench", "--method", "vgg-all", "--data", "nowhere", *SMOKE))
    digits = noisyfer("bench", "--method", "vgg-all", "--data", "digits", *SMOKE)
    assert digits.exit_code == 0, digits.output
    assert (here / "data_manifests" / "digits.parquet").exists()


def test_label_names_from_a_manifest_are_shown_as_text_not_as_markup(digits_manifest: Path, tmp_path: Path) -> None:
    table = pq.read_table(digits_manifest)
    metadata = table.schema.metadata[b"noisyfer"].replace(b'"classes": ["0"', b'"classes": ["[red]0[/]"')
    pq.write_table(table.replace_schema_metadata({b"noisyfer": metadata}), tmp_path / "m.parquet")
    assert "[red]0[/]" in noisyfer("show", tmp_path / "m.parquet").output


def test_what_a_provenance_says_nothing_of_is_not_shown(digits_manifest: Path, tmp_path: Path) -> None:
    table = pq.read_table(digits_manifest)
    metadata = table.schema.metadata[b"noisyfer"].replace(b'"rate": 0.2', b'"rate": 0.2, "remarks": "", "figures": {}')
    pq.write_table(table.replace_schema_metadata({b"noisyfer": metadata}), tmp_path / "m.parquet")
    shown = noisyfer("show", tmp_path / "m.parquet").output
    assert Manifest.open(tmp_path / "m.parquet").header.label_sets["class_flip20"].provenance["remarks"] == ""
    assert "rate: 0.2" in shown
    assert "remarks" not in shown
    assert "figures" not in shown


def matrix(*rows: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "m.csv").write_text("\n".join(rows) + "\n") and None


def touch(name: str, content: bytes = b"x") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def nothing(_: Path) -> None:
    pass


MAKE_CIFAR: list[tuple[list[str], Callable[[Path], None], str]] = [
    (["--rates", "0.2,1.0"], nothing, r"1\.0"),
    (["--rates", "-0.1"], nothing, r"-0\.1"),
    (["--rates", "a,b"], nothing, "'a'"),
    (["--rates", ""], nothing, "empty"),
    (["--rates", "nan"], nothing, "nan"),
    (["--noise", "unifrom"], nothing, "Did you mean 'uniform'"),
    (["--noise", "matrix:m.csv"], matrix("0.5,0.5", "0.1,0.9"), "10"),
    (["--noise", "matrix:m.csv"], matrix(*[",".join(["0.2"] * 10)] * 10), "sum"),
    (["--noise", "matrix:gone.csv"], nothing, "gone.csv"),
    (["--noise", "matrix:raf-affectnet"], nothing, "7"),
    (["--noise", "asymmetric"], nothing, "truck"),
    (["--out", "file/m.parquet"], touch("file"), "file"),
    (["--data", "nowhere"], nothing, "nowhere"),
    (["--data", "text.txt"], touch("text.txt"), "text.txt"),
    (["--data", "cifar.tar.gz"], touch("cifar.tar.gz", b"\x1f\x8b truncated"), "cifar.tar.gz"),
]


@pytest.mark.parametrize(("arguments", "prepare", "found"), MAKE_CIFAR)
def test_bad_input_to_make_cifar_is_a_sentence_and_writes_nothing(
    arguments: list[str], prepare: Callable[[Path], None], found: str, here: Path
) -> None:
    prepare(here)
    before = sorted(here.rglob("*"))
    data = [] if "--data" in arguments else ["--data", "digits"]
    assert re.search(found, sentence(noisyfer("make-cifar", *data, *arguments)))
    left = [path for path in sorted(here.rglob("*")) if path not in before and path.is_file()]
    assert not left


BENCH: list[tuple[list[str], str]] = [
    (["--method", "propsed"], "Did you mean 'proposed'"),
    (["--method", "proposed", "--preset", "smal"], "Did you mean 'small'"),
    (["--method", "proposed", "--preset", "smoke", "--labels", "class_flip21"], "class_flip20, class_flip30"),
    (["--method", "proposed", "--preset", "smoke", "--lambda", "-1"], "at least 0"),
    (["--method", "proposed", "--preset", "smoke", "--lambda", "nan"], "finite"),
    (["--method", "proposed", "--preset", "smoke", "--epochs", "0"], "at least 1"),
    (["--method", "proposed", "--preset", "smoke", "--epochs", "many"], "whole number"),
    (["--method", "proposed", "--preset", "smoke", "--set", "widht=1"], "Did you mean 'width'"),
    (["--method", "proposed", "--preset", "smoke", "--set", "width"], "key=value"),
    (["--method", "proposed", "--preset", "smoke", "--set", "label_input=hard"], "raw, softmax"),
    (["--method", "proposed", "--preset", "smoke", "--device", "gpu"], "auto, cpu, cuda"),
    (["--method", "all,propsed", "--preset", "smoke"], "Did you mean 'proposed'"),
    (["--method", "vgg-all", "--preset", "smoke", "--lambda", "0.5"], "None of vgg-all has the option lambda"),
    (["--method", "proposed", "--preset", "small", "--epochs", "4"], "would never begin"),
    (["--method", "air", "--preset", "small", "--epochs", "5"], "or add --set pretrain_epochs=1."),
    (["--method", "air", "--preset", "smoke", "--epochs", "1"], "would never begin. Train longer."),
    (["--method", ","], "No method is named"),
]


@pytest.mark.parametrize(("arguments", "found"), BENCH)
def test_bad_input_to_bench_is_a_sentence_and_starts_nothing(
    arguments: list[str], found: str, digits_manifest: Path, here: Path
) -> None:
    assert found in sentence(noisyfer("bench", "--manifest", digits_manifest, *arguments))
    assert not (here / "runs").exists()


def test_bench_checks_what_was_typed_before_it_makes_a_manifest(here: Path) -> None:
    write_python(here / "datasets", tiny_cifar())
    for arguments in (["--method", "propsed"], ["--method", "proposed", "--lambda", "-1"]):
        sentence(noisyfer("bench", *arguments))
    assert not (here / "data_manifests").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a parquet file", b"PAR1 and nothing more"])
def test_a_manifest_that_is_none_is_a_sentence(content: bytes | None, here: Path) -> None:
    if content is not None:
        (here / "m.parquet").write_bytes(content)
    for command in (["show", "m.parquet"], ["bench", "--method", "vgg-all", "--manifest", "m.parquet"]):
        assert "m.parquet" in sentence(noisyfer(*command))


def test_labels_out_of_range_and_images_that_are_gone_are_sentences(digits_manifest: Path, here: Path) -> None:
    table = pq.read_table(digits_manifest)
    wrong = table["class_flip20"].to_pylist()
    wrong[3] = 10
    column = table.schema.get_field_index("class_flip20")
    pq.write_table(table.set_column(column, "class_flip20", pa.array(wrong, pa.int16())), here / "range.parquet")
    text = sentence(noisyfer("bench", "--method", "vgg-all", "--manifest", "range.parquet", *SMOKE))
    assert "class_flip20" in text
    assert "0 to 9" in text
    write_python(here / "datasets", tiny_cifar())
    assert noisyfer("make-cifar").exit_code == 0
    (here / "datasets").rename(here / "gone")
    assert "datasets" in sentence(noisyfer("bench", "--method", "vgg-all", *SMOKE))


def test_an_output_below_a_file_is_a_sentence(digits_manifest: Path, here: Path) -> None:
    (here / "file").write_text("x")
    text = sentence(
        noisyfer("bench", "--method", "vgg-all", "--manifest", digits_manifest, "--out", "file/runs", *SMOKE)
    )
    assert "file/runs" in text


@pytest.mark.parametrize(
    "words",
    [
        ("aggregate", "m.parquet", "--method", "majority", "--name", "voted", "--out", "{}"),
        ("report", "{}"),
        ("export", "--run", "{}", "--format", "onnx"),
        ("bench", "--method", "vgg-all", "--manifest", "m.parquet", "--data", "{}"),
        ("bench", "--method", "vgg-all", "--manifest", "m.parquet", "--init", "{}"),
        ("sweep", "{}"),
    ],
    ids=lambda words: " ".join(words[:1] + words[-2:-1]),
)
def test_a_name_that_is_too_long_is_a_sentence(words: tuple[str, ...], digits_manifest: Path, here: Path) -> None:
    (here / "m.parquet").symlink_to(digits_manifest)
    text = sentence(noisyfer(*(word.format("x" * 300) for word in words)))
    assert "File name too long" in text
    assert "shorter" in text
    assert [path.name for path in here.iterdir()] == ["m.parquet"]


def test_a_name_that_is_no_text_works_or_is_a_sentence(digits_manifest: Path, here: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (here / name).mkdir()
    learning = ("--method", "vgg-all", "--manifest", digits_manifest, *SMOKE)
    bench = noisyfer("bench", *learning, "--data", name)
    assert bench.exit_code == 0, bench.output
    (config,) = here.glob("runs/*/config.json")
    assert json.loads(config.read_text(encoding="utf-8"))["places"]["data"] == name
    (here / "runs").rename(here / name / "runs")
    assert noisyfer("report", name).exit_code == 0
    for words in (("bench", *learning, "--out", f"{name}/more"), ("sweep", *learning, "--out", f"{name}/more")):
        assert "is no UTF-8" in sentence(noisyfer(*words))
    text = sentence(noisyfer("convert", digits_manifest, "--to", "imagefolder", "--out", f"{name}/images"))
    assert "caf\\udce9/" in text
    assert "is no UTF-8" in text
    assert [path.name for path in (here / name).iterdir()] == ["runs"]


def test_an_unknown_command_answers_with_the_nearest(here: Path) -> None:
    result = noisyfer("make-cfar")
    assert result.exit_code == 2
    assert "Error: There is no command named 'make-cfar'. Did you mean 'make-cifar'" in result.stderr


def test_a_full_disk_is_a_sentence_and_the_run_goes_on_later(
    digits_manifest: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from noisyfer.training import folder

    common = ("bench", "--method", "vgg-all", "--manifest", digits_manifest, "--preset", "smoke")
    original, saves = folder._save_tensors, []

    def full(value: dict[str, object], file: Path) -> None:
        saves.append(file)
        if len(saves) == 2:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(value, file)

    monkeypatch.setattr(folder, "_save_tensors", full)
    assert "the disk is full" in sentence(noisyfer(*common))
    (run,) = here.glob("runs/*")
    assert not (run / "result.json").exists()
    assert not list(run.glob(".tmp-*"))
    assert "goes on after epoch 1" in noisyfer(*common).output
    assert (run / "result.json").exists()


def test_ctrl_c_ends_with_a_sentence_and_the_same_command_goes_on(digits_manifest: Path, here: Path) -> None:
    command = [sys.executable, "-m", "noisyfer.cli", "bench", "--method", "vgg-all", "--manifest", str(digits_manifest)]
    command += ["--preset", "smoke", "--set", "train_images=1024", "--epochs", "40"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # a shell starts background jobs, and so perhaps this test, with SIGINT ignored; a terminal does not
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeding
    )
    deadline = time.monotonic() + 120
    while not list(here.glob("runs/*/checkpoint.pt")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "run the same command again" in errors
    (run,) = here.glob("runs/*")
    done = len((run / "metrics.jsonl").read_text().splitlines())
    assert 1 <= done < 40
    assert not (run / "result.json").exists()


def test_library_numbers_and_printed_table_agree(digits_manifest: Path, here: Path) -> None:
    import json

    output = noisyfer("bench", "--method", "vgg-all", "--manifest", digits_manifest, *SMOKE).output
    (result,) = here.glob("runs/*/result.json")
    last = json.loads(result.read_text())["last"]
    assert f"{last['test']['class']['accuracy']:.4f}" in output
    noisy = np.mean([last["agreement"][f"class_flip{rate}"] for rate in (20, 30, 40)])
    assert f"{noisy:.3f}" in output
