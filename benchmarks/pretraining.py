"""Speed of pretraining beside a straightforward implementation of the same sizes.

    python -m benchmarks.pretraining --steps 12 --write docs/pretraining-speed.md

Needs the pipeline's `data/manifest.parquet` and `data/features/`. The straightforward one follows
the published code: titles and regions padded to their limits, pairs collated one by one, words and
regions predicted at every place and then masked, `nn.MultiheadAttention`, AdamW tensor by tensor.
Both compute the same losses over the same pairs, in turns, so that whatever else the machine does
slows both.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from models.capture.losses import IGNORED
from models.capture.network import Attention, CaptureConfig, CaptureOutput
from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.data.splits import rows_of
from tasks.pretraining.batches import Batch, Pairs, Titles
from tasks.pretraining.capture_with_losses import CaptureForPretraining
from tasks.pretraining.choose_tokenizer import tokenizer_of
from tasks.pretraining.training import MAX_GRAD_NORM, start
from tasks.tokens.token_files import FeatureStore
from unbundle.base.atomic import atomic_file

Step = Callable[[int], None]


class EagerAttention(nn.Module):
    """`nn.MultiheadAttention` behind the interface of `models.capture.network.Attention`."""

    def __init__(self, config: CaptureConfig) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(
            config.hidden_size, config.attention_heads, batch_first=True
        )

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Attend `[B, L, H]` over `[B, S, H]`; a wholly masked context gives zeros."""
        hidden = (mask == 0) & mask.any(dim=1, keepdim=True)
        attended, _ = self.inner(x, context, context, key_padding_mask=hidden, need_weights=True)
        zeroed: Tensor = attended * mask.any(dim=1)[:, None, None]
        return zeroed


class EagerPretraining(CaptureForPretraining):
    """The same losses, predicted at every place and then masked."""

    def __init__(self, config: CaptureConfig, params: Params, idf: Tensor) -> None:
        super().__init__(config, params.pretrain, idf)
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, Attention):
                    setattr(module, name, EagerAttention(config))
        self.heads.masked_language = self._words  # type: ignore[method-assign]  # the point
        self.heads.masked_region = self._regions  # type: ignore[method-assign]  # the point

    def _words(self, output: CaptureOutput, words: Tensor, labels: Tensor) -> Tensor:
        logits = self.heads.word_logits(output.text_states, words)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    def _regions(self, output: CaptureOutput, regions: Tensor, masked: Tensor) -> Tensor:
        error = (self.heads.region_features(output.visual_states) - regions).square().mean(dim=2)
        scale = regions[masked].square().mean().clamp(min=1e-6)
        return (error * masked).sum() / masked.sum().clamp(min=1) / scale


def collate(pairs: Pairs, seed: int, step: int, params: Params) -> Batch:
    """A batch pair by pair, every tensor padded to the limits of the sizes."""
    sizes = params.pretrain.model
    whole = pairs.batch(seed, step)
    rows = [
        whole.part(row, len(whole.visual), torch.device("cpu")) for row in range(len(whole.visual))
    ]

    def padded(tensors: list[Tensor], length: int, fill: float = 0) -> Tensor:
        filled = []
        for tensor in tensors:
            missing = length - tensor.shape[1]
            pad = [0, 0] * (tensor.dim() - 2) + [0, missing]
            filled.append(F.pad(tensor, pad, value=fill))
        return torch.cat(filled)

    def titles(kind: str) -> Titles:
        found = [getattr(row, kind) for row in rows]
        length = sizes.title_tokens
        return Titles(
            padded([title.ids for title in found], length),
            padded([title.mask for title in found], length),
        )

    clean = Titles(
        padded([whole.clean.ids], sizes.title_tokens),
        padded([whole.clean.mask], sizes.title_tokens),
    )
    hidden = zip(*(row.masked_regions for row in rows), strict=True)
    return Batch(
        clean=clean,
        place=whole.place,
        masked=titles("masked"),
        labels=padded([row.labels for row in rows], sizes.title_tokens, IGNORED),
        mixed=titles("mixed"),
        own=padded([row.own for row in rows], sizes.title_tokens, IGNORED),
        visual=padded([row.visual for row in rows], sizes.regions),
        geometry=padded([row.geometry for row in rows], sizes.regions),
        visual_mask=padded([row.visual_mask for row in rows], sizes.regions),
        seen=padded([row.seen for row in rows], sizes.regions),
        seen_geometry=padded([row.seen_geometry for row in rows], sizes.regions),
        masked_regions=tuple(padded(list(parts), sizes.regions) for parts in hidden),  # type: ignore[arg-type]  # two
        keep_title=whole.keep_title,
        keep_photo=whole.keep_photo,
    )


def trainer(
    network: CaptureForPretraining,
    optimizer: torch.optim.Optimizer,
    batch: Callable[[int], Batch],
    params: Params,
) -> Step:
    """One optimisation step of a network, as the training loop makes it."""
    weights = params.pretrain.losses.model_dump()
    network.train()

    def step(number: int) -> None:
        losses = network(batch(number))
        optimizer.zero_grad()
        sum(weights[name] * loss for name, loss in losses.items()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
        optimizer.step()

    return step


def main(
    steps: Annotated[int, typer.Option(help="Timed steps of each.")] = 12,
    write: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
) -> None:
    """Time both, in turns, and print samples per second and what our step spends its time on."""
    params, workspace = load_params(), Workspace()
    manifest = read_manifest(workspace.manifest)
    titles = rows_of(manifest, "train")["caption"].tolist()
    tokenizer = tokenizer_of(params.pretrain, titles)
    stores = FeatureStore.open(workspace.features), FeatureStore.open(workspace.views)
    pairs = Pairs(manifest, *stores, tokenizer, params.pretrain)
    run = start(pairs, params)
    ours = trainer(run.network, run.optimizer, lambda step: pairs.batch(params.seed, step), params)
    eager_network = EagerPretraining(run.network.capture.config, params, pairs.idf())
    eager_optimizer = torch.optim.AdamW(
        eager_network.parameters(), lr=params.pretrain.learning_rate, foreach=False
    )
    eager = trainer(
        eager_network,
        eager_optimizer,
        lambda step: collate(pairs, params.seed, step, params),
        params,
    )
    times: dict[str, list[float]] = {"unbundle": [], "straightforward": []}
    for number in range(steps + 1):
        for name, step in (("unbundle", ours), ("straightforward", eager)):
            started = time.perf_counter()
            step(number)
            times[name].append(time.perf_counter() - started)
    # The first step of each plans its memory.
    medians = {name: float(np.median(values[1:])) for name, values in times.items()}
    table = report(medians, params.pretrain.batch, where_time_goes(ours, steps + 1))
    typer.echo(table)
    if write is not None:
        with atomic_file(write) as temporary:
            temporary.write_text(table, encoding="utf-8")


def where_time_goes(step: Step, number: int) -> list[tuple[str, float]]:
    """The operators of one step and their share of its CPU time, largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step(number)
    found = profiler.key_averages()
    whole = sum(entry.self_cpu_time_total for entry in found)
    shares = [(entry.key, entry.self_cpu_time_total / whole) for entry in found]
    return sorted(shares, key=lambda share: -share[1])[:8]


def report(medians: dict[str, float], batch: int, shares: list[tuple[str, float]]) -> str:
    """The figures as Markdown."""
    ratio = medians["straightforward"] / medians["unbundle"]
    lines = ["| pretraining step | median ms | samples/s |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {1000 * seconds:.0f} | {batch / seconds:.0f} |"
        for name, seconds in medians.items()
    ]
    lines += ["", f"Ratio: {ratio:.2f}.", "", "| operator | share of our step |", "| --- | --- |"]
    lines += [f"| `{name}` | {share:.0%} |" for name, share in shares]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
