"""A Milvus database: its collections, and the two aliases that say which one serves.

`products` names the collection that clients search, `products_prev` the way back. Collections are
named by content (`products_<12 hex>`) and never changed once promoted. The same code runs on Milvus
Lite (a folder `*.db`, one process at a time) and on a server.
"""

import json
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from unbundle.base.catalogue_cells import ID_LENGTH
from unbundle.base.errors import UserError
from unbundle.index.columns import (
    FIXED_FIELDS,
    KEYPOINTS,
    TEXT_BYTES,
    TRACE_LENGTH,
    TRACES,
    Column,
    dump_columns,
)
from unbundle.index.gallery_collection import METRIC, TIMEOUT, VECTOR, Gallery
from unbundle.index.lite_folder import damage
from unbundle.index.pymilvus_client import (
    ConnectionConfigException,
    DataType,
    MilvusClient,
    MilvusException,
)
from unbundle.vision.keypoints import LONGEST_TEXT

CHAMPION = "products"
PREVIOUS = "products_prev"
DEFAULT_URI = "data/milvus.db"

_OURS = re.compile(r"products_[0-9a-f]{12}")
_NO_SUCH_ALIAS = (100, 1600)  # Lite's code and a server's; any other code is a failure
_CONNECT_TIMEOUT = 10.0
_RESTORE = (
    "restore the folder from a back-up, or move it away and run `dvc repro ingest` and "
    "`unbundle promote`"
)

# Databases of this process by folder: Lite's lock is released with the last one.
_open_folders: Counter[str] = Counter()
_open_folders_lock = threading.Lock()


@dataclass(frozen=True)
class Hnsw:
    """The index on a server: neighbours per node, and list lengths while building and searching."""

    m: int = 16
    ef_construction: int = 200
    ef: int = 256


_HNSW = Hnsw()


@dataclass(frozen=True)
class Collection:
    """One of our collections, as `status` shows it."""

    name: str
    rows: int
    bundle: str
    """Version of the bundle that made its vectors."""
    created: str
    """ISO 8601, UTC."""
    aliases: tuple[str, ...]
    dimension: int = 0
    """Of its vectors."""
    promoted: str = ""
    """ISO 8601, UTC: when it last began to serve by a promotion; empty where it never did."""
    evaluation: Mapping[str, float] = field(default_factory=dict)
    """What the gate read when it let it pass, by metric."""


def address(default: str = DEFAULT_URI) -> str:
    """Where Milvus is: MILVUS_URI of the environment, else `default`."""
    return os.environ.get("MILVUS_URI") or default


def shown(uri: str) -> str:
    """The address without user and password, for messages and receipts."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def is_lite(uri: str) -> bool:
    """Whether the address is a folder that Milvus Lite opens in this process."""
    return uri.endswith(".db")


class Database:
    """A connection to Milvus; use it in a `with` block, or call `close`.

    Closing releases the folder of Milvus Lite for other processes.

    Args:
        uri: a folder `*.db` (Milvus Lite) or the URL of a server; None: see `address`.
        token: the server's token; None: MILVUS_TOKEN of the environment.
        create: whether a missing folder of Milvus Lite is made.

    Raises:
        UserError: the folder is missing, is no database or is open in another process; the server
            cannot be reached or refuses the token.
    """

    def __init__(
        self, uri: str | None = None, token: str | None = None, *, create: bool = False
    ) -> None:
        self.uri = uri or address()
        self._folder: str | None = None
        # Failures reach callers as exceptions; pymilvus would print their tracebacks besides.
        for name in ("pymilvus", "milvus_lite"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if not is_lite(self.uri):
            self.client = _connect(self.uri, token)
            return
        _check_folder(Path(self.uri), create)
        # In one step: a close between the two would stop the Lite that was just joined.
        with _open_folders_lock:
            self.client = _connect(self.uri, token)
            self._folder = str(Path(self.uri).resolve())
            _open_folders[self._folder] += 1

    def close(self) -> None:
        """Disconnect; the last one of a process on a Milvus Lite folder lets go of it."""
        self.client.close()
        if self._folder is None:
            return
        with _open_folders_lock:
            _open_folders[self._folder] -= 1
            if _open_folders[self._folder] <= 0:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(self.uri)
        self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def version(self) -> str:
        """The server's version, `milvus_lite-…` for Milvus Lite."""
        return str(self.client.get_server_version(timeout=TIMEOUT))

    def index(self, hnsw: Hnsw = _HNSW) -> dict[str, str | int]:
        """The index that `create_gallery` makes here: FLAT (exact) on Lite, HNSW on a server."""
        # Not by "lite" alone: the server of the PyPI package milvus calls itself v2.3.5-lite.
        if self.version.startswith("milvus_lite"):
            # Lite's HNSW is no faster, and loses hits under filters.
            return {"type": "FLAT", "metric": METRIC}
        return {"type": "HNSW", "metric": METRIC, **asdict(hnsw)}

    def collections(self) -> list[Collection]:
        """Our collections, the newest first."""
        names = [str(name) for name in self.client.list_collections(timeout=TIMEOUT)]
        found = [self._describe(name) for name in names if _OURS.fullmatch(name)]
        return sorted(found, key=lambda item: (item.created, item.name), reverse=True)

    def exists(self, collection: str) -> bool:
        """Whether there is a collection of this name; aliases do not count."""
        return collection in self.client.list_collections(timeout=TIMEOUT)

    def target(self, alias: str) -> str | None:
        """The collection that an alias names; None where there is no such alias."""
        try:
            answer = self.client.describe_alias(alias, timeout=TIMEOUT)
        except MilvusException as error:
            if error.code in _NO_SUCH_ALIAS:
                return None
            raise
        return str(answer["collection_name"])

    def gallery(self, name: str = CHAMPION) -> Gallery:
        """Open and load the collection that `name`, an alias or a collection, stands for.

        Raises:
            UserError: there is neither, the collection is none of ours, or files of Milvus Lite
                are damaged.
        """
        collection = name if self.exists(name) else self.target(name)
        if collection is None:
            what = "promoted index (alias products)" if name == CHAMPION else f"collection {name}"
            raise UserError(f"{shown(self.uri)}: no {what}; run `make demo`, or `unbundle promote`")
        try:
            return Gallery(self.client, collection, shown(self.uri))
        except MilvusException as error:
            if not is_lite(self.uri):
                raise
            raise UserError(
                f"{self.uri}: {collection} cannot be loaded ({error.message}): {_RESTORE}"
            ) from None

    def create_gallery(
        self,
        name: str,
        dimension: int,
        columns: Sequence[Column] = (),
        properties: Mapping[str, str] | None = None,
        hnsw: Hnsw = _HNSW,
    ) -> Gallery:
        """Create an empty, indexed, loaded collection; one of that name is opened as it is.

        Args:
            name: `products_<12 hex>`.
            dimension: of the vectors.
            columns: the catalogue's columns.
            properties: lineage, at least `bundle`, the version that makes the vectors.
            hnsw: the index on a server; Milvus Lite searches exactly.
        """
        if not _OURS.fullmatch(name):
            raise ValueError(f"{name}: expected products_<12 hex>")
        if not self.exists(name):
            self.client.create_collection(
                name,
                schema=self._schema(dimension, columns),
                properties={
                    **(properties or {}),
                    "columns": dump_columns(columns),
                    "index": json.dumps(self.index(hnsw)),
                    "created": _now(),
                },
                timeout=TIMEOUT,
            )
        # A run that was killed just here left a collection without an index.
        if not self.client.list_indexes(name):
            # No rows yet, so nothing to wait for; pymilvus would sleep half a second.
            params = self._index_params(hnsw)
            self.client.create_index(name, params, timeout=TIMEOUT, sync=False)
        return Gallery(self.client, name, shown(self.uri))

    def promote(self, collection: str) -> None:
        """Point `products` at a collection and `products_prev` at the one that served before.

        Readers see the old or the new collection, never none. Killed between the two steps, the old
        one serves and is also the way back; promoting again completes it.

        Raises:
            UserError: no such collection.
        """
        if not self.exists(collection):
            raise UserError(
                f"{shown(self.uri)}: no collection {collection}; run `dvc repro ingest`"
            )
        # An alias may point at a collection that is not loaded: its searches would fail.
        self.client.load_collection(collection, timeout=TIMEOUT)
        champion = self.target(CHAMPION)
        if champion == collection:
            return
        self.client.alter_collection_properties(collection, {"promoted": _now()}, timeout=TIMEOUT)
        if champion is not None:
            self._point(PREVIOUS, champion)
        self._point(CHAMPION, collection)

    def way_back(self, version: str | None = None) -> str:
        """The collection that a rollback would serve.

        Args:
            version: the beginning of a collection's name or of its bundle's version; None: what
                `products_prev` names.

        Raises:
            UserError: nothing was promoted, no or more than one collection is meant, it serves
                already or it never did.
        """
        champion, place = self.target(CHAMPION), shown(self.uri)
        if champion is None:
            raise UserError(f"{place}: nothing is promoted; run `unbundle promote`")
        if version is None:
            previous = self.target(PREVIOUS)
            if previous is None or previous == champion:
                raise UserError(
                    f"{place}: no index before {champion} to go back to; `unbundle status` lists "
                    "what can be named"
                )
            return previous
        found = [
            item
            for item in self.collections()
            if version and (item.name.startswith(version) or item.bundle.startswith(version))
        ]
        if len(found) != 1:
            what = f"{len(found)} indexes" if found else "no index"
            raise UserError(f"{version}: {what} of that name; `unbundle status` lists them")
        if found[0].name == champion:
            raise UserError(f"{champion}: serves already")
        if not found[0].promoted:
            raise UserError(
                f"{found[0].name}: was never promoted, so no gate has judged it; run "
                "`unbundle promote`"
            )
        return found[0].name

    def rollback(self, version: str | None = None) -> tuple[str, str]:
        """Serve a collection again; its way back is taken, so that twice is the same as once.

        Args:
            version: see `way_back`.

        Returns:
            The collection that served, and the one that serves now.

        Raises:
            UserError: see `way_back`.
        """
        back = self.way_back(version)
        champion = str(self.target(CHAMPION))
        self.client.load_collection(back, timeout=TIMEOUT)
        self._point(CHAMPION, back)
        if version is not None:
            # Else it would lead to an index that is younger than the one that was asked for.
            self._point(PREVIOUS, back)
        return champion, back

    def collect_garbage(self, keep: int) -> list[str]:
        """Drop our collections that no alias names, except the `keep` newest of them.

        Returns:
            The dropped names.
        """
        unnamed = [item for item in self.collections() if not item.aliases]
        dropped = []
        for item in unnamed[keep:]:
            # Asked again just before: dropping takes the aliases, or leaves them dangling.
            if not self._aliases(item.name):
                self.client.drop_collection(item.name, timeout=TIMEOUT)
                dropped.append(item.name)
        return dropped

    def _point(self, alias: str, collection: str) -> None:
        move = self.client.create_alias if self.target(alias) is None else self.client.alter_alias
        move(collection, alias, timeout=TIMEOUT)

    def _aliases(self, collection: str) -> tuple[str, ...]:
        return tuple(self.client.list_aliases(collection, timeout=TIMEOUT)["aliases"])

    def _describe(self, name: str) -> Collection:
        about = self.client.describe_collection(name, timeout=TIMEOUT)
        properties = about["properties"]
        vector = next((entry for entry in about["fields"] if entry["name"] == VECTOR), None)
        return Collection(
            name,
            rows=int(self.client.get_collection_stats(name, timeout=TIMEOUT)["row_count"]),
            bundle=properties.get("bundle", ""),
            created=properties.get("created", ""),
            aliases=self._aliases(name),
            dimension=int(vector["params"]["dim"]) if vector else 0,
            promoted=properties.get("promoted", ""),
            evaluation=json.loads(properties.get("evaluation", "{}")),
        )

    def _schema(self, dimension: int, columns: Sequence[Column]) -> Any:
        # No nullable, dynamic or second vector field: a server of any version takes this schema.
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=ID_LENGTH)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
        for name in FIXED_FIELDS[1:]:
            schema.add_field(name, DataType.VARCHAR, max_length=TEXT_BYTES)
        for name in TRACES:
            schema.add_field(name, DataType.VARCHAR, max_length=TRACE_LENGTH)
        schema.add_field(KEYPOINTS, DataType.VARCHAR, max_length=LONGEST_TEXT)
        for column in columns:
            if column.numeric:
                schema.add_field(column.field, DataType.DOUBLE)
            else:
                schema.add_field(column.field, DataType.VARCHAR, max_length=TEXT_BYTES)
        return schema

    def _index_params(self, hnsw: Hnsw) -> Any:
        params = self.client.prepare_index_params()
        kind = self.index(hnsw)["type"]
        build = {"M": hnsw.m, "efConstruction": hnsw.ef_construction} if kind == "HNSW" else {}
        params.add_index(VECTOR, index_type=kind, metric_type=METRIC, params=build)
        return params


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _connect(uri: str, token: str | None) -> MilvusClient:
    try:
        return MilvusClient(
            uri=uri, token=token or os.environ.get("MILVUS_TOKEN", ""), timeout=_CONNECT_TIMEOUT
        )
    except (ConnectionConfigException, MilvusException) as error:
        raise UserError(_why_not_open(uri, error)) from None


def _check_folder(folder: Path, create: bool) -> None:
    if folder.is_file():
        raise UserError(f"{folder}: a file; a Milvus Lite database is a folder, give another name")
    if folder.is_dir():
        if damage(folder) is None:
            return
        # Perhaps a writer was seen at work. Where one still is, that is what has to be told.
        with _locked(folder) as alone:
            wrong = damage(folder) if alone else None
        if wrong is not None:
            raise UserError(
                f"{wrong}; Milvus Lite would delete rows to mend it, so nothing was opened: "
                f"{_RESTORE}"
            )
        return
    if not create:
        raise UserError(f"{folder}: no such Milvus database; run `make demo`, or give its place")
    folder.parent.mkdir(parents=True, exist_ok=True)


def _why_not_open(uri: str, error: Exception) -> str:
    if not is_lite(uri):
        first = str(getattr(error, "message", error)).splitlines()[0].replace(uri, shown(uri))
        return f"{shown(uri)}: no answer from Milvus ({first}); check MILVUS_URI and MILVUS_TOKEN"
    if is_locked(Path(uri)):
        return (
            f"{uri}: open in another process; stop it, or share the folder: `milvus-lite server "
            f"--data-dir {uri} --host 127.0.0.1`, with MILVUS_URI=http://127.0.0.1:19530"
        )
    return f"{uri}: Milvus Lite cannot open it; move it away and run `dvc repro ingest`"


def is_locked(folder: Path) -> bool:
    """Whether a process, this one included, has a Milvus Lite folder open."""
    with _locked(folder) as alone:
        return not alone


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock for the block, if it is free or there is none: whether it is."""
    import fcntl

    with ExitStack() as opened:
        alone = True
        with suppress(FileNotFoundError):
            lock = opened.enter_context((folder / "LOCK").open())
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alone = False
        yield alone
