"""The command `unbundle`: ask the index, serve it, see its state, go back, find what is wrong."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unbundle.base.errors import UserError, told_in_one_line
from unbundle.http.serve import serve

if TYPE_CHECKING:
    from unbundle.index.filters import Filters
    from unbundle.query.prices import Parts
    from unbundle.query.search import Answer, Instance, ProductSearch

# Packages that cost a second to import (pymilvus, onnxruntime) are imported by the commands.

app = typer.Typer(
    name="unbundle",
    help="Find every single product of a bundle photo in a catalogue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

BUNDLES = Path("data/bundles")
IMAGES = Path("data/catalogue")
PICTURE = Path("answer.png")
_PHOTO_COLUMNS = 72  # of a terminal
_HIT_COLUMNS = 16
PIPELINE = {"evaluate": "tasks.evaluate", "promote": "tasks.promote"}
"""Modules of the commands that belong to the pipeline, which runs from a checkout."""

BundleFolder = Annotated[
    Path, typer.Option("--bundle", help="A bundle, or a folder of bundles by version.")
]
Uri = Annotated[
    str | None,
    typer.Option(help="Milvus: a folder *.db or a URL. Else MILVUS_URI, else data/milvus.db."),
]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a mistake's traceback.")] = False,
) -> None:
    """Find every single product of a bundle photo in a catalogue."""


@app.command()
def query(
    photo: Annotated[Path | None, typer.Argument(help="JPEG, PNG or WebP.")] = None,
    title: Annotated[str, typer.Option(help="May name only some of the products.")] = "",
    box: Annotated[
        list[str] | None, typer.Option(help="x0,y0,x1,y1 in pixels, instead of the detector's.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--filter", help="column=value, or column=low..high for a numeric column."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Products per box.")] = 5,
    offset: Annotated[int, typer.Option(help="Products per box to skip.")] = 0,
    min_score: Annotated[float | None, typer.Option(help="Leave out hits below it.")] = None,
    bundle_price: Annotated[
        float | None, typer.Option(help="Of the bundle, to be compared with its parts.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Write the answer as a picture.")] = None,
    show: Annotated[
        bool, typer.Option("--show", help=f"Pictures in the terminal; without one in {PICTURE}.")
    ] = False,
    images: Annotated[Path, typer.Option(help="The catalogue's folder, for pictures.")] = IMAGES,
    bundle: BundleFolder = BUNDLES,
    uri: Uri = None,
) -> None:
    """Find the products of a photo, of a title, or of both."""
    from unbundle.query.search import ProductSearch

    boxes = [_parse_box(text) for text in box] if box else None
    if photo is None and not title.strip():
        raise UserError("the query is empty: give a photo, --title or both")
    with ProductSearch(bundle, uri) as search:
        filters = _parse_filters(where or [], search)
        answer = search(photo, title, k, boxes, filters, bundle_price, min_score, offset)
    in_terminal = show and not as_json and console.is_terminal and bool(console.color_system)
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), ensure_ascii=False, indent=2))
    else:
        _print_answer(answer, _Pictures(photo, images) if in_terminal else None)
    if show and not in_terminal:
        picture = picture or PICTURE
    if picture:
        _save_picture(picture, photo, answer, images, quiet=as_json)


@app.command(name="duplicates")
def list_duplicates(
    threshold: Annotated[float, typer.Argument(help="Least similarity, up to 1.")] = 0.98,
    most: Annotated[int, typer.Option(min=1, help="Pairs at most.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    bundle: BundleFolder = BUNDLES,
    uri: Uri = None,
) -> None:
    """List photos of different products that look like one."""
    from unbundle.query.search import ProductSearch

    with ProductSearch(bundle, uri) as search:
        found = search.duplicates(threshold)
        for pair in islice(found, most):
            if as_json:
                typer.echo(json.dumps(asdict(pair), ensure_ascii=False))
            else:
                sides = (f"{hit.id} ({hit.product})" for hit in (pair.first, pair.second))
                console.print(Text(f"{pair.score:.3f}  {' = '.join(sides)}"), soft_wrap=True)
        if next(found, None) is not None:
            typer.echo(f"more than {most} pairs; raise --most or the threshold", err=True)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    bundle: BundleFolder = BUNDLES,
    uri: Uri = None,
) -> None:
    """Show what serves, what served before, with figures, age and size."""
    from unbundle.index.milvus_database import Database
    from unbundle.terminal.status import History

    with Database(uri) as database:
        history = History.read(database, bundle)
    if as_json:
        typer.echo(json.dumps(history.to_dict(), ensure_ascii=False, indent=2))
    else:
        history.show(console)


@app.command()
def rollback(
    version: Annotated[
        str | None,
        typer.Argument(help="Of an index or its bundle, as `status` shows it. Else the previous."),
    ] = None,
    bundle: BundleFolder = BUNDLES,
    uri: Uri = None,
) -> None:
    """Serve an earlier index again, with its bundle."""
    from unbundle.index.milvus_database import Database
    from unbundle.query.search import bundle_of

    with Database(uri) as database:
        # Going back to an index whose bundle is gone would stop every query.
        bundle_of(database.gallery(database.way_back(version)), bundle)
        before, now = database.rollback(version)
    console.print(f"products: {before} → {now}")


app.command()(serve)


@app.command()
def bench(
    photos: Annotated[
        Path, typer.Argument(help="A catalogue's folder, or one of images.")
    ] = IMAGES,
    title: Annotated[str, typer.Option(help="For photos without one.")] = "",
    clients: Annotated[
        list[int] | None, typer.Option(min=1, help="At once; may be repeated. Else 1 and 4.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Per number of clients.")] = 100,
    k: Annotated[int, typer.Option("-k", min=1, help="Products per box.")] = 10,
    threads: Annotated[int, typer.Option(min=0, help="Of each network; 0 takes all cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    bundle: BundleFolder = BUNDLES,
    uri: Uri = None,
) -> None:
    """Measure how long queries take here, part by part."""
    from unbundle.query.search import ProductSearch
    from unbundle.terminal.bench import measure, read_queries

    asked = read_queries(photos, title)
    with ProductSearch(bundle, uri, threads=threads) as search:
        loads = [measure(search, asked, number, queries, k) for number in clients or (1, 4)]
    if as_json:
        typer.echo(json.dumps([asdict(load) for load in loads], indent=2))
        return
    for load in loads:
        table = Table(f"clients: {load.clients}, queries: {load.queries}", box=None)
        for name in ("p50 ms", "p99 ms"):
            table.add_column(name, justify="right")
        for part, spread in {**load.parts, "whole query": load.whole}.items():
            table.add_row(part, f"{spread.p50:.1f}", f"{spread.p99:.1f}")
        console.print(table)
        console.print(f"{load.per_second:.1f} queries a second\n")


@app.command()
def doctor(bundle: BundleFolder = BUNDLES, uri: Uri = None) -> None:
    """Check packages, bundles and Milvus; exit with 1 where something fails."""
    from unbundle.terminal.doctor import examine

    styles = {"ok": "green", "warn": "yellow", "fail": "red"}
    failed = False
    for finding in examine(bundle, uri):
        line = Text.assemble((f"{finding.state:<5}", styles[finding.state]), finding.text)
        console.print(line, soft_wrap=True)
        failed = failed or finding.state == "fail"
    if failed:
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake is one line on standard error and exit code 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    rest = [argument for argument in given if argument != "--debug"]
    with told_in_one_line(debug):
        _add_commands(next((argument for argument in rest if not argument.startswith("-")), ""))
        app(rest, prog_name="unbundle")


def _add_commands(wanted: str) -> None:
    registered = {command.name for command in app.registered_commands}
    for name in PIPELINE:
        if name == wanted:
            app.command(name)(_load(name))
        elif name not in registered:
            # Only named: its packages take seconds to import.
            about = f"See unbundle {name} --help (in a checkout, with the extra train)."
            app.command(name, help=about)(_not_loaded)


def _not_loaded() -> None:
    raise AssertionError("the command that was asked for is always loaded")


def _load(name: str) -> Callable[..., Any]:
    # As `python -m` does: the pipeline is no installed package.
    sys.path.insert(0, str(Path.cwd()))
    try:
        command: Callable[..., Any] = import_module(PIPELINE[name]).command
    except ModuleNotFoundError as error:
        missing = error.name or ""
        repair = (
            "run this in a checkout of unbundle"
            if missing.split(".")[0] == PIPELINE[name].split(".")[0]
            else "run `pip install 'unbundle[train]'`"
        )
        raise UserError(f"unbundle {name}: package {missing} is missing; {repair}") from None
    return command


def _parse_box(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise UserError(f"--box {text}: expected four numbers x0,y0,x1,y1 in pixels of the photo")
    return numbers


def _parse_filters(texts: Sequence[str], search: "ProductSearch") -> "Filters":
    numeric = {column.name for column in search.gallery.columns if column.numeric}
    values: dict[str, list[str]] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"--filter {text}: expected column=value or column=low..high")
        values.setdefault(name, []).append(value)
    ranged = {name for name in numeric & set(values) if any(".." in text for text in values[name])}
    for name in ranged:
        if len(values[name]) > 1:
            raise UserError(f"--filter {name}: expected one low..high, or values without one")
    return {name: _bounds(*texts) if name in ranged else texts for name, texts in values.items()}


def _bounds(text: str) -> dict[str, str]:
    low, _, high = text.partition("..")
    return {name: bound for name, bound in (("min", low), ("max", high)) if bound}


class _Pictures:
    """Prints the pictures of an answer into the terminal."""

    def __init__(self, photo: Path | None, images: Path) -> None:
        self._photo, self._images = photo, images

    def photo(self, answer: "Answer") -> None:
        from unbundle.terminal.answer_picture import draw_photo
        from unbundle.terminal.half_blocks import blocks
        from unbundle.vision.imaging import open_photo

        if self._photo is not None:
            drawn = draw_photo(open_photo(self._photo), answer.instances)
            console.print(blocks(drawn, min(console.width, _PHOTO_COLUMNS)))

    def hits(self, instance: "Instance") -> None:
        from unbundle.terminal.answer_picture import draw_hits
        from unbundle.terminal.half_blocks import blocks

        shown = instance.hits[: max(1, console.width // _HIT_COLUMNS)]
        strip = draw_hits(shown, self._images, 4 * _HIT_COLUMNS)
        console.print(blocks(strip, len(shown) * _HIT_COLUMNS))


def _print_answer(answer: "Answer", pictures: _Pictures | None = None) -> None:
    if pictures is not None:
        pictures.photo(answer)
    for number, instance in enumerate(answer.instances, 1):
        console.print(f"[bold]{number}[/bold]  {_where(instance)}")
        if instance.words:
            console.print(Text(f"   of the title: {' '.join(instance.words)}"))
        if not instance.hits:
            console.print("   no product passes the filters and --min-score\n")
            continue
        if not instance.in_catalogue:
            console.print("   not in the catalogue; what comes nearest:")
        if pictures is not None:
            pictures.hits(instance)
        table = Table("score", "product", "title", box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for hit in instance.hits:
            table.add_row(f"{hit.score:.3f}", Text(hit.product), Text(hit.caption))
        console.print(table)
        console.print()
    if answer.parts is not None:
        _print_parts(answer.parts)


def _print_parts(parts: "Parts") -> None:
    if parts.items:
        table = Table("part", "product", box=None, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column("price", justify="right")
        for part in parts.items:
            table.add_row(str(part.instance + 1), Text(part.product), f"{part.price:,.2f}")
        table.add_row("", "all parts" if not parts.unknown else "these", f"{parts.total:,.2f}")
        if parts.bundle_price is not None:
            table.add_row("", "the bundle", f"{parts.bundle_price:,.2f}")
        if parts.saving is not None:
            table.add_row("", "saving", f"{parts.saving:,.2f}")
        console.print(table)
    if parts.unknown:
        numbers = ", ".join(str(index + 1) for index in parts.unknown)
        console.print(f"without a price: {numbers}")


def _where(instance: "Instance") -> str:
    if instance.box is None:
        return "the title"
    x0, y0, x1, y1 = (round(value) for value in instance.box)
    known = "" if instance.known is None else f", in the catalogue with {instance.known:.2f}"
    return f"box {x0},{y0} to {x1},{y1}, seen with {instance.score:.2f}{known}"


def _save_picture(
    path: Path, photo: Path | None, answer: "Answer", images: Path, quiet: bool
) -> None:
    from unbundle.base.atomic import atomic_file
    from unbundle.terminal.answer_picture import draw_answer
    from unbundle.vision.imaging import open_photo

    image = draw_answer(open_photo(photo) if photo else None, answer, images)
    try:
        with atomic_file(path) as temporary:
            image.save(temporary)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written ({error}); give a .png or .jpg") from None
    if not quiet:
        console.print(f"picture: {path}")


if __name__ == "__main__":
    main()
