"""The tokenizer of titles that params ask for."""

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from models.capture.tokenizer import (
    CLS,
    MASK,
    PAD,
    SEP,
    UNKNOWN,
    encoder_tokenizer,
    load_vocabulary,
    train_tokenizer,
)
from tasks.base.params import Pretrain
from unbundle.base.errors import UserError


def tokenizer_of(params: Pretrain, titles: list[str]) -> Tokenizer:
    """The tokenizer of `pretrain.text_encoder` or `.vocabulary`, or one trained on the titles.

    Raises:
        UserError: there is no such encoder or vocabulary, or its pieces are not BERT's.
    """
    if params.text_encoder is not None:
        try:
            return encoder_tokenizer(params.text_encoder)
        except (OSError, ValueError) as error:
            problem = str(error).splitlines()[0]
            raise UserError(
                f"params.yaml: pretrain.text_encoder: {params.text_encoder}: {problem}"
            ) from None
    if params.vocabulary is None:
        return train_tokenizer(titles, params.vocab_size)
    if not params.vocabulary.is_file():
        raise UserError(f"params.yaml: pretrain.vocabulary: {params.vocabulary}: no such file")
    return load_vocabulary(params.vocabulary)


def fast_tokenizer(tokenizer: Tokenizer, params: Pretrain) -> PreTrainedTokenizerFast:
    """The tokenizer as `save_pretrained` writes it, truncating at `pretrain.model.title_tokens`."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=params.model.title_tokens,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
    )
