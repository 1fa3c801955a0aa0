"""The champion in service: follows the alias from one index and its bundle to the next.

A new champion is opened completely aside (bundle checked, collection loaded, one query answered),
then takes the old one's place in one step. Queries that run on the old one end on it, then it is
closed. So every answer is of one bundle and of the collection that this bundle made.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbundle.base.errors import UserError
from unbundle.index.milvus_database import CHAMPION, Database
from unbundle.index.pymilvus_client import MilvusException
from unbundle.query.search import ProductSearch

_log = logging.getLogger("unbundle")
_NOBODY = "-"  # an id; whether there is such a row does not matter
_WARM_UP = np.full((64, 64, 3), 127, np.uint8)


class NotReadyError(Exception):
    """No champion could be opened yet."""


@dataclass(frozen=True)
class State:
    """What serves, and whether it is what should."""

    collection: str | None
    """None while nothing serves."""
    bundle: str | None
    """Version of the bundle that made the collection."""
    answers: bool
    """Whether its collection answered when it was last asked for a row."""
    problem: str
    """Why what the alias names does not serve; empty while it does."""
    changes: int
    """Champions opened so far."""

    @property
    def ready(self) -> bool:
        """Whether queries are answered; an older champion answers while a newer one has faults."""
        return self.collection is not None and self.answers


class _Champion:
    """An opened search, the number of queries that use it, and whether it was replaced."""

    def __init__(self, search: ProductSearch) -> None:
        self.search = search
        self.users = 0
        self.replaced = False


class LiveChampion:
    """Holds the champion; use it in a `with` block, which follows the alias in a thread.

    Args:
        bundles: as of `ProductSearch`; a folder of bundles by version, for promotions to be seen.
        uri: Milvus, see `unbundle.index.milvus_database.Database`.
        token: of a Milvus server.
        threads: of each network.
        poll: seconds between two looks at the alias.
    """

    def __init__(
        self,
        bundles: Path,
        uri: str | None = None,
        token: str | None = None,
        threads: int = 0,
        poll: float = 3.0,
    ) -> None:
        self._bundles, self._uri, self._token = bundles, uri, token
        self._threads, self._poll = threads, poll
        self._lock = threading.Lock()
        self._champion: _Champion | None = None
        self._answers, self._problem, self._changes = False, "not opened yet", 0
        self._database: Database | None = None
        self._stopping = threading.Event()
        self._following = threading.Lock()
        self._follower = threading.Thread(target=self._follow_on, name="unbundle-follower")

    def __enter__(self) -> "LiveChampion":
        self.follow()
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._follower.join()
        self._replace(None)
        if self._database is not None:
            self._database.close()

    @property
    def state(self) -> State:
        """What serves now."""
        with self._lock:
            search = self._champion.search if self._champion else None
            return State(
                search.gallery.name if search else None,
                search.encoder.bundle.version if search else None,
                self._answers,
                self._problem,
                self._changes,
            )

    @contextmanager
    def champion(self) -> Iterator[ProductSearch]:
        """The champion, open at least until the block ends.

        Raises:
            NotReadyError: there is none yet.
        """
        with self._lock:
            champion = self._champion
            if champion is None:
                raise NotReadyError(self._problem)
            champion.users += 1
        try:
            yield champion.search
        finally:
            with self._lock:
                champion.users -= 1
                unused = champion.replaced and not champion.users
            if unused:
                champion.search.close()

    def overtaken(self, collection: str) -> bool:
        """Whether another index was promoted since; it serves here, too, when this returns.

        Raises:
            NotReadyError: it was, and cannot be opened.
        """
        if self._database is None or self._database.target(CHAMPION) == collection:
            return False
        self.follow()
        if self.state.collection == collection:
            raise NotReadyError(self.state.problem)
        return True

    def follow(self) -> None:
        """Look once where the alias points, and serve that; on a fault keep what serves."""
        with self._following:
            self._follow()

    def _follow(self) -> None:
        try:
            fresh = self._open_other()
        except UserError as error:
            self._tell(str(error))
        except Exception as error:
            # Whatever a new champion fails with, the thread that looks for the next goes on.
            lines = str(error).splitlines() or [""]
            self._tell(f"{type(error).__name__}: {lines[0]}")
        else:
            if fresh is not None:
                self._replace(_Champion(fresh))
                _log.warning("serving %s (bundle %s)", self.state.collection, self.state.bundle)
            self._problem = ""
        self._look()

    def _look(self) -> None:
        """Ask the champion's collection for a row: Milvus may be gone, or someone released it."""
        try:
            with self.champion() as search:
                search.gallery.find(_NOBODY)
            self._answers = True
        except NotReadyError:
            self._answers = False
        except MilvusException as error:
            self._answers = False
            self._tell(f"the index does not answer ({str(error).splitlines()[0]})")

    def _follow_on(self) -> None:
        while not self._stopping.wait(self._poll):
            self.follow()

    def _open_other(self) -> ProductSearch | None:
        if self._database is None:
            self._database = Database(self._uri, self._token)
        target = self._database.target(CHAMPION)
        # Opened again where it went silent: that loads a collection that someone released.
        if target is not None and target == self.state.collection and self._answers:
            return None
        fresh = ProductSearch(
            self._bundles, self._uri, target or CHAMPION, self._token, self._threads
        )
        try:
            fresh(_WARM_UP, caption="-", k=1)
        except BaseException:
            fresh.close()
            raise
        return fresh

    def _replace(self, new: _Champion | None) -> None:
        with self._lock:
            old, self._champion = self._champion, new
            self._changes += new is not None
            if old is not None:
                old.replaced = True
            unused = old is not None and not old.users
        if old is not None and unused:
            old.search.close()

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("%s; %s", problem, "the old index serves" if self._champion else "waiting")
        self._problem = problem
