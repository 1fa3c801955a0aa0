from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer

from models.capture.losses import IGNORED
from models.capture.tokenizer import MASK, train_tokenizer
from tasks.base.params import Params, Pretrain, load_params
from tasks.pretraining.batches import Pairs
from tasks.tokens.token_files import FeatureStore
from unbundle.base.atomic import write_json

TITLES = [
    "silk serum rose",
    "silk serum coral",
    "matte lipstick red",
    "",
    "gift set serum lipstick",
]


@pytest.fixture(scope="module")
def settings() -> Pretrain:
    params: Params = load_params(Path(__file__).parents[3] / "params.yaml")
    changes = {"batch": 5, "mix_titles": 1.0, "drop_modality": 0.5}
    return params.pretrain.model_copy(update=changes)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, settings: Pretrain) -> Pairs:
    folder = tmp_path_factory.mktemp("features")
    rng = np.random.default_rng(0)
    ids = ["a", "b", "c", "d", "e", "e"]
    for shard, rows in enumerate((4, 2)):
        tokens = rng.random((rows, 5, 8)).astype(np.float16)
        np.save(folder / f"tokens-{shard:05d}.npy", tokens)
    np.save(folder / "geometry.npy", rng.random((6, 5)).astype(np.float32))
    index = pd.DataFrame({"id": ids, "x0": 0, "y0": 0, "x1": 9, "y1": 9, "score": 0.5})
    index.to_parquet(folder / "index.parquet")
    write_json(folder / "features.json", {"shard_rows": 4, "features": 3})
    manifest = pd.DataFrame(
        {
            "id": list("abcde"),
            "caption": TITLES,
            "split": "train",
            "kind": ["single"] * 4 + ["multi"],
        }
    )
    tokenizer: Tokenizer = train_tokenizer(TITLES, 100)
    store = FeatureStore.open(folder)
    return Pairs(manifest, store, store, tokenizer, settings)


def test_a_batch_depends_on_seed_and_step_alone(pairs: Pairs) -> None:
    first, again, other = pairs.batch(1, 3), pairs.batch(1, 3), pairs.batch(2, 3)
    assert torch.equal(first.masked.ids, again.masked.ids)
    assert torch.equal(first.visual, again.visual)
    assert torch.equal(first.masked_regions[0], again.masked_regions[0])
    assert not torch.equal(first.visual, other.visual)


def test_masked_titles_restore_the_clean_ones(pairs: Pairs) -> None:
    mask_id = pairs.special[MASK]
    seen = 0
    for step in range(20):
        batch = pairs.batch(7, step)
        hidden = batch.labels != IGNORED
        restored = torch.where(hidden, batch.labels, batch.masked.ids)
        assert torch.equal(restored, batch.clean.ids)
        seen += int((batch.masked.ids == mask_id).sum())
    assert seen > 0


def test_an_empty_title_has_no_text_stream(pairs: Pairs) -> None:
    batch = pairs.batch(7, 0)
    empty = (batch.clean.mask.sum(1) == 0).nonzero()
    assert len(empty) == 1


def test_bundles_keep_their_title_and_show_all_their_boxes(pairs: Pairs) -> None:
    batch = pairs.batch(7, 0)
    bundle = int((batch.visual_mask.sum(1) == 2).nonzero())
    shared = min(batch.mixed.ids.shape[1], batch.clean.ids.shape[1])
    assert torch.equal(batch.mixed.ids[bundle, :shared], batch.clean.ids[bundle, :shared])
    pooled = torch.from_numpy(pairs.store.tokens([4, 5])[:, 0].astype(np.float32))
    torch.testing.assert_close(batch.visual[bundle, :2], pooled)


def test_a_single_products_title_is_mixed_with_others(pairs: Pairs) -> None:
    grown = 0
    for step in range(10):
        batch = pairs.batch(7, step)
        single = batch.visual_mask.sum(1) == 5
        grown += int((batch.mixed.mask.sum(1) != batch.clean.mask.sum(1))[single].sum())
    assert grown > 10


def test_a_pair_never_loses_both_modalities(pairs: Pairs) -> None:
    kept = [pairs.batch(7, step) for step in range(20)]
    titles = torch.cat([batch.keep_title for batch in kept])
    photos = torch.cat([batch.keep_photo for batch in kept])
    assert (titles + photos >= 1).all()
    assert (titles == 0).any()
    assert (photos == 0).any()


def test_an_epoch_shows_every_photo_once(pairs: Pairs, settings: Pretrain) -> None:
    two = settings.model_copy(update={"batch": 2})
    halved = Pairs.__new__(Pairs)
    halved.__dict__.update(pairs.__dict__, params=two)
    assert halved.steps_per_epoch == 2
    sums = [round(float(row.sum()), 3) for step in (0, 1) for row in halved.batch(7, step).visual]
    assert len(set(sums)) == 4


def test_rare_words_weigh_more(pairs: Pairs) -> None:
    idf = pairs.idf()
    token = pairs.tokenizer.token_to_id
    assert idf[token("serum")] < idf[token("coral")]
    assert idf[pairs.special[MASK]] == 0
