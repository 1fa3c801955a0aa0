"""The training loop of CAPTURE: one process or several, on CPUs or GPUs, resumed where it stopped.

`torchrun --nproc-per-node N` starts N processes; each trains on its share of every batch, and the
losses are those of the whole batch (`models.capture.ddp`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from transformers import AutoModel

from models.capture.network import CaptureConfig
from tasks.base.params import Params
from tasks.base.progress import console, track
from tasks.pretraining.batches import Pairs
from tasks.pretraining.losses import CaptureForPretraining
from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError

WEIGHT_DECAY = 0.05
"""Of matrices; vectors are biases and norms, which have none."""

WARMUP = 0.1
"""Share of the steps in which the learning rate rises."""

MAX_GRAD_NORM = 1.0
"""Clipped above."""


@dataclass
class Run:
    """A network in training, and how far it is."""

    network: CaptureForPretraining
    optimizer: torch.optim.Optimizer
    steps: int
    leads: bool = True
    """Whether this process writes and prints; one of several does."""
    step: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def start(cls, pairs: Pairs, params: Params) -> "Run":
        """A network with random weights and its optimizer."""
        settings = params.pretrain
        encoder = None
        if settings.text_encoder is not None:
            encoder = AutoModel.from_pretrained(settings.text_encoder)
        torch.manual_seed(params.seed)
        config = CaptureConfig(
            text_encoder=None if encoder is None else encoder.config.to_dict(),
            vocab_size=pairs.tokenizer.get_vocab_size(),
            visual_dimension=pairs.store.dimension,
            **settings.model.model_dump(),
        )
        network = CaptureForPretraining(config, settings, pairs.idf())
        if encoder is not None:
            network.capture.encoder.load_state_dict(encoder.state_dict())
        network.capture.gradient_checkpointing = settings.recompute
        matrices = [weight for weight in network.parameters() if weight.dim() > 1]
        others = [weight for weight in network.parameters() if weight.dim() <= 1]
        groups = [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        return cls(network, optimizer, pairs.steps_per_epoch * settings.epochs)

    def resume(self, checkpoint: Path) -> None:
        """Go on where `checkpoint` stands, if it is there."""
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True, map_location="cpu")
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.history = state["step"], state["history"]
            if self.leads:
                console.print(f"  going on from step {self.step:,} of {self.steps:,}")

    def save(self, checkpoint: Path) -> None:
        """Write all that `resume` needs; older checkpoints beside it are deleted."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": self.history,
        }
        with atomic_file(checkpoint) as temporary:
            torch.save(state, temporary)
        for stale in checkpoint.parent.glob("*.pt"):
            if stale != checkpoint:
                stale.unlink()


def train(pairs: Pairs, params: Params, checkpoint: Path) -> Run:
    """Train a network, from `checkpoint` on where an interrupted run left one.

    Raises:
        UserError: the processes do not share the batch evenly.
    """
    settings = params.pretrain
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no" if settings.precision == "fp32" else settings.precision,
        # Losses of weight 0 leave their heads out.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if settings.batch % accelerator.num_processes:
        raise UserError(
            f"params.yaml: pretrain.batch: {settings.batch} pairs for {accelerator.num_processes}"
            " processes; make it a multiple"
        )
    run = Run.start(pairs, params)
    run.leads = accelerator.is_main_process
    run.resume(checkpoint)
    run.network.to(accelerator.device)
    network, optimizer = accelerator.prepare(run.network, run.optimizer)
    network.train()
    weights = settings.losses.model_dump()
    for step in _steps(run):
        # Dropout draws from torch's generator: seeding each step makes a resumed run exact.
        torch.manual_seed(params.seed * 1_000_003 + step + accelerator.process_index * 2**31)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, run.steps)
        batch = pairs.batch(params.seed, step)
        share = accelerator.process_index, accelerator.num_processes, accelerator.device
        losses = network(batch.part(*share))
        optimizer.zero_grad()
        accelerator.backward(sum(weights[name] * loss for name, loss in losses.items()))
        accelerator.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        run.step = step + 1
        values = accelerator.reduce(torch.stack([*losses.values()]).detach().float(), "mean")
        for name, value in zip(losses, values.tolist(), strict=True):
            run.history.setdefault(name, []).append(value)
        if run.leads and run.step % settings.checkpoint_steps == 0 and run.step < run.steps:
            run.save(checkpoint)
    run.network.to("cpu").eval()
    return run


def _steps(run: Run) -> Iterable[int]:
    left = range(run.step, run.steps)
    return track(left, "CAPTURE, steps") if run.leads else left


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine to zero."""
    rise = max(1, round(steps * WARMUP))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
