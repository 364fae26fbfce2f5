"""Commands and snippets of the documents are run as they stand, and every command is documented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import command_server
import pytest
from cifar_files import tiny_cifar, write_python
from command_server import write_client
from noisyfer.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "data_manifests" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(sh|python)( no-test)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `no-test` on the fence marks what needs data, hours or a fresh machine."""

    page: Path
    language: str
    tested: bool
    text: str


def blocks(page: Path) -> list[Block]:
    """The shell and Python blocks of a page."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(page, language, not marked, text) for language, marked, text in found]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an executable `noisyfer` that starts at once."""
    folder = tmp_path_factory.mktemp("commands")
    place = folder / "socket"
    write_client(folder, place)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, command_server.__file__, str(place)], env=environment)
    deadline = time.monotonic() + 120
    while not place.exists():
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.05)
    yield folder
    server.kill()
    server.wait()


def run_in(folder: Path, block: Block, commands: Path) -> None:
    """Run a block in a folder, presets turned into `smoke` so that it takes seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NOISYFER_DATA": str(folder / "data")}
    environment["PATH"] = os.pathsep.join([str(commands), str(Path(sys.executable).parent), environment["PATH"]])
    if block.language == "sh":
        text = re.sub(
            r"^(noisyfer (?:bench|pretrain) (?!.*--preset).*?)( +#.*)?$",
            r"\1 --preset smoke",
            block.text,
            flags=re.MULTILINE,
        )
        # the paper's first five epochs without an adversary are more than `smoke` has
        text = re.sub(r"^(noisyfer bench --protocol raf-base .*)$", r"\1 --set start_epoch=0", text, flags=re.MULTILINE)
        command = ["bash", "-euo", "pipefail", "-c", text]
    else:
        command = [str(commands / "noisyfer"), "--python", block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{block.page.name}:\n{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.tested for block in blocks(page))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_the_blocks_of_a_page_run_one_after_another(page: Path, tmp_path: Path, commands: Path) -> None:
    write_python(tmp_path / "data" / "cifar10", tiny_cifar(per_batch=20, test=20))
    examples = tmp_path / "data_manifests" / "examples"
    examples.mkdir(parents=True)
    for file in (ROOT / "data_manifests" / "examples").glob("*.parquet"):
        (examples / file.name).write_bytes(file.read_bytes())
    for block in blocks(page):
        if block.tested:
            run_in(tmp_path, block, commands)


def test_blocks_are_found_and_the_first_screen_of_the_readme_shows_the_two_targets() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert sum(block.tested for page in PAGES for block in blocks(page)) >= 4
    first_screen = "\n".join(readme.splitlines()[:40])
    for words in (
        "make demo",
        "make test",
        "noisyfer make-cifar --rates 0.2,0.3,0.4",
        "noisyfer bench --method proposed",
    ):
        assert words in first_screen


def test_every_command_is_in_the_documents() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for command in main.commands:
        assert f"noisyfer {command}" in text


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_options_tables_values_are_the_presets_own() -> None:
    from noisyfer.benchmark.settings import PRESETS, RunSettings
    from noisyfer.core.config import to_dict
    from noisyfer.models.methods.proposed import ProposedConfig

    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    defaults = {**to_dict(RunSettings()), **to_dict(ProposedConfig())}
    for name in ("epochs", "batch_size", "augment", "learning_rate", "label_input", "start_epoch", "width"):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        told = [cell.strip() for cell in row.strip("|").split("|")[1:]]
        for preset, cell in zip(("smoke", "small", "paper"), told, strict=True):
            value = PRESETS[preset].get(name, defaults[name])
            parsed = eval(cell, {"__builtins__": {}}) if isinstance(value, (int, float)) else cell  # noqa: S307
            assert parsed == value, (name, preset)


def test_the_shipped_example_is_what_make_cifar_writes(tmp_path: Path) -> None:
    from noisyfer.benchmark.cifar import make_cifar
    from noisyfer.manifest import Manifest

    shipped = Manifest.open(ROOT / "data_manifests" / "examples" / "digits.parquet")
    made = make_cifar((0.2, 0.3, 0.4), data="digits", out=tmp_path / "digits.parquet")
    assert made.read().equals(shipped.read())
    assert made.header.label_sets == shipped.header.label_sets
