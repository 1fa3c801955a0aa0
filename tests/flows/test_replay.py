"""Replay as a flow: what it leaves to look at, and what it says where nothing was recorded."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.served_catalogue import serve
from tests.support.tiny_model_bundle import scene, write_photo
from unbundle.query.search import ProductSearch, Question
from unbundle.recording.query_log import Recorder, Recording


@pytest.mark.usefixtures("prefect_server")
def test_a_replay_leaves_its_figures_and_its_page(tmp_path: Path, left: Any) -> None:
    from flows.replay import replay

    workspace = serve(tmp_path)
    state = replay(tmp_path, return_state=True)
    assert state.name == "Failed"
    assert "no recorded query; serve with `unbundle serve --record" in state.message
    photo = write_photo(tmp_path / "photo.png", scene([1, 2])).read_bytes()
    recorder = Recorder(Recording(tmp_path / "data/queries", content=True))
    with ProductSearch(workspace.bundles, str(workspace.milvus), threads=1) as search:
        recorder.answering(Question(photo, "red"), search.ask)
    state = replay(tmp_path, return_state=True)
    assert state.name == "Completed", state.message
    assert state.message.startswith("1 of 1 recorded queries replayed: the first product changes")
    artifacts = left(state)
    assert '"figure": "overlap", "value": 1.0' in artifacts["replay-figures"]
    assert (workspace.replay_report / "index.html").as_uri() in artifacts["replay-report"]
