"""What the pages of the site need beyond Markdown: the package to read, and blocks that the tests do not run say so."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

MARK = re.compile(r"^( *)```(sh|python) no-test$", re.MULTILINE)


@event_priority(100)
def on_config(config: Any, **_: Any) -> None:
    """Make a folder with the package alone, as links: mkdocstrings walks through everything beside its modules, and
    at the top of the repository that is the virtual environment too. Before the plugins, which pass over a folder that
    is not there yet."""
    root = Path(config["config_file_path"]).parent
    package = root / "build" / "api" / "noisyfer"
    package.mkdir(parents=True, exist_ok=True)
    for entry in root.iterdir():
        if entry.suffix == ".py" or (entry / "__init__.py").exists():
            with contextlib.suppress(FileExistsError):
                (package / entry.name).symlink_to(entry)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn `no-test` behind a fence's language, which Markdown does not know, into a title that a reader sees."""
    return MARK.sub(r'\1```\2 title="needs data or time: not run by the tests"', markdown)
