import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tasks.shared_training.optimizer_and_checkpoint import Run, moving_average, warmup_cosine

STEPS = 12


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).train()


def run(ema_decay: float | None = 0.5) -> Run[nn.Sequential]:
    return Run.start(
        network(), STEPS, learning_rate=0.1, weight_decay=0.1, warmup=0.2, ema_decay=ema_decay
    )


def advance(going: Run[nn.Sequential], steps: int) -> None:
    for step in range(going.step, going.step + steps):
        inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        going.optimizer.zero_grad()
        loss: Tensor = going.network(inputs).square().mean()
        loss.backward()
        going.optimizer.step()
        going.history.setdefault("loss", []).append(loss.item())
        going.advance()


def test_the_rate_rises_and_falls() -> None:
    rates = [warmup_cosine(step, 100, 0.1) for step in range(100)]
    assert max(rates) == rates[9] == rates[10] == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


def test_each_step_takes_its_own_rate() -> None:
    going = run()
    for step in range(STEPS):
        rates = {group["lr"] for group in going.optimizer.param_groups}
        assert rates == {0.1 * warmup_cosine(step, STEPS, 0.2)}
        advance(going, 1)


def test_only_matrices_decay() -> None:
    going = run()
    for group in going.optimizer.param_groups:
        assert {weight.dim() > 1 for weight in group["params"]} == {group["weight_decay"] > 0}
    held = [weight for group in going.optimizer.param_groups for weight in group["params"]]
    assert {*map(id, held)} == {*map(id, going.network.parameters())}


def test_the_average_follows_faster_at_first_and_copies_counts() -> None:
    source = network()
    average = moving_average(source, 0.25)
    expected = source[0].weight.detach().clone()
    for step in range(1, 5):
        with torch.no_grad():
            source[0].weight += step
            source[1].running_mean += step
            source[1].num_batches_tracked += 1
        average.update_parameters(source)
        keep = min(0.25, step / (step + 10))
        expected = keep * expected + (1 - keep) * source[0].weight.detach()
    torch.testing.assert_close(average.module[0].weight, expected)
    assert not torch.equal(average.module[1].running_mean, source[1].running_mean)
    assert average.module[1].num_batches_tracked == 4


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, ema_decay: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(ema_decay)
    advance(whole, STEPS)
    first = run(ema_decay)
    advance(first, 5)
    first.save(tmp_path / "a.pt")
    second = run(ema_decay)
    second.resume(tmp_path / "a.pt")
    assert "going on from step 5 of 12" in capsys.readouterr().out
    advance(second, STEPS - 5)
    assert (second.step, second.history) == (whole.step, whole.history)
    expected = whole.trained()
    assert {*expected} == {*second.network.state_dict()}
    for name, weights in second.trained().items():
        assert torch.equal(weights, expected[name])
    kept = copy.deepcopy(whole.network.state_dict())
    assert all(torch.equal(kept[name], expected[name]) for name in kept) == (ema_decay is None)


def test_a_checkpoint_deletes_those_of_other_trainings(tmp_path: Path) -> None:
    going = run()
    (tmp_path / "other.pt").write_bytes(b"stale")
    going.save(tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    run().resume(tmp_path / "none.pt")


def test_one_process_saves_now_and_then_but_not_at_the_end() -> None:
    going = run()
    due = []
    for step in range(1, STEPS + 1):
        going.step = step
        if going.due(4):
            due.append(step)
    assert due == [4, 8]
    going.leads, going.step = False, 4
    assert not going.due(4)
