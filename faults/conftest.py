"""What the faults' tests share: the inputs, made once, and how long they may take."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from disks import mounted

pytest.register_assert_rewrite("harness", "scenes")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest faults --full`."""
    parser.addoption("--full", action="store_true", help="200 kills and every byte, instead of the minutes of CI")
    parser.addoption("--kills", type=int, default=None, help="kills in all  [default: 9, with --full 200]")
    parser.addoption("--inputs", type=Path, default=None, help="where inputs are kept from one session to the next")
    parser.addoption("--kill-seed", type=int, default=7, help="of the moments")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A machine that is busy takes its time; what hangs is told by the tests themselves."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(6000))


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the long form is asked for."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def short_of(full: bool) -> Callable[[object, Iterable[object]], None]:
    """Skips what is none of the cases that the short form has of a test."""

    def choose(case: object, cases: Iterable[object]) -> None:
        if not full and case not in cases:
            pytest.skip("a case of the long form: pytest faults --full")

    return choose


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """What the commands work on, made once for all workers; not to be written to."""
    from scenes import make_inputs

    kept: Path | None = request.config.getoption("--inputs")
    base = tmp_path_factory.getbasetemp()
    # a worker of pytest-xdist has a folder of its own below the one of all
    shared = base.parent if base.name.startswith("popen-") else base
    where = kept.absolute() if kept is not None else shared / "inputs"
    where.mkdir(parents=True, exist_ok=True)
    with (where / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (where / "done").exists():
            make_inputs(where / "work")
            (where / "done").touch()
    return where / "work"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system with given options, such as `size=2m`; skips where the machine does not allow it."""
    with ExitStack() as stack:
        numbers = count()
        yield lambda options: stack.enter_context(mounted(tmp_path / f"disk{next(numbers)}" / "mounted", options))
