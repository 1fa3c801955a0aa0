"""Trains the detector on pseudo-bundles that are composed as they are needed.

Batch i depends on the seed and i alone, so a run that was killed resumes from its checkpoint and
ends with the weights of an uninterrupted one.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.detector import Detector, DetectorConfig, cell_centres
from models.detector_loss import detection_loss
from serving.atomic import atomic_file
from tasks.material import Material
from tasks.params import Detect
from tasks.progress import console, track
from tasks.pseudo_bundles import compose

Batch = tuple[Tensor, Tensor, Tensor]

MOST = 12
"""Products of a pseudo-bundle that training looks at: the padded length of its boxes."""


class PseudoBundleBatches(Dataset[Batch]):
    """Batch i: images uint8 `[B, 3, S, S]`, boxes `[B, M, 4]`, present bool `[B, M]`."""

    def __init__(self, material: Material, params: Detect, seed: int) -> None:
        self.material = material
        self.params = params
        self.seed = seed

    def __len__(self) -> int:
        """Steps of the whole training."""
        return self.params.training.steps

    def __getitem__(self, index: int) -> Batch:
        size, side = self.params.training.batch, self.params.side
        random = np.random.default_rng([self.seed, index])
        images = np.empty((size, 3, side, side), np.uint8)
        boxes = np.zeros((size, MOST, 4), np.float32)
        present = np.zeros((size, MOST), bool)
        for row in range(size):
            bundle = compose(self.material, side, self.params.pseudo_bundles, random)
            images[row] = bundle.image.transpose(2, 0, 1)
            count = min(len(bundle.boxes), MOST)
            boxes[row, :count] = bundle.boxes[:count]
            present[row, :count] = True
        return torch.from_numpy(images), torch.from_numpy(boxes), torch.from_numpy(present)


@dataclass
class _Run:
    """Everything that training changes."""

    model: Detector
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    step: int = 0

    def save(self, path: Path, key: str) -> None:
        state = {
            "key": key,
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_file(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path, key: str, device: torch.device) -> None:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["key"] == key:
            self.model.load_state_dict(state["model"])
            self.average = state["average"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
            console.print(f"  resuming at step {self.step}, from {path}")


def train_detector(material: Material, params: Detect, seed: int, checkpoints: Path) -> Detector:
    """Train a detector; an unfinished run in `checkpoints` with the same inputs is continued.

    Returns:
        The detector in evaluation mode, on the CPU, with the moving average of its weights.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path, key = checkpoints / "training.pt", _key(material, params, seed)
    run = _start(params, seed, device)
    if path.is_file():
        run.resume(path, key, device)
    loader = DataLoader(
        PseudoBundleBatches(material, params, seed),
        batch_size=None,
        sampler=range(run.step, params.training.steps),
        num_workers=params.training.workers,
        worker_init_fn=_quiet_worker,
    )
    left = params.training.steps - run.step
    for batch in track(loader, "training the detector", total=left):
        _advance(run, batch, params, device)
        if run.step % params.training.checkpoint_steps == 0 and run.step < params.training.steps:
            run.save(path, key)
    run.model.load_state_dict(run.average)
    path.unlink(missing_ok=True)
    model: Detector = run.model.cpu().to(memory_format=torch.contiguous_format)
    model.eval()
    return model


def _start(params: Detect, seed: int, device: torch.device) -> _Run:
    sizes = params.model
    config = DetectorConfig(params.side, sizes.widths, sizes.depths, sizes.head_width)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Detector(config)
    model = model.to(device, memory_format=torch.channels_last).train()
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    vectors = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": params.training.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return _Run(model, average, optimizer)


def _advance(run: _Run, batch: Batch, params: Detect, device: torch.device) -> None:
    training = params.training
    images, products, present = (part.to(device, non_blocking=True) for part in batch)
    inputs = images.to(torch.float32).div_(255).contiguous(memory_format=torch.channels_last)
    for group in run.optimizer.param_groups:
        group["lr"] = training.learning_rate * _rate(run.step, training.steps, training.warmup)
    boxes, logits = run.model.predict(inputs)
    centres = cell_centres(params.side, device)
    score_loss, box_loss = detection_loss(
        boxes,
        logits,
        centres,
        products,
        present,
        candidates=training.candidates,
        sharpness=training.sharpness,
        box_weight=training.box_weight,
    )
    run.optimizer.zero_grad()
    (score_loss + box_loss).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), training.gradient_norm)
    run.optimizer.step()
    run.step += 1
    _follow(run, training.averaging)


@torch.no_grad()
def _follow(run: _Run, averaging: float) -> None:
    # Early on the average forgets faster, or it would remember the random start.
    keep = min(averaging, run.step / (run.step + 10))
    for name, value in run.model.state_dict().items():
        if value.is_floating_point():
            run.average[name].lerp_(value, 1 - keep)
        else:
            run.average[name].copy_(value)


def _rate(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then half a cosine; shares of the highest rate."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _quiet_worker(_: int) -> None:
    import cv2

    # The network owns the cores; a worker that spawns threads of its own slows both.
    cv2.setNumThreads(0)


def _key(material: Material, params: Detect, seed: int) -> str:
    """Digest of everything that the trained weights depend on."""
    digest = hashlib.sha256(f"{seed} {params.model_dump_json()}".encode())
    for sprite in (*material.sprites, *material.drawn):
        digest.update(sprite.alpha.tobytes())
        digest.update(sprite.pixels.tobytes())
    for photo in (*material.photos, *(cutout.photo for cutout in material.cutouts)):
        digest.update(photo.tobytes())
    return digest.hexdigest()
