"""The training loop of CAPTURE: one process or several, on CPUs or GPUs, resumed where it stopped.

`torchrun --nproc-per-node N` starts N processes; each trains on its share of every batch, and the
losses are those of the whole batch (`models.capture.ddp`).
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from transformers import AutoModel

from models.capture.network import CaptureConfig
from tasks.base.params import Params
from tasks.base.progress import track
from tasks.pretraining.batches import Pairs
from tasks.pretraining.capture_with_losses import CaptureForPretraining
from tasks.shared_training.optimizer_and_checkpoint import Run
from unbundle.base.errors import UserError

WEIGHT_DECAY = 0.05
"""Of matrices; vectors are biases and norms, which have none."""

WARMUP = 0.1
"""Share of the steps in which the learning rate rises."""

MAX_GRAD_NORM = 1.0
"""Clipped above."""


def start(
    pairs: Pairs, params: Params, kind: type[CaptureForPretraining] = CaptureForPretraining
) -> Run[CaptureForPretraining]:
    """A network with random weights, on the CPU, before its first step; draws from `params.seed`.

    Args:
        pairs: what it is to be trained on.
        params: of the training.
        kind: of the network and its pretext tasks.
    """
    settings = params.pretrain
    encoder = None
    if settings.text_encoder is not None:
        encoder = AutoModel.from_pretrained(settings.text_encoder)
    torch.manual_seed(params.seed)
    config = CaptureConfig(
        text_encoder=None if encoder is None else encoder.config.to_dict(),
        vocab_size=pairs.tokenizer.get_vocab_size(),
        visual_dimension=pairs.store.dimension,
        architecture=kind.network_class.architecture,
        **settings.model.model_dump(),
    )
    network = kind(config, settings, pairs.idf())
    if encoder is not None:
        network.capture.encoder.load_state_dict(encoder.state_dict())
    network.capture.gradient_checkpointing = settings.recompute
    return Run.start(
        network,
        pairs.steps_per_epoch * settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=WEIGHT_DECAY,
        warmup=WARMUP,
        fused=True,
    )


def train(
    pairs: Pairs,
    params: Params,
    checkpoint: Path,
    kind: type[CaptureForPretraining] = CaptureForPretraining,
) -> Run[CaptureForPretraining]:
    """Train a network, from `checkpoint` on where an interrupted run left one.

    Args:
        pairs: what it is trained on.
        params: of the training.
        checkpoint: file, see `checkpoint_name`.
        kind: of the network and its pretext tasks.

    Returns:
        The run after its last step, its network on the CPU in evaluation mode.

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
    run = start(pairs, params, kind)
    run.leads = accelerator.is_main_process
    run.resume(checkpoint)
    run.network.to(accelerator.device)
    network, optimizer = accelerator.prepare(run.network, run.optimizer)
    network.train()
    weights = settings.losses.model_dump()
    for step in _steps(run):
        # Dropout draws from torch's generator: seeding each step makes a resumed run exact.
        torch.manual_seed(params.seed * 1_000_003 + step + accelerator.process_index * 2**31)
        batch = pairs.batch(params.seed, step)
        share = accelerator.process_index, accelerator.num_processes, accelerator.device
        losses = network(batch.part(*share))
        optimizer.zero_grad()
        accelerator.backward(sum(weights[name] * loss for name, loss in losses.items()))
        accelerator.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        run.advance()
        values = accelerator.reduce(torch.stack([*losses.values()]).detach().float(), "mean")
        for name, value in zip(losses, values.tolist(), strict=True):
            run.history.setdefault(name, []).append(value)
        if run.due(settings.checkpoint_steps):
            run.save(checkpoint)
    run.network.to("cpu").eval()
    return run


def _steps(run: Run[CaptureForPretraining]) -> Iterable[int]:
    left = range(run.step, run.steps)
    return track(left, "CAPTURE, steps") if run.leads else left
