"""``python -m fleet_bench.pages``: put the results into ``docs/explanation/performance.md``, with their pictures.

Threading: one thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from fleet_bench import plots, tables
from fleet_bench.model import Bench

PAGE: Final = Path("docs/explanation/performance.md")
BEGIN: Final = "<!-- figures: made by `make bench` -->\n"
END: Final = "<!-- end of the figures -->\n"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--results", default=Path("build/bench.json"), show_default=True, type=click.Path(path_type=Path))
@click.option("--page", default=PAGE, show_default=True, type=click.Path(path_type=Path))
def main(results: Path, page: Path) -> None:
    """Write tables and pictures of what was measured."""
    bench = Bench.model_validate_json(results.read_text(encoding="utf-8"))
    pictures = plots.draw(bench, page.parent)
    page.write_text(filled(page.read_text(encoding="utf-8"), bench, pictures), encoding="utf-8")
    click.echo(f"{page} and {len(pictures)} pictures show {len(bench.results)} cases of {results}")


def filled(text: str, bench: Bench, pictures: list[Path]) -> str:
    """The page with these results between its two marks.

    Raises:
        ValueError: The page lacks a mark.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the lines {BEGIN.strip()} and {END.strip()}")
    shown = "\n".join(f"![{picture.stem}]({picture.name})" for picture in pictures)
    return f"{before}{begin}\n{tables.page(bench)}\n{shown}\n\n{end}{after}"


if __name__ == "__main__":
    main()
