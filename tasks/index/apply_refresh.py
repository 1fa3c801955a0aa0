"""One refresh of the serving index: what differs from the source is validated, encoded, written."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import frame_of, parse_labels
from tasks.data.photo_checks import check_photos, locate
from tasks.index.catch_up_with_journal import catch_up_with_journal, open_encoder
from tasks.index.gallery_rows import item_of
from tasks.index.ingestion_receipt import milvus_uri
from tasks.index.refresh_plan import Outcome, Plan, Task, pages
from tasks.validation.derived_columns import row_facts
from tasks.validation.verdict import faults
from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError
from unbundle.encoding.query_encoder import Encoder
from unbundle.index.change_journal import Journal
from unbundle.index.milvus_database import CHAMPION, Database
from unbundle.index.put_and_delete import ProductPut, delete, put
from unbundle.vision.imaging import open_photo

OUTCOMES: tuple[Outcome, ...] = ("added", "changed", "removed", "quarantined", "withheld")


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        collection: the index.
        counts: products by outcome.
        receipt: lists every product that is not as it was.
    """

    collection: str
    counts: dict[str, int]
    receipt: Path

    @property
    def line(self) -> str:
        """The counts in words."""
        done = ", ".join(f"{count:,} {name}" for name, count in self.counts.items() if count)
        return f"{self.collection}: {done or 'no product'}"


class IndexRefresh:
    """One refresh of the champion; use it in a `with` block: `plan`, every shard, `finish`.

    Raises:
        UserError: nothing is promoted, or Milvus cannot be reached.
    """

    def __init__(self, workspace: Workspace, params: Params) -> None:
        self._workspace, self._params = workspace, params
        self._folder = source_folder(workspace, params)
        self._journal = Journal(workspace.journal)
        self._plan = Plan(workspace.refreshes / "plan.sqlite")
        self._database = Database(milvus_uri(workspace, params.ingest))
        try:
            self.gallery = self._database.gallery(CHAMPION)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._plan.__exit__()
        self._database.close()

    def plan(self) -> dict[Outcome, int]:
        """Compare source and index; return how many products are to be added, changed …

        Raises:
            UserError: the table cannot be read, lacks a column of the index, or lacks more
                products than `refresh.max_removed` allows.
        """
        # What a refresh or a service recorded and did not live to write.
        catch_up_with_journal(self._workspace, self.gallery, self._params)
        with console.status("comparing the source with the index") as status:
            for read in self._plan.read_source(self._folder, self.gallery.columns):
                status.update(f"comparing the source with the index: {read:,} rows")
            self._plan.read_index(self.gallery)
            self._plan.compare(self._journal)
        counts = self._plan.counts()
        removed, held = counts.get("removed", 0), self._plan.held()
        if removed > self._params.refresh.max_removed * held:
            raise UserError(
                f"{self._folder}: lacks {removed:,} of the {held:,} products that are served, "
                f"refresh.max_removed allows {self._params.refresh.max_removed:.0%}; complete the "
                "catalogue, or allow more"
            )
        return counts

    def delete_removed(self) -> None:
        """Delete what the source has no more."""
        for page in self._plan.removed():
            delete(self.gallery, self._journal, "refresh", page)

    def shards(self) -> Iterator[list[Task]]:
        """What is to be put, `refresh.shard` rows at once."""
        return self._plan.shards(self._params.refresh.shard)

    def put(self, shard: list[Task]) -> None:
        """Validate a shard and put its good rows into the index."""
        good = self._validated(shard)
        for batch in pages(good, self._params.ingest.batch):
            products = [product for task in batch if (product := self._open(task))]
            if products:
                put(self.gallery, self._encoder, self._journal, "refresh", products)

    def finish(self) -> Refreshed:
        """Seal the index and write the receipt."""
        counts = self._plan.counts()
        if sum(counts.get(name, 0) for name in ("added", "changed", "removed")):
            self.gallery.flush()
        if self._database.target(CHAMPION) != self.gallery.name:
            # Another index was promoted meanwhile; it shall have these changes within this run.
            catch_up_with_journal(self._workspace, self._database.gallery(CHAMPION), self._params)
        return self._write_receipt(counts)

    @cached_property
    def _encoder(self) -> Encoder:
        return open_encoder(self._workspace, self.gallery, self._params)

    def _validated(self, shard: list[Task]) -> list[Task]:
        rows = frame_of((task.line, task.cells) for task in shard)
        facts = row_facts(rows, check_photos(self._folder, rows["image"].tolist()))
        bad = faults(facts, self._params.validation)
        for task in shard:
            if task.line in bad:
                self._plan.refuse(task, bad[task.line])
        return [task for task in shard if task.line not in bad]

    def _open(self, task: Task) -> ProductPut | None:
        item = item_of(task.cells, parse_labels(task.cells["labels"]))
        try:
            if misfit := self.gallery.misfit(item):
                raise ValueError(misfit)
            file = locate(self._folder, item.image).read_bytes()
            return ProductPut(item, file, open_photo(file))
        except (UserError, ValueError, OSError) as error:
            self._plan.refuse(task, str(error))
            return None

    def _write_receipt(self, counts: dict[Outcome, int]) -> Refreshed:
        done: dict[str, int] = {name: counts.get(name, 0) for name in OUTCOMES}
        at = datetime.now(UTC)
        path = self._workspace.refreshes / f"{at:%Y%m%dT%H%M%S.%fZ}.json"
        head: dict[str, Any] = {
            "collection": self.gallery.name,
            "bundle": self.gallery.properties["bundle"],
            "source": str(self._folder),
            "finished_at": at.isoformat(timespec="seconds"),
            "counts": done,
        }
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head, ensure_ascii=False, indent=2)[:-2] + ',\n  "products": [')
            for number, product in enumerate(self._plan.outcomes()):
                line = json.dumps(product, ensure_ascii=False)
                file.write(f"{',' if number else ''}\n    {line}")
            file.write("\n  ]\n}\n")
        return Refreshed(self.gallery.name, done, path)


def source_folder(workspace: Workspace, params: Params) -> Path:
    """The catalogue that is followed: the source itself where it is a catalogue folder.

    Other sources become one by stage `catalogue`.
    """
    source = params.catalogue
    if source.source == "folder":
        return workspace.root / source.path
    return workspace.catalogue
