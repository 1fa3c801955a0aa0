"""Trains the detector's head on pseudo-bundles whose frozen features are computed once a round.

A round composes a pool of pseudo-bundles and trains on each of them several times: the frozen part
costs ten times the head. Pool and batches depend on the seed, the round and the step alone, so a
run that was killed resumes from its checkpoint and ends with the weights of an uninterrupted one.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.detector.loss import detection_loss
from models.detector.network import Detector, DetectorConfig, Head, cell_centres
from models.onnx.export import export_image_network
from tasks.base.import_closure import code_digest
from tasks.base.params import Detect, DetectorTraining
from tasks.base.progress import track
from tasks.shared_training.optimizer_and_checkpoint import Run
from tasks.synthesis.pseudo_bundle_material import Material
from tasks.synthesis.pseudo_bundles import compose
from unbundle.base.onnx_session import open_session

MOST = 12
"""Products of a pseudo-bundle that are trained on: the padded length of its boxes."""

WEIGHT_DECAY = 0.02
"""Of the head's matrices; vectors are biases and norms, which have none."""

WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""

MAX_GRAD_NORM = 10.0
"""Clipped above: only what would blow up, early steps have norms of a few."""

EMA_DECAY = 0.995
"""Of the weights' moving average, which is what is kept: some 200 steps."""

CANDIDATES = 10
"""Cells that a product may claim."""

SHARPNESS = 2.0
"""Exponent of the IoU in the claim."""

BOX_WEIGHT = 2.0
"""Of the box loss beside the score loss, which is 1."""

LEVELS = ("fine", "middle", "coarse")


@dataclass(frozen=True)
class Pool:
    """N pseudo-bundles as the head sees them.

    Attributes:
        levels: float16 features `[N, C, h, w]` at strides 8, 16 and 32.
        boxes: float32 `[N, MOST, 4]` in input pixels, padded.
        present: bool `[N, MOST]`, which of them are real.
    """

    levels: tuple[Tensor, ...]
    boxes: Tensor
    present: Tensor


def train_detector(material: Material, params: Detect, seed: int, checkpoints: Path) -> Detector:
    """Train a detector; an unfinished run in `checkpoints` with the same inputs is continued.

    Returns:
        The detector in evaluation mode, on the CPU, with the moving average of its head's weights.
    """
    training = params.training
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = checkpoints / f"{_key(material, params, seed)[:16]}.pt"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector = Detector.untrained(
            DetectorConfig(params.image_size, **params.model.model_dump())
        )
    run = _start(detector.head, training, device)
    run.resume(checkpoint)
    features = _features(detector, params.image_size)
    per_round = -(-training.steps // training.rounds)
    while run.step < training.steps:
        number = run.step // per_round
        pool = _compose_pool(material, params, [seed, number], features)
        end = min(training.steps, (number + 1) * per_round)
        for step in track(range(run.step, end), "training the detector"):
            chosen = _chosen(pool, training.batch, step - number * per_round, [seed, number])
            _advance(run, pool, chosen, params, device)
            if run.due(training.checkpoint_steps):
                run.save(checkpoint)
    detector.head.load_state_dict(run.trained())
    shutil.rmtree(checkpoints, ignore_errors=True)
    trained: Detector = detector.cpu().to(memory_format=torch.contiguous_format).eval()
    return trained


def _features(detector: Detector, image_size: int) -> onnxruntime.InferenceSession:
    """The frozen part of the network on ONNX Runtime: on CPUs twice torch's speed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.onnx"
        export_image_network(detector.features, path, "image", image_size, list(LEVELS))
        return open_session(path, None, spinning=True, accelerated=True)


def _start(head: Head, training: DetectorTraining, device: torch.device) -> Run[Head]:
    head = head.to(device).train()
    head.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    return Run.start(
        head,
        training.steps,
        learning_rate=training.learning_rate,
        weight_decay=WEIGHT_DECAY,
        warmup=WARMUP,
        ema_decay=EMA_DECAY,
    )


def _compose_pool(
    material: Material, params: Detect, seed: list[int], session: onnxruntime.InferenceSession
) -> Pool:
    batch = params.training.batch
    starts = range(0, params.training.pool, batch)
    batches = _composed(material, params, seed, starts)
    levels: list[list[NDArray[np.float16]]] = [[] for _ in LEVELS]
    boxes, present = [], []
    for images, found, real in track(batches, "composing pseudo-bundles, batches", len(starts)):
        outputs = session.run(None, {"image": images})
        for level, output in zip(levels, outputs, strict=True):
            level.append(output.astype(np.float16))
        boxes.append(found)
        present.append(real)
    return Pool(
        levels=tuple(torch.from_numpy(np.concatenate(level)) for level in levels),
        boxes=torch.from_numpy(np.concatenate(boxes)),
        present=torch.from_numpy(np.concatenate(present)),
    )


Composed = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def _composed(
    material: Material, params: Detect, seed: list[int], starts: range
) -> Iterator[Composed]:
    size, side = params.training.batch, params.image_size

    def composed(start: int) -> Composed:
        random = np.random.default_rng([*seed, start])
        images = np.empty((size, 3, side, side), np.float32)
        boxes = np.zeros((size, MOST, 4), np.float32)
        present = np.zeros((size, MOST), bool)
        for row in range(size):
            bundle = compose(material, side, params.pseudo_bundles, random)
            images[row] = bundle.image.transpose(2, 0, 1) / np.float32(255)
            count = min(len(bundle.boxes), MOST)
            boxes[row, :count] = bundle.boxes[:count]
            present[row, :count] = True
        return images, boxes, present

    # One thread composes the next batch while the network sees this one.
    with ThreadPoolExecutor(1) as pool:
        yield from pool.map(composed, starts)


def _chosen(pool: Pool, batch: int, place: int, seed: list[int]) -> Tensor:
    """Rows of the pool in the batch at `place` of a round; every pass has an order of its own."""
    per_pass = len(pool.boxes) // batch
    number, position = divmod(place, per_pass)
    order = np.random.default_rng([*seed, 1, number]).permutation(len(pool.boxes))
    return torch.from_numpy(order[position * batch : (position + 1) * batch])


def _advance(
    run: Run[Head], pool: Pool, chosen: Tensor, params: Detect, device: torch.device
) -> None:
    levels = [
        level[chosen].to(device).float().contiguous(memory_format=torch.channels_last)
        for level in pool.levels
    ]
    present = pool.present[chosen]
    # The loss compares every cell with every column of boxes: the batch's fullest photo is enough.
    columns = max(1, int(present.sum(dim=1).max()))
    boxes, logits = run.network(*levels)
    score_loss, box_loss = detection_loss(
        boxes,
        logits,
        cell_centres(params.image_size, device),
        pool.boxes[chosen, :columns].to(device),
        present[:, :columns].to(device),
        candidates=CANDIDATES,
        sharpness=SHARPNESS,
        box_weight=BOX_WEIGHT,
    )
    run.optimizer.zero_grad()
    (score_loss + box_loss).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), MAX_GRAD_NORM)
    run.optimizer.step()
    run.advance()


def _key(material: Material, params: Detect, seed: int) -> str:
    """Digest of everything that the trained weights depend on."""
    digest = hashlib.sha256(f"{seed} {params.model_dump_json()} {code_digest(__name__)}".encode())
    for sprite in (*material.sprites, *material.drawn):
        digest.update(sprite.alpha.tobytes())
        digest.update(sprite.pixels.tobytes())
    for photo in (*material.photos, *(cutout.photo for cutout in material.cutouts)):
        digest.update(photo.tobytes())
    return digest.hexdigest()
