"""Product1M's published annotation files (Zhan et al., ICCV 2021) as a source of catalogues.

One item a line, UTF-8, lines end in CR LF:

    id#####title#####image url#####mirror url#####label#;#label

Training lines have no labels. Both addresses name the same image; the mirror calls it `<id>.jpg`.

Known of the published dev (2,673 lines) and test (6,547): all 9,220 ids differ, so that dev is no
part of test, though 314 titles and 43 image addresses occur in both; 16.5 % of the test lines
repeat a label.
"""

import csv
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tasks.base.params import Catalogue, Download
from tasks.base.progress import console, track
from tasks.data.catalogue_table import COLUMNS, LABEL_SEPARATOR, TABLE, parse_labels, utf8_lines
from tasks.data.download import WantedImage, download
from unbundle.base.catalogue_cells import ID_PATTERN
from unbundle.base.errors import UserError

FIELD_SEPARATOR = "#####"
ORDER = ("gallery", "dev", "test", "train")
"""Splits by precedence: an id that an earlier file has is left out of the later ones."""


@dataclass(frozen=True)
class Annotation:
    """One line: an item of the shop.

    Attributes:
        id: the shop's number of the item.
        caption: title as published.
        url: image at the shop.
        mirror: the same image at the authors' mirror.
        labels: products in the photo, repeated where there are several of one; empty in training.
    """

    id: str
    caption: str
    url: str
    mirror: str
    labels: tuple[str, ...]


def annotation_file(folder: Path, split: str) -> Path:
    """Path of the published file of a split."""
    return folder / f"product1m_{split}_ossurl_v2.txt"


def read_annotations(path: Path) -> list[Annotation]:
    """Read an annotation file, every line of it, in its order.

    Raises:
        UserError: the file is missing or not UTF-8, or a line is not of the format; the message
            names file and line.
    """
    annotations = []
    for number, line in enumerate(utf8_lines(path), 1):
        try:
            annotations.append(parse_annotation(line.removesuffix("\n").removesuffix("\r")))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
    return annotations


def parse_annotation(line: str) -> Annotation:
    """Parse a line without its end.

    Raises:
        ValueError: the line has too few or too many fields, an id that is no key, or an empty
            label.
    """
    identifier, caption, url, mirror, *rest = _fields(line)
    if not re.fullmatch(ID_PATTERN, identifier):
        raise ValueError(
            f"expected an id of at most 64 letters, digits or _.:-, found {identifier!r}"
        )
    labels = tuple(parse_labels(rest[0])) if rest else ()
    if "" in labels:
        raise ValueError(f"a label is empty; labels are joined by {LABEL_SEPARATOR}")
    return Annotation(identifier, caption, url, mirror, labels)


def _fields(line: str) -> list[str]:
    fields = line.split(FIELD_SEPARATOR)
    if len(fields) not in (4, 5):
        raise ValueError(
            f"expected id, title, two addresses and labels joined by {FIELD_SEPARATOR}, "
            f"found {len(fields)} fields"
        )
    return fields


def write_product1m(folder: Path, source: Catalogue, downloads: Path) -> None:
    """Write the annotation files in `source.path`, any of the four, as a catalogue folder.

    Items are in the order of `ORDER`. An id is kept once: a query that the gallery has too stays
    in the gallery, one in dev and test stays in dev, so that nothing fitted on dev has seen test,
    and training gives way to all. Evaluation by the official protocol reads the annotation files
    themselves, so it loses nothing.

    Args:
        folder: receives `catalogue.csv` and `images/<id>.jpg`.
        source: its `images` is a folder with `<id>.jpg`; None downloads them.
        downloads: where downloads are kept from run to run.

    Raises:
        UserError: there is no annotation file or one is broken, `source.images` is no folder, or
            not one image could be fetched.
    """
    annotations = _unique(_read_splits(source.path))
    items = [annotation for _, annotation in annotations]
    if source.images is None:
        _download(items, downloads, source.download)
        _gather(items, downloads / "images", folder / "images", _link)
    elif source.images.is_dir():
        _gather(items, source.images, folder / "images", shutil.copyfile)
    else:
        raise UserError(f"{source.images}: no such folder; correct catalogue.images in params.yaml")
    _write_table(folder / TABLE, annotations)


def _read_splits(folder: Path) -> dict[str, list[Annotation]]:
    files = {split: annotation_file(folder, split) for split in ORDER}
    splits = {split: read_annotations(path) for split, path in files.items() if path.exists()}
    if not splits:
        raise UserError(
            f"{folder}: no annotation file; expected {annotation_file(Path(), 'train')}, "
            "…_gallery_…, …_dev_… or …_test_…; correct catalogue.path in params.yaml"
        )
    return splits


def _unique(splits: dict[str, list[Annotation]]) -> list[tuple[str, Annotation]]:
    rows = [(split, item) for split, annotations in splits.items() for item in annotations]
    # In reverse, so that the first row of an id has the last word.
    first = {item.id: index for index, (_, item) in reversed(list(enumerate(rows)))}
    if repeated := len(rows) - len(first):
        console.print(f"product1m: {repeated:,} of {len(rows):,} rows repeat an id: left out")
    return [rows[index] for index in sorted(first.values())]


def _download(items: list[Annotation], downloads: Path, settings: Download) -> None:
    requests = [WantedImage(item.id, (item.url, item.mirror)) for item in items]
    failures = download(requests, downloads, settings)
    if len(failures) == len(items):
        raise UserError(
            f"{downloads}: no image could be fetched ({next(iter(failures.values()))}); check the "
            "network, or set catalogue.images in params.yaml to a folder with <id>.jpg"
        )


def _gather(
    items: list[Annotation], images: Path, target: Path, transfer: Callable[[Path, Path], object]
) -> None:
    target.mkdir()
    for item in track(items, "gathering images"):
        # An image that is not there is validation's to report.
        if (image := images / f"{item.id}.jpg").is_file():
            transfer(image, target / image.name)


def _link(file: Path, target: Path) -> None:
    # Downloads are replaced, never written to, and a second copy of a million is 100 GB.
    try:
        os.link(file, target)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(file, target)


def _write_table(path: Path, annotations: list[tuple[str, Annotation]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, "url"])
        for split, item in annotations:
            labels = LABEL_SEPARATOR.join(item.labels)
            kind = ("", "single", "multi")[min(len(item.labels), 2)]
            writer.writerow(
                [item.id, f"images/{item.id}.jpg", item.caption, labels, split, kind, "", item.url]
            )
