import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.capture.losses import IGNORED, PretextHeads, contrast, title_targets
from models.capture.network import CaptureConfig, CaptureOutput


def _states() -> CaptureOutput:
    return CaptureOutput(
        visual_head=torch.rand(2, 4),
        text_head=torch.rand(2, 4),
        read=torch.rand(2, 4),
        alignment=torch.rand(2, 3),
        joint=torch.rand(2, 4),
        text_states=torch.rand(2, 3, 6),
        visual_states=torch.rand(2, 3, 6),
    )


HEADS = PretextHeads(CaptureConfig(vocab_size=7, hidden_size=6, visual_dimension=4))


def test_contrast_with_the_identity_is_the_papers_loss() -> None:
    rows = torch.eye(2)
    # Each row: positive cosine 1, one negative of 0, so -log(e^2 / (e^2 + 1)) at temperature 0.5.
    expected = -math.log(math.exp(2) / (math.exp(2) + 1))
    torch.testing.assert_close(contrast(rows, rows, torch.eye(2), 0.5).item(), expected)


def test_contrast_prefers_the_pairs_that_belong_together() -> None:
    rows = torch.nn.functional.normalize(torch.randn(8, 5), dim=1)
    targets = torch.eye(8)
    assert contrast(rows, rows, targets, 0.1) < contrast(rows, rows.roll(1, 0), targets, 0.1)


@given(
    st.lists(st.lists(st.integers(3, 9), min_size=1, max_size=6), min_size=2, max_size=6),
    st.floats(0.5, 20),
)
def test_title_targets_are_distributions_that_peak_at_the_own_title(
    titles: list[list[int]], sharpness: float
) -> None:
    ids = torch.zeros(len(titles), 6, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, title in enumerate(titles):
        ids[row, : len(title)], mask[row, : len(title)] = torch.tensor(title), 1
    targets = title_targets(ids, mask, torch.ones(10), sharpness)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(titles)))
    assert (targets.diagonal() >= targets.max(1).values - 1e-5).all()


def test_same_words_share_a_target_and_noise_words_do_not_count() -> None:
    ids = torch.tensor([[3, 4, 9], [4, 3, 9], [5, 6, 9]])
    idf = torch.ones(10)
    idf[9] = 0
    targets = title_targets(ids, torch.ones_like(ids), idf, 8)
    torch.testing.assert_close(targets[0], torch.tensor([0.5, 0.5, 0.0]))


def test_photos_without_titles_match_only_themselves() -> None:
    ids = torch.zeros(3, 2, dtype=torch.long)
    targets = title_targets(ids, torch.zeros_like(ids), torch.ones(10), 8)
    torch.testing.assert_close(targets, torch.eye(3))


def test_only_masked_words_and_regions_are_scored() -> None:
    output = _states()
    words = torch.rand(7, 6)
    labels = torch.full((2, 3), IGNORED)
    labels[0, 1] = 4
    loss = HEADS.masked_language(output, words, labels)
    output.text_states[1] = 9.0
    torch.testing.assert_close(HEADS.masked_language(output, words, labels), loss)
    regions, masked = torch.rand(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)
    masked[1, 2] = True
    loss = HEADS.masked_region(output, regions, masked)
    regions[0] += 5
    torch.testing.assert_close(HEADS.masked_region(output, regions, masked), loss)


def test_a_batch_in_which_nothing_is_masked_costs_nothing() -> None:
    output = _states()
    labels = torch.full((2, 3), IGNORED)
    assert HEADS.masked_language(output, torch.rand(7, 6), labels) == 0
    assert HEADS.masked_region(output, torch.rand(2, 3, 4), torch.zeros(2, 3).bool()) == 0
