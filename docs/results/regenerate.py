"""Tables and figures of docs/results.md from the committed runs: `python docs/results/regenerate.py`.

Every NAME.json in this folder that 'noisyfer bench --table' wrote (its table.json under another name) fills the block
`<!-- begin NAME -->` of the page, and its curves go to NAME.png beside it.
"""

from __future__ import annotations

from pathlib import Path

import click
from noisyfer.benchmark.evidence import finished_runs, markdown, read_evidence, systems
from noisyfer.benchmark.pictures import draw_systems
from noisyfer.core.pages import fill_page

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "results.md"


def main() -> None:
    """Rewrite the page's blocks and the figures."""
    texts = {}
    for file in sorted(FOLDER.glob("*.json")):
        document = read_evidence(file)
        draw_systems(FOLDER / f"{file.stem}.png", finished_runs(document))
        texts[file.stem] = f"{markdown(systems(document))}\n\n![{document['title']}](results/{file.stem}.png)"
    fill_page(PAGE, texts)
    click.echo(f"{PAGE.name}: {', '.join(texts)}")


if __name__ == "__main__":
    main()
