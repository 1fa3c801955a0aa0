import base64
import errno
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.base.workspace import Workspace
from tests.support.served_catalogue import service
from tests.support.tiny_model_bundle import scene
from unbundle.base.request_limits import Limits
from unbundle.query.search import ProductSearch, Question
from unbundle.recording.input_statistics import script
from unbundle.recording.query_log import Recorder, Recording, read_records, segments

LIMITS = Limits(poll=60)


def png(*products: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(scene(products)).save(file, "PNG")
    return file.getvalue()


def test_a_query_is_recorded_without_its_photo_and_title(served: Workspace, tmp_path: Path) -> None:
    recorder = Recorder(Recording(tmp_path / "queries"))
    photo = png(3, 1)
    query = {"photo": base64.b64encode(photo).decode(), "caption": "red 面霜 ж", "k": 2}
    with service(served.bundles, served.milvus, LIMITS, recorder=recorder) as running:
        answer = running.client.post("/search", json=query).json()
        assert running.client.post("/search", json={"k": 0}).status_code == 422
        running.client.post("/search", json={"caption": "red", "filters": {"price": {"min": 12}}})
    both, title = read_records(tmp_path / "queries")
    assert (both.collection, both.bundle) == (answer["collection"], answer["bundle"])
    assert [seen.products for seen in both.instances] == [
        tuple(hit["label"] for hit in instance["hits"]) for instance in answer["instances"]
    ]
    assert [list(seen.box or ()) for seen in both.instances] == [
        instance["box"] for instance in answer["instances"]
    ]
    assert (both.width, both.height, both.title_length, both.script) == (64, 64, 8, "latin")
    assert both.brightness == pytest.approx(
        np.asarray(Image.open(io.BytesIO(photo)).convert("L")).mean() / 255, abs=1e-3
    )
    assert both.unknown == pytest.approx(2 / 3, abs=1e-3)
    assert (both.photo, both.caption, both.filtered) == (None, None, False)
    assert (title.width, title.filtered, len(title.instances)) == (None, True, 1)
    text = segments(tmp_path / "queries")[0].read_text()
    assert "面霜" not in text
    assert base64.b64encode(photo).decode()[:60] not in text
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as search:
        expected = search.encoder.encode(scene([3, 1]), "red 面霜 ж").vectors
    np.testing.assert_allclose(both.query_vectors(), expected, atol=1e-3)


def test_photo_and_title_are_kept_where_they_are_asked_for(
    served: Workspace, tmp_path: Path
) -> None:
    recorder = Recorder(Recording(tmp_path, content=True))
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as search:
        recorder.answering(Question(png(2), "red"), search.ask)
    (record,) = read_records(tmp_path)
    assert base64.b64decode(record.photo or "") == png(2)
    assert record.caption == "red"


def test_the_folder_stays_within_its_bound_and_its_age(served: Workspace, tmp_path: Path) -> None:
    most = 20_000
    recorder = Recorder(Recording(tmp_path, max_bytes=most, max_days=1))
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as search:

        def ask(number: int) -> None:
            recorder.answering(Question(caption=f"red {number}"), search.ask)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(ask, range(60)))
        sizes = [segment.stat().st_size for segment in segments(tmp_path)]
        assert most / 2 < sum(sizes) <= most
        records = list(read_records(tmp_path))
        assert len(records) == sum(
            len(segment.read_text().splitlines()) for segment in segments(tmp_path)
        )
        for segment in segments(tmp_path):
            os.utime(segment, (0, 0))
        for number in range(20):
            ask(number)
    assert all(segment.stat().st_mtime > 0 for segment in segments(tmp_path))
    assert sum(1 for _ in read_records(tmp_path)) <= 20


def test_a_torn_line_costs_one_record(served: Workspace, tmp_path: Path) -> None:
    recorder = Recorder(Recording(tmp_path))
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as search:
        for _ in range(3):
            recorder.answering(Question(caption="red"), search.ask)
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-40])
    assert len(list(read_records(tmp_path))) == 2


def test_a_folder_that_cannot_be_written_fails_no_query(
    served: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    recorder = Recorder(Recording(tmp_path / "file"))
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as search:
        for _ in range(2):
            answer = recorder.answering(Question(caption="red"), search.ask)
            assert answer.instances
    assert [record.message for record in caplog.records if "not recorded" in record.message] == [
        f"queries are not recorded: FileExistsError: [Errno 17] File exists: '{tmp_path}/file'"
        "; 1 lost so far"
    ]
    assert recorder.lost == 2


def test_a_full_disk_leaves_whole_lines_and_counts_what_is_lost(
    served: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write, room = os.write, 10**9

    def until_full(descriptor: int, line: bytes) -> int:
        nonlocal room
        taken = write(descriptor, line[:room])
        room -= taken
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken

    recorder = Recorder(Recording(tmp_path / "queries"))
    with service(served.bundles, served.milvus, LIMITS, recorder=recorder) as running:

        def ask(number: int) -> None:
            query = {"caption": f"red {number}"}
            assert running.client.post("/search", json=query).status_code == 200

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "write", until_full)
            ask(0)
            room = 100
            for number in (1, 2, 3):
                ask(number)
            room = 10**9
            ask(4)
        assert "unbundle_records_lost_total 3.0" in running.client.get("/metrics").text
    assert len(list(read_records(tmp_path / "queries"))) == 2
    for segment in segments(tmp_path / "queries"):
        assert all(line.endswith(b"}\n") for line in segment.read_bytes().splitlines(True))
    assert len([one for one in caplog.records if "not recorded" in one.getMessage()]) == 1


def test_a_record_larger_than_a_segment_is_counted(served: Workspace, tmp_path: Path) -> None:
    recorder = Recorder(Recording(tmp_path, max_bytes=80))
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as search:
        recorder.answering(Question(caption="red"), search.ask)
    assert recorder.lost == 1
    assert not segments(tmp_path)


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("AHC 爽肤水 面霜套装", "han"),
        ("Silk serum 水", "latin"),
        ("крем", "other"),
        ("12 %", "none"),
    ],
)
def test_a_title_has_the_script_of_most_letters(title: str, kind: str) -> None:
    assert script(title) == kind
