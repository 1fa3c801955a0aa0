"""Served queries, kept for replays and for the drift watch where `unbundle serve --record` asks.

One line of JSON a query in segments `queries-*.jsonl`, each appended by one process in one write,
and cut off again where the disk took only a part of it: a killed service leaves at most a torn last
line, which readers skip. Photo and title stay out unless they are asked for as well; what they
measure is kept.
"""

import base64
import errno
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from unbundle.base.rate_limited_logging import MINUTE
from unbundle.base.request_limits import RECORD_BYTES, RECORD_DAYS
from unbundle.encoding.encoded_query import EncodedQuery
from unbundle.encoding.query_observer import Observer
from unbundle.query.search import Answer, ProductSearch, Question
from unbundle.ranking.embedding_parts import Vectors
from unbundle.recording.input_statistics import brightness, script
from unbundle.vision.imaging import UploadedPhoto, opened

_log = logging.getLogger("unbundle")
_SEGMENTS = 8  # of the bound; the oldest goes when the bound is reached
_DAY = 86400.0
_HITS = 10  # products of an instance that are kept


@dataclass(frozen=True)
class Recording:
    """What is kept, and how much of it."""

    folder: Path
    content: bool = False
    """Whether photos and titles are kept, too: without them only the same bundle can replay."""
    max_bytes: int = RECORD_BYTES
    """Of all segments; the oldest go first."""
    max_days: float = RECORD_DAYS
    """Older segments go."""


class Seen(BaseModel):
    """One instance of a recorded answer."""

    model_config = ConfigDict(frozen=True)

    box: tuple[float, float, float, float] | None
    score: float
    known: float | None
    in_catalogue: bool
    products: tuple[str, ...]
    """Best first, ten at most."""
    images: tuple[str, ...]
    """Of the products, relative to the catalogue's folder."""
    scores: tuple[float, ...]
    inliers: tuple[int | None, ...] = ()
    """Of the products' photos."""


class Facts(BaseModel):
    """What a photo and a title measure."""

    model_config = ConfigDict(frozen=True)

    width: int | None
    """Of the photo in pixels; None without one."""
    height: int | None
    brightness: float | None
    """Mean of the photo's luma, 0 to 1."""
    title_length: int
    """Characters; 0 without a title."""
    script: str
    """Of most of the title's letters: han, latin, other, or none."""
    unknown: float
    """Share of the title's pieces that the bundle's tokenizer does not know."""


class Record(Facts):
    """One served query."""

    time: datetime
    collection: str
    bundle: str
    milliseconds: float
    digest: str
    """SHA-256 of photo and title."""
    boxes_given: bool
    filtered: bool
    instances: tuple[Seen, ...]
    vectors: str
    """Base64 of float16 `[N, D]`, the instances' query vectors."""
    photo: str | None = None
    """Base64 of the file."""
    caption: str | None = None

    def query_vectors(self) -> Vectors:
        """The instances' query vectors `[N, D]`."""
        flat = np.frombuffer(base64.b64decode(self.vectors), np.float16)
        return flat.reshape(len(self.instances), -1).astype(np.float32)


class _EncodedQueryKept(Observer):
    query: EncodedQuery

    def encoded(self, query: EncodedQuery) -> None:
        self.query = query


class Recorder:
    """Appends records from any thread; a fault of it fails no query, and is told once a minute."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.lost = 0
        """Queries that were answered and could not be recorded."""
        self._lock = threading.Lock()
        self._segment: Path | None = None
        self._whole = 0  # bytes of the segment's whole lines
        self._count = 0
        self._told = -MINUTE

    def answering(self, question: Question, work: Callable[[Question, Observer], Answer]) -> Answer:
        """Answer a query by `work`, and record it.

        Args:
            question: its photo, if any, is a file's bytes or an `UploadedPhoto`.
            work: answers it, in this thread, and shows it to the observer.
        """
        kept, started = _EncodedQueryKept(), time.perf_counter()
        answer = work(question, kept)
        spent = 1000 * (time.perf_counter() - started)
        try:
            record = _record(question, answer, kept.query, spent)
            if self.recording.content:
                photo = _file(question)
                record["photo"] = None if photo is None else base64.b64encode(photo).decode()
                record["caption"] = question.caption
            self._append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        except Exception as error:
            # Whatever a record fails with, the query was answered.
            self._tell(error)
        return answer

    def _tell(self, error: Exception) -> None:
        with self._lock:
            self.lost += 1
            now = time.monotonic()
            if now - self._told < MINUTE:
                return
            self._told = now
        reason = f"{type(error).__name__}: {error}"
        _log.warning("queries are not recorded: %s; %d lost so far", reason, self.lost)

    def _append(self, line: bytes) -> None:
        most = self.recording.max_bytes // _SEGMENTS
        if len(line) > most:
            raise ValueError(f"a record of {len(line):,} bytes, a segment holds {most:,}")
        with self._lock:
            if self._segment is None or self._size() + len(line) > most:
                self._begin_segment(most)
            assert self._segment is not None
            self._write(self._segment, line)

    def _write(self, segment: Path, line: bytes) -> None:
        """Append a whole line or nothing: a disk that fills up takes a part of it, and says so."""
        descriptor = os.open(segment, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            end = os.fstat(descriptor).st_size
            self._whole = min(self._whole, end)  # 0 where another process has cleaned up
            if end > self._whole:
                os.ftruncate(descriptor, self._whole)
            written = os.write(descriptor, line)
            if written < len(line):
                os.ftruncate(descriptor, self._whole)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._whole += written
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        try:
            return self._segment.stat().st_size if self._segment else 0
        except FileNotFoundError:
            return 0  # another process has cleaned up

    def _begin_segment(self, most: int) -> None:
        folder = self.recording.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._prune(self.recording.max_bytes - most)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        self._segment = folder / f"queries-{stamp}-{os.getpid()}-{self._count}.jsonl"
        self._count += 1
        self._whole = 0

    def _prune(self, most: int) -> None:
        kept, oldest = 0, time.time() - self.recording.max_days * _DAY
        for segment in reversed(segments(self.recording.folder)):
            about = segment.stat()
            kept += about.st_size
            if kept > most or about.st_mtime < oldest:
                segment.unlink(missing_ok=True)


def segments(folder: Path) -> list[Path]:
    """The segments of a folder, the oldest first."""
    return sorted(folder.glob("queries-*.jsonl"))


def read_records(folder: Path) -> Iterator[Record]:
    """Every whole record of a folder, the oldest first; torn lines are skipped."""
    for segment in segments(folder):
        with segment.open("rb") as file:
            for line in file:
                try:
                    yield Record.model_validate_json(line)
                except ValueError:
                    continue


def observe(search: ProductSearch, photo: bytes, caption: str) -> Record:
    """Ask an index as a client does; what a service would have recorded of it."""
    question = Question(photo, caption)
    kept, started = _EncodedQueryKept(), time.perf_counter()
    answer = search.ask(question, kept)
    spent = 1000 * (time.perf_counter() - started)
    return Record.model_validate(_record(question, answer, kept.query, spent))


def facts(photo: bytes | None, caption: str, unknown: float) -> dict[str, Any]:
    """What a photo and a title measure, as `Facts` holds it.

    Args:
        photo: the file's bytes.
        caption: the title.
        unknown: share of its pieces that the tokenizer does not know.
    """
    width, height, luma = _measured(photo) if photo is not None else (None, None, None)
    return {
        "width": width,
        "height": height,
        "brightness": luma,
        "title_length": len(caption.strip()),
        "script": script(caption),
        "unknown": unknown,
    }


def _file(question: Question) -> bytes | None:
    match question.photo:
        case None | bytes():
            return question.photo
        case UploadedPhoto():
            return question.photo.file
    raise TypeError(f"{type(question.photo).__name__}: a photo that is recorded is a file's bytes")


def _record(
    question: Question, answer: Answer, query: EncodedQuery, spent: float
) -> dict[str, Any]:
    photo, caption = _file(question), question.caption
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "collection": answer.collection,
        "bundle": answer.bundle,
        "milliseconds": round(spent, 2),
        "digest": hashlib.sha256((photo or b"") + b"\0" + caption.strip().encode()).hexdigest(),
        **facts(photo, caption, query.unknown),
        "instances": [
            {
                "box": instance.box,
                "score": round(instance.score, 4),
                "known": instance.known,
                "in_catalogue": instance.in_catalogue,
                "products": [hit.product for hit in instance.hits[:_HITS]],
                "images": [hit.image for hit in instance.hits[:_HITS]],
                "scores": [round(hit.score, 5) for hit in instance.hits[:_HITS]],
                "inliers": [hit.inliers for hit in instance.hits[:_HITS]],
            }
            for instance in answer.instances
        ],
        "vectors": base64.b64encode(query.vectors.astype(np.float16).tobytes()).decode(),
        "boxes_given": question.boxes is not None,
        # What leaves hits out cannot be compared with what another index answers.
        "filtered": bool(question.filters or question.offset) or question.min_score is not None,
    }


def _measured(photo: bytes) -> tuple[int, int, float]:
    with opened(photo) as image:
        width, height = image.size
        image.draft("L", (64, 64))  # a JPEG is decoded at an eighth of its size
        return width, height, brightness(np.asarray(image.convert("L")))
