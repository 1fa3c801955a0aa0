"""The title tokenizer: WordPiece trained on the shop's own titles, or a given vocabulary."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer

PAD, UNKNOWN, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = [PAD, UNKNOWN, CLS, SEP, MASK]


def hanzi() -> list[str]:
    """The 6,763 Chinese characters of GB 2312, so that a title unseen in training has no [UNK]."""
    characters = []
    for high in range(0xB0, 0xF8):
        for low in range(0xA1, 0xFF):
            characters.append(bytes([high, low]).decode("gb2312", errors="ignore"))
    return [character for character in characters if character]


def train_tokenizer(titles: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train WordPiece on titles; every GB 2312 character is a piece of its own.

    Args:
        titles: the training photos' titles.
        vocab_size: pieces of two letters or more.
    """
    learner = _bert(WordPiece(unk_token=UNKNOWN))
    titles, alphabet = list(titles), hanzi()
    seen = {character for title in titles for character in learner.normalizer.normalize_str(title)}
    letters = sorted((seen | set(map(chr, range(33, 127)))) - set(alphabet) - {" "})
    # The trainer numbers the pieces inside words in the order of a hash map, and breaks ties by
    # number: two runs would differ. Named beforehand, they have numbers of their own.
    inner = [f"##{letter}" for letter in letters]
    trainer = WordPieceTrainer(
        vocab_size=vocab_size + len(SPECIAL) + len(inner) + len(letters) + len(alphabet),
        special_tokens=[*SPECIAL, *inner],
        initial_alphabet=[*letters, *alphabet],
        show_progress=False,
    )
    learner.train_from_iterator(titles, trainer)
    return _with_specials(_bert(WordPiece(learner.get_vocab(), unk_token=UNKNOWN)))


def load_vocabulary(path: Path) -> Tokenizer:
    """A tokenizer from a BERT `vocab.txt`, one piece a line."""
    pieces = path.read_text(encoding="utf-8").split("\n")
    vocabulary = {piece: row for row, piece in enumerate(pieces) if piece}
    return _with_specials(_bert(WordPiece(vocabulary, unk_token=UNKNOWN)))


def encoder_tokenizer(name: str | Path) -> Tokenizer:
    """The tokenizer of a Hugging Face text encoder, by local path or hub name.

    Raises:
        ValueError: it lacks one of BERT's special pieces, which the pretext tasks use.
    """
    from transformers import AutoTokenizer

    tokenizer: Tokenizer = AutoTokenizer.from_pretrained(name).backend_tokenizer
    missing = [piece for piece in SPECIAL if tokenizer.token_to_id(piece) is None]
    if missing:
        raise ValueError(f"its tokenizer lacks {', '.join(missing)}; give an encoder like BERT")
    return tokenizer


def _bert(model: WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    # It also puts spaces around Chinese characters, so no word segmentation is needed.
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def _with_specials(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (CLS, SEP)],
    )
    return tokenizer
