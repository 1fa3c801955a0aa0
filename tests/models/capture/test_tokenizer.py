from pathlib import Path

from models.capture.tokenizer import (
    CLS,
    SEP,
    UNKNOWN,
    hanzi,
    load_vocabulary,
    train_tokenizer,
)

TITLES = ["AHC 黄金套盒 面霜", "Arla Sour Cream free shipping", "lipstick coral 包邮"]


def test_every_chinese_character_of_a_new_title_has_a_piece() -> None:
    tokenizer = train_tokenizer(TITLES, vocab_size=100)
    tokens = tokenizer.encode("韩国蜗牛玻尿酸水乳精华").tokens
    assert tokens == [CLS, *"韩国蜗牛玻尿酸水乳精华", SEP]


def test_gb2312_has_its_6763_characters() -> None:
    assert len(set(hanzi())) == 6763


def test_seen_words_are_single_pieces_whatever_their_case() -> None:
    tokenizer = train_tokenizer(TITLES * 3, vocab_size=200)
    assert tokenizer.encode("LIPSTICK Coral").tokens == [CLS, "lipstick", "coral", SEP]


def test_training_is_deterministic() -> None:
    first, second = (train_tokenizer(TITLES, vocab_size=150).to_str() for _ in range(2))
    assert first == second


def test_a_given_vocabulary_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n面\n##霜\n霜\n", encoding="utf-8")
    tokenizer = load_vocabulary(path)
    assert tokenizer.encode("面霜").ids == [2, 5, 7, 3]
    assert tokenizer.encode("x").tokens == [CLS, UNKNOWN, SEP]
