"""A tiny real bundle and the world that it sees: products of four colours, in quarters of a photo.

The detector scores the brightness of the four quarters, the backbone pools colours over a grid of
2 x 2, CAPTURE projects pooled tokens and words at random. So a product is found by its colours, and
a title by its words.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from unbundle.base.atomic import write_json
from unbundle.encoding.hashed_tfidf import inverse_document_frequencies
from unbundle.encoding.model_bundle import FILES, FORMAT, version_of
from unbundle.ranking.embedding_parts import TERMS
from unbundle.ranking.open_set_model import FEATURES
from unbundle.vision.imaging import Photo

SIDE = 32  # of the detector's input
CROP = 16  # of the backbone's input
TOKEN = 12  # numbers in a visual token
CHANNELS = 9  # of them, the feature map's; the others are colours
HEAD = 8  # numbers in each of CAPTURE's outputs
LEXICAL = 16  # numbers of a title's words
WORDS = ("red", "green", "blue", "cream", "serum", "lipstick", "面", "霜", "口", "红")
BLANK = np.zeros((64, 64, 3), np.uint8)
"""A photo in which the detector sees nothing."""


def product(number: int, side: int = 30) -> Photo:
    """One product: four bright colours of its own."""
    colours = np.random.default_rng(number).integers(160, 256, (2, 2, 3), dtype=np.uint8)
    return np.repeat(np.repeat(colours, side // 2, axis=0), side // 2, axis=1)


def scene(products: Sequence[int], side: int = 64) -> Photo:
    """A black photo with up to four products: top left, top right, bottom left, bottom right."""
    photo = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    for place, number in enumerate(products):
        top, left = place // 2 * half + 1, place % 2 * half + 1
        photo[top : top + half - 2, left : left + half - 2] = product(number, half - 2)
    return photo


def write_photo(path: Path, photo: Photo) -> Path:
    """Save pixels without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(path)
    return path


def png(photo: Photo) -> bytes:
    """A photo as a file."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    return file.getvalue()


def write_gallery(root: Path, products: int = 6, photos: int = 2) -> list[str]:
    """Write images below `root/data/catalogue` and `root/data/manifest.parquet`; return the ids.

    Photo `g<product>-<view>` shows product `<product>`; views differ in the quarter. Two rows of
    other splits follow.
    """
    rows = [
        (f"g{number}-{view}", scene([number]), number, view)
        for number in range(products)
        for view in range(photos)
    ]
    table: list[dict[str, object]] = []
    for identifier, photo, number, view in rows:
        image = f"images/{identifier}.png"
        shown = np.clip(photo.astype(int) - 3 * view, 0, 255).astype(np.uint8)
        write_photo(root / "data/catalogue" / image, shown)
        table.append(_row(identifier, image, f"red cream {number}", [f"product-{number}"], number))
    write_photo(root / "data/catalogue/images/q.png", scene([0, 1, 2]))
    table.append(_row("t0", "images/q.png", "", [], 0) | {"split": "train"})
    table.append(_row("q0", "images/q.png", "red", ["product-0"], 0) | {"split": "dev"})
    schema = pa.schema([("boxes", pa.list_(pa.list_(pa.int64())))])
    columns = {key: [row[key] for row in table] for key in table[0] if key != "boxes"}
    arrays = pa.table(columns).append_column(schema.field(0), pa.nulls(len(table), schema.types[0]))
    pa.parquet.write_table(arrays, root / "data/manifest.parquet")
    return [identifier for identifier, *_ in rows]


def _row(
    identifier: str, image: str, caption: str, labels: list[str], number: int
) -> dict[str, object]:
    return {
        "id": identifier,
        "image": image,
        "caption": caption,
        "labels": labels,
        "split": "gallery",
        "kind": "single",
        "boxes": None,
        "width": 64,
        "height": 64,
        "price": str(10 + number),
        "brand": f"brand-{number % 2}",
    }


def write_bundle(folder: Path, seed: int = 0) -> Path:
    """Write a bundle; another seed gives another one with another version."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    onnx.save(_detector(), folder / "detector.onnx")
    onnx.save(_backbone(), folder / "backbone.onnx")
    onnx.save(_capture(rng), folder / "capture.onnx")
    _tokenizer().save(str(folder / "tokenizer.json"))
    np.save(folder / "keypoints.npy", np.eye(128, 16, dtype=np.float32))
    np.save(folder / "axes.npy", np.eye(CHANNELS, dtype=np.float16))
    titles = [f"red cream {number}" for number in range(6)]
    np.save(folder / "idf.npy", inverse_document_frequencies(titles))
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    settings = {
        "format": FORMAT,
        "sha256": digests,
        "detector": {"side": SIDE, "min_score": 0.4, "nms_iou": 0.5, "max_proposals": 8},
        "backbone": {
            "name": "colours",
            "side": CROP,
            "mean": [0.8, 0.8, 0.8],
            "std": [0.1, 0.1, 0.1],
            "grid": 2,
            "dimension": TOKEN,
            "features": CHANNELS,
        },
        "capture": {"title_tokens": 12, "regions": 36, "dimension": HEAD},
        "embedding": {
            "parts": ["raw", "colour", "visual", "text", "joint", "lexical"],
            "dimensions": [CHANNELS, TOKEN - CHANNELS, HEAD, HEAD, HEAD, LEXICAL],
            "weights": {
                "both": _weights(raw=1.0, colour=0.5, visual=0.5, text=0.3, joint=0.2, lexical=0.2),
                "photo": _weights(raw=1.0, colour=0.5, visual=0.5, joint=0.2),
                "title": _weights(text=1.0, joint=0.2, lexical=0.5),
            },
        },
        "keypoints": {
            "side": 96,
            "count": 60,
            "contrast": 0.02,
            "edge": 20,
            "ratio": 0.85,
            "tolerance": 5,
            "like": 6,
            "photos": 40,
            "dimension": 16,
        },
        "verification": {"both": 0.02, "photo": 0.02},
        "expansion": {"both": 0.25, "photo": 0.25},
        "known": {
            mode: {
                "weights": dict.fromkeys(FEATURES, 0.0) | {"score": 8.0, "lead": 4.0, "bias": -5.5},
                "threshold": 0.5,
            }
            for mode in ("both", "photo")
        },
        "parity": {
            "detector": {"max_difference": 0.0, "min_cosine": 1.0, "top10_agreement": None},
            "backbone": {"max_difference": 0.0, "min_cosine": 1.0, "top10_agreement": None},
            "capture": {"max_difference": 0.0, "min_cosine": 1.0, "top10_agreement": None},
        },
    }
    write_settings(folder, settings)
    return folder


def read_settings(folder: Path) -> dict[str, Any]:
    """A bundle's settings, to be changed and written by `write_settings`."""
    settings: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    return settings


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write `bundle.json` with the version that its content has."""
    write_json(folder / "bundle.json", settings | {"version": version_of(settings)})


def _weights(**weights: float) -> dict[str, float]:
    return {term: weights.get(term, 0.0) for term in TERMS}


class _Graph:
    """Collects the nodes of an ONNX model; each method returns the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: object) -> str:
        name = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def unit(self, rows: str, output: str) -> str:
        length = self.add("ReduceL2", rows, self.constant(np.asarray([-1])), keepdims=1)
        safe = self.add("Max", length, self.constant(np.asarray(1e-9, np.float32)))
        return self.add("Div", rows, safe, output=output)

    def model(
        self,
        inputs: dict[str, tuple[int, list[str | int]]],
        outputs: dict[str, list[str | int]],
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            "tiny",
            [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
            ],
            self._constants,
        )
        opset = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=10)
        onnx.checker.check_model(model)
        return model


def _detector() -> onnx.ModelProto:
    graph, half = _Graph(), SIDE // 2
    bright = graph.add("ReduceMax", "image", graph.constant(np.asarray([1])), keepdims=1)
    quarters = graph.add("AveragePool", bright, kernel_shape=[half, half], strides=[half, half])
    graph.add("Reshape", quarters, graph.constant(np.asarray([-1, 4])), output="scores")
    boxes = [[x + 1, y + 1, x + half - 1, y + half - 1] for y in (0, half) for x in (0, half)]
    batch = graph.add("Shape", "image", start=0, end=1)
    shape = graph.add("Concat", batch, graph.constant(np.asarray([4, 4])), axis=0)
    fixed = graph.constant(np.asarray([boxes], np.float32))
    graph.add("Expand", fixed, shape, output="boxes")
    return graph.model(
        {"image": (TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])},
        {"boxes": ["batch", 4, 4], "scores": ["batch", 4]},
    )


def _backbone() -> onnx.ModelProto:
    graph, half = _Graph(), CROP // 2
    pooled = graph.add("AveragePool", "crops", kernel_shape=[half, half], strides=[half, half])
    whole = graph.add("Reshape", pooled, graph.constant(np.asarray([0, 1, TOKEN])))
    flat = graph.add("Reshape", pooled, graph.constant(np.asarray([0, 3, 4])))
    regions = graph.add("Transpose", flat, perm=[0, 2, 1])
    tiled = graph.add("Concat", *[regions] * (TOKEN // 3), axis=2)
    graph.add("Concat", whole, tiled, axis=1, output="tokens")
    return graph.model(
        {"crops": (TensorProto.FLOAT, ["batch", 3, CROP, CROP])},
        {"tokens": ["batch", 5, TOKEN]},
    )


def _capture(rng: np.random.Generator) -> onnx.ModelProto:
    graph = _Graph()

    def weights(*shape: int) -> str:
        return graph.constant(rng.normal(size=shape).astype(np.float32))

    def pool(tokens: str, mask: str) -> str:
        cast = graph.add("Cast", mask, to=TensorProto.FLOAT)
        column = graph.add("Unsqueeze", cast, graph.constant(np.asarray([2])))
        masked = graph.add("Mul", tokens, column)
        return graph.add("ReduceSum", masked, graph.constant(np.asarray([1])), keepdims=0)

    words = graph.add("Gather", weights(len(WORDS) + 4, HEAD), "input_ids")
    text = graph.unit(pool(words, "attention_mask"), "text_head")
    placed = graph.add("Add", "visual", graph.add("MatMul", "geometry", weights(5, TOKEN)))
    seen = graph.add("MatMul", pool(placed, "visual_mask"), weights(TOKEN, HEAD))
    visual = graph.unit(seen, "visual_head")
    graph.unit(graph.add("Add", text, visual), "joint")
    graph.add("Identity", text, output="read")
    # A word belongs to what its embedding is near.
    column = graph.add("Unsqueeze", visual, graph.constant(np.asarray([2])))
    near = graph.add("Squeeze", graph.add("MatMul", words, column), graph.constant(np.asarray([2])))
    graph.add("Sigmoid", near, output="alignment")
    return graph.model(
        {
            "input_ids": (TensorProto.INT64, ["batch", "words"]),
            "attention_mask": (TensorProto.INT64, ["batch", "words"]),
            "visual": (TensorProto.FLOAT, ["batch", "regions", TOKEN]),
            "geometry": (TensorProto.FLOAT, ["batch", "regions", 5]),
            "visual_mask": (TensorProto.INT64, ["batch", "regions"]),
        },
        {
            **{name: ["batch", HEAD] for name in ("visual_head", "text_head", "read", "joint")},
            "alignment": ["batch", "words"],
        },
    )


def _tokenizer() -> Tokenizer:
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    vocabulary = {word: number for number, word in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer
