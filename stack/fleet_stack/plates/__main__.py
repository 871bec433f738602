"""``python -m fleet_stack.plates``: make plates and images on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from fleet_stack.console import StackError
from fleet_stack.plates import PlateSpec, make_plate
from fleet_stack.plates import tiff as write_tiff
from fleet_stack.plates.btsxml import Options
from fleet_stack.plates.yokogawa import make_yokogawa

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make plates and images that Bio-Formats accepts.

    \b
    Examples:
      python -m fleet_stack.plates harmony /data/hcs --wells 24
      python -m fleet_stack.plates harmony /data/hcs --name tiny --wells 4 --fields 1 --channels 1 --size 64
      python -m fleet_stack.plates harmony /data/hcs --wells 384 --fields 9 --channels 5 --size 32
      python -m fleet_stack.plates yokogawa /data/hcs --name demo --wells 24 --running
      python -m fleet_stack.plates tiff /data/confocal/cells.tif --size 1024
    """


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--name", default="demo", show_default=True, help="Name and barcode of the plate.")
@click.option("--wells", default=24, show_default=True, type=click.IntRange(1, 1536), help="Number of wells.")
@click.option("--fields", default=4, show_default=True, type=click.IntRange(1, 6000), help="Fields in each well.")
@click.option("--channels", default=3, show_default=True, type=click.IntRange(1, 64), help="Channels.")
@click.option("--planes", default=1, show_default=True, type=click.IntRange(1, 1000), help="Planes in each stack.")
@click.option("--timepoints", default=1, show_default=True, type=click.IntRange(1, 1000), help="Time points.")
@click.option("--size", default=512, show_default=True, type=click.IntRange(8, 8192), help="Pixels in x and y.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="For other pixels.")
@click.option("--harmony", default=5, show_default=True, type=click.IntRange(1, 6), help="Version of the layout.")
@click.option("--measurement-id", default="", help="By default derived from name and seed.")
@click.option("--bits", default="16", show_default=True, type=click.Choice(["8", "16"]), help="Bits per pixel.")
def harmony(folder: Path, bits: str, **sizes: int | str) -> None:
    """Write a Harmony measurement below FOLDER and print the path of its index, the file to submit."""
    try:
        plate = make_plate(folder, PlateSpec(dtype=f"uint{bits}", **sizes))  # type: ignore[arg-type]  # click has checked them
    except StackError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(plate.files)} files in {plate.folder}", err=True)
    click.echo(plate.entry)


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--name", default="demo", show_default=True, help="Name of the plate.")
@click.option("--wells", default=4, show_default=True, type=click.IntRange(1, 1536), help="Number of wells.")
@click.option("--fields", default=2, show_default=True, type=click.IntRange(1, 999), help="Fields in each well.")
@click.option("--channels", default=2, show_default=True, type=click.IntRange(1, 64), help="Channels.")
@click.option("--planes", default=1, show_default=True, type=click.IntRange(1, 99), help="Planes in each stack.")
@click.option("--timepoints", default=1, show_default=True, type=click.IntRange(1, 9999), help="Time points.")
@click.option("--size", default=64, show_default=True, type=click.IntRange(8, 8192), help="Pixels in x and y.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="For other pixels.")
@click.option("--running", is_flag=True, help="As before the end of the measurement.")
def yokogawa(folder: Path, *, running: bool, **sizes: int | str) -> None:
    """Write a CV8000 measurement below FOLDER and print the path of its .wpi, the file to submit."""
    try:
        plate = make_yokogawa(folder, PlateSpec(**sizes), Options(ended=not running))  # type: ignore[arg-type]  # click has checked them
    except StackError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(plate.files)} files in {plate.folder}", err=True)
    click.echo(plate.entry)


@main.command()
@click.argument("file", type=_FILE)
@click.option("--size", default=512, show_default=True, type=click.IntRange(8, 65_536), help="Pixels in x and y.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="For other pixels.")
@click.option("--bits", default="16", show_default=True, type=click.Choice(["8", "16"]), help="Bits per pixel.")
def tiff(file: Path, size: int, seed: int, bits: str) -> None:
    """Write one TIFF of one plane to FILE and print its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    click.echo(write_tiff(file, size=size, seed=seed, dtype=f"uint{bits}"))


if __name__ == "__main__":
    main()
