"""Tables and figures of docs/results.md from the committed runs: `python docs/results/regenerate.py`.

Every NAME.json in this folder that 'noisyfer bench --table' wrote (its table.json under another name) fills the block
`<!-- begin NAME -->` of the page, and its curves go to NAME.png beside it. A table whose runs were made in parts is
several files NAME.PART.json.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import click
from noisyfer.benchmark.evidence import finished_runs, markdown, merge_evidence, read_evidence, systems
from noisyfer.benchmark.pictures import draw_systems
from noisyfer.core.pages import fill_page

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "results.md"


def main() -> None:
    """Rewrite the page's blocks and the figures."""
    texts = {}
    files = sorted(FOLDER.glob("*.json"), key=lambda file: file.name.split("."))
    for name, parts in groupby(files, key=lambda file: file.name.split(".")[0]):
        document = merge_evidence([read_evidence(file) for file in parts])
        draw_systems(FOLDER / f"{name}.png", finished_runs(document))
        texts[name] = f"{markdown(systems(document))}\n\n![{document['title']}](results/{name}.png)"
    fill_page(PAGE, texts)
    click.echo(f"{PAGE.name}: {', '.join(texts)}")


if __name__ == "__main__":
    main()
