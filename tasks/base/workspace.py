"""Where every stage finds its inputs and leaves its outputs, as `dvc.yaml` says."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The paths of one checkout; `root` is the folder of `dvc.yaml`."""

    root: Path = Path()

    @property
    def catalogue(self) -> Path:
        """Folder: `catalogue.csv` beside its images."""
        return self.root / "data/catalogue"

    @property
    def samples(self) -> Path:
        """Folder: photos to try on the service's page, each with its title in a text file."""
        return self.root / "data/samples"

    @property
    def manifest(self) -> Path:
        """Parquet: the clean rows."""
        return self.root / "data/manifest.parquet"

    @property
    def composed(self) -> Path:
        """Folder: labelled queries made of the gallery's photos; none where people labelled some.

        `queries.parquet` beside their images.
        """
        return self.root / "data/composed"

    @property
    def quarantine(self) -> Path:
        """Parquet: the rows that validation refused, with the reason."""
        return self.root / "data/quarantine.parquet"

    @property
    def validation_report(self) -> Path:
        """Folder: Data Docs and `validation.json`."""
        return self.root / "reports/validation"

    @property
    def detector(self) -> Path:
        """Folder: the trained detector (`config.json`, `model.safetensors`)."""
        return self.root / "artifacts/detector"

    @property
    def detector_network(self) -> Path:
        """ONNX: the trained detector, which the bundle takes over."""
        return self.detector / "detector.onnx"

    @property
    def proposals(self) -> Path:
        """Parquet: boxes of every photo."""
        return self.root / "data/proposals.parquet"

    @property
    def detection_metrics(self) -> Path:
        """JSON: AP50, AP75 and recall per IoU."""
        return self.root / "metrics/detection.json"

    @property
    def detection_report(self) -> Path:
        """Folder: pictures of pseudo-bundles and predictions."""
        return self.root / "reports/detection"

    @property
    def features(self) -> Path:
        """Folder: fp16 shards of visual tokens and their index."""
        return self.root / "data/features"

    @property
    def views(self) -> Path:
        """Folder: visual tokens of training photos' products as bundle photos show them."""
        return self.root / "data/views"

    @property
    def capture(self) -> Path:
        """Folder: the trained CAPTURE model and its tokenizer."""
        return self.root / "artifacts/capture"

    @property
    def checkpoints(self) -> Path:
        """Folder, not an output: what interrupted stages resume from."""
        return self.root / "data/checkpoints"

    @property
    def pretraining_metrics(self) -> Path:
        """JSON: losses and steps."""
        return self.root / "metrics/pretraining.json"

    @property
    def pretraining_report(self) -> Path:
        """Folder: loss curves."""
        return self.root / "reports/pretraining"

    @property
    def bundle(self) -> Path:
        """Folder: the candidate's ONNX networks, tokenizer and `bundle.json`."""
        return self.root / "artifacts/bundle"

    @property
    def bundles(self) -> Path:
        """Folder, not an output: one bundle per promoted version; what serving reads."""
        return self.root / "data/bundles"

    @property
    def journal(self) -> Path:
        """Folder, not an output: live changes of the index, see `unbundle.index.change_journal`."""
        return self.root / "data/journal"

    @property
    def refreshes(self) -> Path:
        """Folder, not an output: receipts of refreshes."""
        return self.root / "data/refresh"

    @property
    def milvus(self) -> Path:
        """The Milvus Lite database, not an output."""
        return self.root / "data/milvus.db"

    @property
    def receipt(self) -> Path:
        """JSON: what ingestion put where."""
        return self.root / "artifacts/ingestion.json"

    @property
    def headline_metrics(self) -> Path:
        """JSON: the ten figures that a person compares."""
        return self.root / "metrics/headline.json"

    @property
    def retrieval_metrics(self) -> Path:
        """JSON: both protocols, slices, misses, baselines."""
        return self.root / "metrics/retrieval.json"

    @property
    def retrieval_report(self) -> Path:
        """Folder: per-query figures, pictures, misses."""
        return self.root / "reports/retrieval"

    @property
    def rankings(self) -> Path:
        """Text: rankings in Product1M's format."""
        return self.root / "rankings/retrieval_id_list.txt"

    @property
    def plots(self) -> Path:
        """HTML, not an output: DVC's plots as pictures."""
        return self.root / "reports/plots.html"

    @property
    def replay_report(self) -> Path:
        """Folder, not an output: what a candidate would have answered to recorded queries."""
        return self.root / "reports/replay"

    @property
    def watch_report(self) -> Path:
        """Folder, not an output: drift since the champion was judged."""
        return self.root / "reports/watch"

    @property
    def promotion(self) -> Path:
        """JSON: the gate's last decision."""
        return self.root / "artifacts/promotion.json"

    @property
    def pending(self) -> Path:
        """JSON: the candidate that waits for a person."""
        return self.root / "artifacts/pending.json"

    @property
    def champion_metrics(self) -> Path:
        """JSON, not an output: how the serving index answers today's queries."""
        return self.root / "reports/champion.json"

    @property
    def ablation(self) -> Path:
        """Folder: per-query figures of each variant of the ablation."""
        return self.root / "data/ablation"

    @property
    def ablation_report(self) -> Path:
        """Folder: the ablation's table."""
        return self.root / "reports/ablation"
