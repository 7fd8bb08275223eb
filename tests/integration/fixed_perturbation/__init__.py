"""A --user-dir with the plugin and a Transformer whose dropout is fixed by sentence, position and pass.

fairseq gives every process the same seed, so the dropout masks of two processes never equal those of one, and trainings
with different numbers of processes cannot be compared. Here a hash of a sentence's words, of the position in it, of the
pass and of the channel decides what is dropped: the same wherever, and next to whichever sentences, it is computed.
"""

import torch
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerModel
from torch import Tensor, nn

import rdrop_fairseq  # noqa: F401 (registers the criterion and the task)

RATE = 0.2
PASSES = 2


def scrambled(number: Tensor) -> Tensor:
    """Integers in no recognisable relation to the given ones; int64 overflows as it likes."""
    for factor in (0x2545F4914F6CDD1D, 0x369DEA0F31A53F85):
        number = (number ^ (number >> 29)) * factor
    return number ^ (number >> 32)


class FixedDropout(nn.Module):
    """Takes the place of the dropout on the embeddings of one side; ``tokens`` are those of the batch."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.tokens = None

    def forward(self, features: Tensor) -> Tensor:  # (m*B, T, C)
        if not self.training:
            return features
        real = self.tokens.ne(self.padding)
        position = real.cumsum(1) * real  # from 1, wherever the padding is
        sentence = scrambled(scrambled(self.tokens * 1000 + position) * real).sum(1)  # (m*B,)
        which_pass = torch.arange(len(sentence)) // (len(sentence) // PASSES)
        place = scrambled(sentence + which_pass * 7919)[:, None] + position * 104729  # (m*B, T)
        channel = torch.arange(features.size(2)) * 1299709
        uniform = scrambled(place[:, :, None] + channel).remainder(1 << 20) / (1 << 20)
        return features * (uniform >= RATE) / (1 - RATE)


@register_model("transformer_with_fixed_dropout")
class TransformerWithFixedDropout(TransformerModel):
    """fairseq's Transformer; its own dropout rates have to be 0.

    The tokens are noted on the way to the embeddings. Another forward would keep the criterion from the features.
    """

    @classmethod
    def build_model(cls, args, task):
        model = super().build_model(args, task)
        for side, name in ((model.encoder, "forward_embedding"), (model.decoder, "extract_features")):
            side.dropout_module = FixedDropout(side.padding_idx)
            setattr(side, name, noting_tokens(side.dropout_module, getattr(side, name)))
        return model


def noting_tokens(dropout: FixedDropout, function):
    """``function``, whose first argument are the tokens, after these have been noted for ``dropout``."""

    def noting(tokens, *arguments, **options):
        dropout.tokens = tokens
        return function(tokens, *arguments, **options)

    return noting


@register_model_architecture("transformer_with_fixed_dropout", "transformer_with_fixed_dropout")
def architecture(args) -> None:
    """No defaults of its own."""
