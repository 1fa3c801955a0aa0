"""Differentiable all-gather and global means for distributed data parallel training.

DistributedDataParallel averages the gradients of its processes. With the negatives `gathered` from
all of them and means that are `process_mean`, the average of the processes' losses is the loss of
the whole batch, and the averaged gradient is its gradient.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together; 1 outside torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _AllGather(torch.autograd.Function):
    # torch.distributed.nn.all_gather is deprecated, and what replaces it is private to torch.
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(processes())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        # Every process's loss depends on everybody's rows.
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total.chunk(processes())[dist.get_rank()]


def gathered(rows: Tensor) -> Tensor:
    """All-gather: all processes' rows `[B, d]`, by rank, of local ones `[B / processes, d]`.

    Gradients of every process's loss flow back to the rows' owners.
    """
    if processes() == 1:
        return rows
    everything: Tensor = _AllGather.apply(rows)  # type: ignore[no-untyped-call]  # torch's own
    return everything


def process_mean(total: Tensor, count: Tensor | float) -> Tensor:
    """A local share of a mean over all processes: their average is the mean.

    Args:
        total: scalar, summed over the local rows.
        count: what the sum over all processes is divided by, its local part; 0 everywhere gives 0.
    """
    whole = torch.as_tensor(count, dtype=torch.float32, device=total.device)
    if processes() > 1:
        whole = whole.clone()
        dist.all_reduce(whole)
    return total * processes() / whole.clamp(min=1e-6)
