"""How long a query takes, beside CLIP, torch, and its own networks and index alone.

    python -m benchmarks.latency --write

Needs the stages' outputs with `export.precision.backbone: int8`. CLIP is transformers' ViT-B/32 at
its default sizes with random weights (speed does not depend on them); its tokenizer's vocabulary is
not to be had here, so it reads as many tokens as CAPTURE does, far fewer than its own would be for
Chinese. Torch runs the same pipeline with its own modules in the networks' places. All arms take
turns, so that whatever else the machine does slows all of them; figures are medians.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
import typer
from numpy.typing import NDArray
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from benchmarks.performance_page import write_section
from benchmarks.synthetic_embeddings import CHUNK, Embeddings
from models.backbone.network import load_backbone
from models.capture.network import CaptureModel
from models.capture.onnx_heads import HEADS, CaptureHeads, export_capture
from models.detector.network import Detector
from models.onnx.export import export_detector
from tasks.base.params import Params, load_params
from tasks.base.progress import track
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.data.splits import rows_of
from unbundle.base.errors import UserError
from unbundle.encoding.capture_inputs import capture_inputs
from unbundle.encoding.model_bundle import BACKBONE, CAPTURE, DETECTOR, Bundle
from unbundle.encoding.query_encoder import Encoder
from unbundle.index.gallery_collection import VECTOR, Item
from unbundle.index.milvus_database import Database
from unbundle.query.search import ProductSearch
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo, crops, letterbox, normalise, open_photo
from unbundle.vision.keypoints import Keypoints

Arm = Callable[[], object]

INSTANCES = 4
K = 10
PRINTS = 64
COLLECTION = "products_000000000000"


class TorchSession:
    """A torch module behind the interface of an ONNX Runtime session."""

    def __init__(self, module: torch.nn.Module, outputs: Sequence[str]) -> None:
        self._module, self._outputs = module.eval(), outputs

    @torch.inference_mode()
    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs called `names`."""
        found = self._module(*(torch.from_numpy(value) for value in inputs.values()))
        rows = found if isinstance(found, tuple) else (found,)
        by_name = dict(zip(self._outputs, rows, strict=True))
        return [by_name[name].numpy() for name in names]


class Clip:
    """CLIP ViT-B/32: a photo and a title to their two vectors."""

    def __init__(self, encoder: Encoder) -> None:
        self._model = CLIPModel(CLIPConfig()).eval()
        self._processor = CLIPImageProcessorPil()
        self._tokenizer = encoder._tokenizer

    @torch.inference_mode()
    def __call__(self, photo: bytes, title: str) -> object:
        """Decoding and pre-processing included."""
        pixels = self._processor(open_photo(photo), return_tensors="pt")["pixel_values"]
        ids = torch.tensor([self._tokenizer.encode(title).ids])
        return self._model(input_ids=ids, pixel_values=pixels)


class VectorEncoder(Encoder):
    """Without local features: what it is compared with has none."""

    def keypoints(self, photo: Photo, boxes: Boxes) -> list[Keypoints]:
        """None."""
        return []


def torch_encoder(bundle: Bundle, workspace: Workspace, params: Params, threads: int) -> Encoder:
    """The pipeline on torch's modules."""
    encoder = VectorEncoder(bundle, threads)
    capture = CaptureHeads(CaptureModel.from_pretrained(workspace.capture))
    backbone = load_backbone(params.features.backbone, params.features.grid)
    detector = Detector.from_pretrained(workspace.detector)
    encoder._capture = TorchSession(capture, HEADS)
    encoder._image_encoder._backbone = TorchSession(backbone, ["tokens"])
    encoder._image_encoder._detector = TorchSession(detector, ["boxes", "scores"])
    return encoder


def fp32_twin(bundle: Bundle, workspace: Workspace, params: Params, folder: Path) -> Bundle:
    """The bundle with fp32 networks, in another folder."""
    shutil.copytree(bundle.folder, folder)
    shutil.copyfile(workspace.features / BACKBONE, folder / BACKBONE)
    detector = Detector.from_pretrained(workspace.detector).eval()
    export_detector(detector, folder / DETECTOR)
    export_capture(CaptureModel.from_pretrained(workspace.capture).eval(), folder / CAPTURE)
    return bundle.model_copy(update={"folder": folder})


def medians(arms: Mapping[str, Arm], repetitions: int) -> dict[str, float]:
    """Milliseconds of each arm; a first round is not timed."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in track(range(repetitions + 1), "rounds"):
        for name, arm in arms.items():
            started = time.perf_counter()
            arm()
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def bare(encoder: Encoder, photo: bytes, title: str) -> tuple[Arm, Arm, Arm]:
    """The three networks alone, on the inputs of one query."""
    pixels = open_photo(photo)
    bundle, image_encoder = encoder.bundle, encoder._image_encoder
    image = letterbox(pixels, bundle.detector.image_size)[0][None]
    boxes = encoder.propose(pixels).boxes
    cut = crops(pixels, boxes, bundle.backbone.image_size)
    inputs = normalise(cut, bundle.backbone.mean, bundle.backbone.std)
    visual = image_encoder.encode([pixels], [boxes])
    heads = capture_inputs(visual, [title] * len(boxes), encoder._tokenizer)
    return (
        lambda: image_encoder._detector.run(["boxes", "scores"], {"image": image}),
        lambda: image_encoder._backbone.run(["tokens"], {"crops": inputs}),
        lambda: encoder._capture.run(list(HEADS), heads),
    )


def fill(database: Database, bundle: Bundle, rows: int, keypoints: Sequence[str]) -> None:
    """A collection of structured vectors that the bundle seems to have made, and real keypoints."""
    gallery = database.create_gallery(
        COLLECTION, bundle.dimension, properties={"bundle": bundle.version}
    )
    made = Embeddings(bundle.embedding)
    for number in track(range(rows // CHUNK), f"rows, chunks of {CHUNK:,}"):
        vectors, _ = made.chunk(number)
        names = [f"r{number}-{row}" for row in range(CHUNK)]
        items = [Item(name, f"p{number}-{row // 4}", "", "") for row, name in enumerate(names)]
        for start in range(0, CHUNK, 2000):
            part = slice(start, start + 2000)
            texts = [keypoints[row % len(keypoints)] for row in range(start, start + 2000)]
            gallery.upsert(items[part], vectors[part], texts)
    gallery.flush()


def printed(workspace: Workspace, bundle: Bundle) -> list[str]:
    """Keypoints of some photos of the gallery, as the index holds them."""
    images = rows_of(read_manifest(workspace.manifest), "gallery")["image"][:PRINTS]
    photos = [open_photo(workspace.catalogue / image) for image in images]
    return Encoder(bundle).encode_gallery(photos, [""] * len(photos)).keypoints


def pick(workspace: Workspace, encoder: Encoder, instances: int) -> tuple[bytes, str]:
    """The first titled dev query in which the detector sees so many products."""
    dev = rows_of(read_manifest(workspace.manifest), "dev")
    asked = dev[dev["caption"] != ""]
    for image, caption in zip(asked["image"], asked["caption"], strict=True):
        path = workspace.catalogue / image
        if len(encoder.propose(open_photo(path)).boxes) == instances:
            return path.read_bytes(), caption
    raise UserError(f"no dev query with {instances} proposals; use a larger catalogue")


def encoding(
    encoders: Mapping[str, Encoder], workspace: Workspace, repetitions: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds from a photo and a title to vectors, and of the networks alone."""
    single, bundle = (pick(workspace, encoders["int8"], count) for count in (1, INSTANCES))
    clip = Clip(encoders["fp32"])
    arms: dict[str, Arm] = {"CLIP": lambda: clip(*single)}
    parts: dict[str, Arm] = {}
    for name, encoder in encoders.items():
        for photo, title, count in ((*single, 1), (*bundle, INSTANCES)):
            arms[f"{name} {count}"] = lambda e=encoder, p=photo, t=title: e.encode(open_photo(p), t)
        for part, arm in zip(
            ("detector", "backbone", "CAPTURE"), bare(encoder, *bundle), strict=True
        ):
            parts[f"{name} {part}"] = arm
    return medians(arms, repetitions), medians(parts, repetitions)


def whole_query(
    bundle: Bundle, workspace: Workspace, rows: int, threads: int, repetitions: int
) -> dict[str, float]:
    """Milliseconds of a query over `rows` products, and of what it cannot do without."""
    with tempfile.TemporaryDirectory() as folder:
        uri = str(Path(folder) / "latency.db")
        with Database(uri, create=True) as database:
            fill(database, bundle, rows, printed(workspace, bundle))
        with ProductSearch(bundle.folder, uri, COLLECTION, threads=threads) as search:
            photo, title = pick(workspace, search.encoder, INSTANCES)
            vectors = search.encoder.encode(open_photo(photo), title).vectors.tolist()
            client = search._database.client
            networks = bare(search.encoder, photo, title)
            arms: dict[str, Arm] = {
                "query": lambda: search(photo, title, K),
                "networks": lambda: [network() for network in networks],
                "index": lambda: client.search(
                    COLLECTION, vectors, anns_field=VECTOR, limit=K, output_fields=["id"]
                ),
            }
            return medians(arms, repetitions)


def table(
    whole: Mapping[str, float], parts: Mapping[str, float], threads: int, repetitions: int
) -> str:
    """Milliseconds as Markdown, with the ratios that count."""
    lines = [
        "| photo + title to vectors, ms | one product | four products | detector alone "
        "| backbone, of four | CAPTURE, of four |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| CLIP ViT-B/32, torch | {whole['CLIP']:.1f} | | | | |",
    ]
    for name in ("torch", "fp32", "int8"):
        title = {"torch": "unbundle, torch"}.get(name, f"unbundle, ONNX {name}")
        cells = [whole[f"{name} 1"], whole[f"{name} {INSTANCES}"]]
        cells += [parts[f"{name} {part}"] for part in ("detector", "backbone", "CAPTURE")]
        lines.append(f"| {title} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    ratios = {
        "CLIP to int8": whole["CLIP"] / whole["int8 1"],
        "CLIP to fp32": whole["CLIP"] / whole["fp32 1"],
        "torch to int8": whole["torch 1"] / whole["int8 1"],
        "torch to int8, four products": whole["torch 4"] / whole["int8 4"],
        "fp32 to int8": whole["fp32 1"] / whole["int8 1"],
    }
    lines += ["", "; ".join(f"{name} {value:.1f}" for name, value in ratios.items()) + ".", ""]
    lines.append(f"Medians of {repetitions} rounds, {threads} threads; {_machine()}.")
    return "\n".join(lines)


def _machine() -> str:
    flags = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    )
    vnni = "with" if "vnni" in flags else "without"
    return f"ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}, CPU {vnni} VNNI"


def query_table(times: Mapping[str, float], rows: int, repetitions: int) -> str:
    """The whole query beside its parts, as Markdown."""
    least = times["networks"] + times["index"]
    return "\n".join(
        [
            f"| query of {INSTANCES} products over {rows:,} rows, Milvus Lite | ms |",
            "| --- | --- |",
            f"| whole query, file to products | {times['query']:.1f} |",
            f"| networks alone | {times['networks']:.1f} |",
            f"| index alone | {times['index']:.1f} |",
            "",
            f"The query takes {times['query'] / least:.2f} times the sum of networks and index "
            f"(medians of {repetitions} rounds).",
        ]
    )


def main(
    root: Annotated[Path, typer.Option(help="Folder of the pipeline's outputs.")] = Path(),
    rows: Annotated[int, typer.Option(help="Of the collection; 0 leaves the query out.")] = 100_000,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    repetitions: Annotated[int, typer.Option(min=1)] = 20,
    write: Annotated[bool, typer.Option(help="Into docs/performance.md.")] = False,
) -> None:
    """Time all arms in turns, and print the tables."""
    torch.set_num_threads(threads)
    workspace, params = Workspace(root), load_params(root / "params.yaml")
    bundle = Bundle.open(workspace.bundle)
    if bundle.int8 is None:
        why = (
            "set export.precision in params.yaml"
            if bundle.declined_int8 is None
            else "it would have lost more than promote.max_int8_loss"
        )
        raise UserError(f"{bundle.folder}: no network is int8; {why}")
    with tempfile.TemporaryDirectory() as folder:
        exact = fp32_twin(bundle, workspace, params, Path(folder) / "fp32")
        encoders = {
            "torch": torch_encoder(exact, workspace, params, threads),
            "fp32": VectorEncoder(exact, threads),
            "int8": VectorEncoder(bundle, threads),
        }
        text = table(*encoding(encoders, workspace, repetitions), threads, repetitions)
    if rows:
        times = whole_query(bundle, workspace, rows, threads, repetitions)
        text += "\n\n" + query_table(times, rows, repetitions)
    typer.echo(text)
    if write:
        write_section("latency", text)


if __name__ == "__main__":
    typer.run(main)
