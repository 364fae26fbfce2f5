"""How much is tried: `--mutations N` of every kind, 1,000 in the full form (`make fuzz`), 25 in the short one."""

from __future__ import annotations

import pytest

SHORT = 25
HOURS = 6


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutations", type=int, default=SHORT, help="mutations of every kind of hostile input")


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--mutations"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The full form takes longer than a test may; a case that hangs is ended by its own bound."""
    for item in items:
        if item.path.parent.name == "fuzz":
            item.add_marker(pytest.mark.timeout(HOURS * 3600))
