"""How much is tried: `--mutations N` of every kind, 1,000 in the full form (`make fuzz`), 25 in the short one."""

from __future__ import annotations

import pytest

SHORT = 25


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutations", type=int, default=SHORT, help="mutations of every kind of hostile input")


@pytest.fixture(scope="session")
def mutations(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--mutations"))
