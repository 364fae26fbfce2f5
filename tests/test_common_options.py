"""Options that every command has: a TOML file of options, silence, and where an error came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from noisyfer.cli import main


@pytest.fixture(autouse=True)
def spoken_again() -> object:
    """A test that asks for silence must not silence the next."""
    from noisyfer.core import terminal

    yield
    terminal.set_quiet(False)
    terminal.set_verbose(False)


def noisyfer(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)


def config(text: str) -> Path:
    path = Path("run.toml")
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_sets_options_and_what_is_typed_goes_before_it(digits_manifest: Path, here: Path) -> None:
    path = config(
        f'manifest = "{digits_manifest}"\nmethod = ["sce", "vgg-all"]\npreset = "smoke"\nepochs = 7\nagain = true\n'
        "[set]\nhidden = 4\nwidth = 0.0625\nagreement_images = 0\n"
    )
    # the file's agreement_images reaches the run, which refuses it; the typed one takes its place, and then epochs'
    assert "agreement_images is 0" in noisyfer("bench", "--config", path).stderr
    refused = noisyfer("bench", "--config", path, "--set", "agreement_images=1", "--epochs", "0")
    assert refused.stderr.startswith("Error: epochs is 0")
    refused = noisyfer("bench", "--config", path, "--set", "agreement_images=1", "--set", "hidden=0")
    assert refused.stderr.startswith("Error: hidden is 0")
    refused = noisyfer("bench", "--config", path, "--set", "agreement_images=1", "--method", "nobody")
    assert "no method named 'nobody'" in refused.stderr
    assert not (here / "runs").exists()


def test_arguments_are_in_the_file_too_and_required_ones_are_found(digits_manifest: Path, here: Path) -> None:
    shown = noisyfer("show", "--config", config(f'manifest = "{digits_manifest}"\ncheck = true\n'))
    assert shown.exit_code == 0, shown.output
    assert "Checked:" in shown.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metod = 'sce'", "Did you mean 'method'?"),
        ("config = 'other.toml'", "no option of 'bench' in run.toml named 'config'"),
        ("help = true", "named 'help'"),
        ("again = 'yes'", "'again' is 'yes'; true or false was expected"),
        ("epochs = {a = 1}", "'epochs' has {'a': 1}"),
        ("epochs = true", "'epochs' has True"),
        ("set = ['epochs']", "'epochs' is not of the form key=value"),
        ("epochs = ", "Cannot read the options in run.toml"),
        ("seed = 1.5", "'1.5' is not a valid integer"),
    ],
)
def test_a_wrong_file_is_a_sentence(text: str, said: str, here: Path) -> None:
    result = noisyfer("bench", "--config", config(text), "--method", "sce", "--manifest", "none.parquet")
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_is_a_sentence(here: Path) -> None:
    assert "Cannot read the options in gone.toml" in noisyfer("bench", "--config", "gone.toml").stderr


def test_an_option_is_read_from_the_environment(here: Path) -> None:
    refused = noisyfer("bench", "--method", "sce", env={"NOISYFER_BENCH_PRESET": "huge"})
    assert "no preset named 'huge'" in refused.stderr
    # by the option's name, not by what the program calls it
    asked = {"NOISYFER_BENCH_METHOD": "scee", "NOISYFER_BENCH_SEED": "1"}
    assert "no method named 'scee'" in noisyfer("bench", env=asked).stderr
    assert noisyfer("show", "gone.parquet", env={"NOISYFER_SHOW_VERBOSE": "1"}).stderr.count("Traceback") == 1
    # the environment goes before a file, what is typed before both
    asked = {"NOISYFER_BENCH_METHOD": "eelr"}
    words = ("bench", "--config", config("method = 'gcee'"))
    assert "no method named 'eelr'" in noisyfer(*words, env=asked).stderr
    assert "no method named 'forwad'" in noisyfer(*words, "--method", "forwad", env=asked).stderr


def test_quiet_prints_errors_and_json_only(digits_manifest: Path, here: Path) -> None:
    assert "class_flip20" in noisyfer("show", digits_manifest).output
    assert noisyfer("show", digits_manifest, "--check", "--quiet").output == ""
    assert noisyfer("make-cifar", "--data", "digits", "--rates", "0.2", "-q").output == ""
    assert (here / "data_manifests/digits.parquet").exists()
    assert noisyfer("methods", "--json", "--quiet").stdout.startswith("[")
    assert noisyfer("show", "gone.parquet", "-q").stderr.startswith("Error: ")
    # silence ends with the command
    assert "class_flip20" in noisyfer("show", digits_manifest).output


def test_verbose_says_where_an_error_came_from(here: Path) -> None:
    assert "Traceback" not in noisyfer("show", "gone.parquet").stderr
    found = noisyfer("show", "gone.parquet", "--verbose").stderr
    assert "manifest.py" in found
    assert found.rstrip().splitlines()[-1].startswith("Error: There is no manifest")
