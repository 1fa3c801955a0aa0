"""A network in training: AdamW, the schedule of its rate, the average of its weights, checkpoints.

The loop is the caller's: it computes a loss, its gradients and the optimiser's step, and then
calls `Run.advance`. A run that is saved and resumed ends with the weights of an uninterrupted one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from tasks.base.progress import console
from unbundle.base.atomic import atomic_file

Network = TypeVar("Network", bound=nn.Module)


@dataclass
class Run(Generic[Network]):
    """Everything that a training changes.

    Attributes:
        network: trained in place.
        optimizer: AdamW.
        schedule: of the optimizer's rate.
        average: moving average of the weights, where the training leaves that.
        steps: of the whole training; `step` of them are done.
        leads: whether this process writes and prints; one of several does.
        history: losses by name, one value a step, as far as the loop keeps them.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    average: AveragedModel | None
    steps: int
    step: int = 0
    leads: bool = True
    history: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        network: Network,
        steps: int,
        *,
        learning_rate: float,
        weight_decay: float,
        warmup: float,
        fused: bool | None = None,
        ema_decay: float | None = None,
    ) -> "Run[Network]":
        """A run before its first step; the network is on the device that it is trained on.

        Args:
            network: its matrices decay, its vectors (biases, norms) do not.
            steps: of the whole training.
            learning_rate: the highest one, see `warmup_cosine`.
            weight_decay: AdamW's (Loshchilov and Hutter, ICLR 2019).
            warmup: share of the steps.
            fused: AdamW's kernel; None is torch's choice. The kernels round differently.
            ema_decay: of the weights' moving average, see `moving_average`; None keeps none.
        """
        weights = [*network.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": [x for x in weights if x.dim() > 1], "weight_decay": weight_decay},
            {"params": [x for x in weights if x.dim() <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
        schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, steps, warmup))
        average = None if ema_decay is None else moving_average(network, ema_decay)
        return cls(network, optimizer, schedule, average, steps)

    def advance(self) -> None:
        """Count a step that the optimizer has taken: its next rate, the average of the weights."""
        self.step += 1
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def trained(self) -> dict[str, Tensor]:
        """The state that the training leaves: the average's, where one is kept."""
        kept = self.network if self.average is None else self.average.module
        return kept.state_dict()

    def due(self, every: int) -> bool:
        """Whether this process is to save: after each `every` steps, but not after the last."""
        return self.leads and self.step % every == 0 and self.step < self.steps

    def save(self, checkpoint: Path) -> None:
        """Write all that `resume` needs; other checkpoints beside it are deleted."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        with atomic_file(checkpoint) as temporary:
            torch.save(state | {"step": self.step, "history": self.history}, temporary)
        for stale in checkpoint.parent.glob("*.pt"):
            if stale != checkpoint:
                stale.unlink()

    def resume(self, checkpoint: Path) -> None:
        """Go on where `checkpoint` stands, if it is there.

        Args:
            checkpoint: named by a digest of the training's inputs and code, so that no run goes on
                from another's.
        """
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True, map_location="cpu")
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.step, self.history = state["step"], state["history"]
            if self.leads:
                console.print(f"  going on from step {self.step:,} of {self.steps:,}")

    def _parts(self) -> dict[str, Any]:
        parts = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts if self.average is None else {**parts, "average": self.average}


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine to zero.

    Args:
        step: steps done, from 0.
        steps: of the whole training.
        warmup: share of the steps; at least one warms up.
    """
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of a network's weights and buffers, from now on.

    Args:
        network: a copy of it is the average so far.
        decay: share that the average keeps at a step, once it has warmed up.
    """
    average = AveragedModel(network, multi_avg_fn=_warmed_up(decay), use_buffers=True)
    # What is there counts as the first: torch would start from the weights after one step.
    average.n_averaged += 1
    return average


def _warmed_up(decay: float) -> Callable[[Any, Any, Any], None]:
    @torch.no_grad()
    def update(average: list[Tensor], current: list[Tensor], averaged: Tensor) -> None:
        # Early on the average forgets faster, or it would remember the random start.
        count = int(averaged)
        keep = min(decay, count / (count + 10))
        if average[0].is_floating_point():
            torch._foreach_lerp_(average, current, 1 - keep)
        else:
            torch._foreach_copy_(average, current)

    return update
