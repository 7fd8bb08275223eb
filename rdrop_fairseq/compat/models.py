"""Models of fairseq that R-Drop cannot train, or this torch cannot run, as they are."""

from typing import Any, Callable, Optional

import torch
from torch import Tensor

from rdrop_fairseq.compat.replacement import replace_once


def let_encoders_pack_unsorted_batches() -> None:
    """Have recurrent encoders accept a batch concatenated with itself, whose lengths do not decrease.

    fairseq's LSTM encoder, that of its LASER example and most others pack a batch as one whose lengths decrease, as
    those of fairseq do; torch can pack any. A batch in order goes the old way. For all three versions, and for the
    encoders of others.
    """
    from torch.nn.utils import rnn

    def make(pack: Callable) -> Callable:
        def pack_in_any_order(
            input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
        ) -> Any:
            if enforce_sorted:
                in_order = torch.as_tensor(lengths)
                enforce_sorted = bool((in_order[:-1] >= in_order[1:]).all())
            return pack(input, lengths, batch_first=batch_first, enforce_sorted=enforce_sorted)

        return pack_in_any_order

    replace_once(rnn, "pack_padded_sequence", make)


def make_adaptive_softmax_differentiable() -> None:
    """Replace an addition in place that keeps fairseq's full adaptive softmax from being differentiated.

    ``get_log_prob`` without a target overwrites the output of a log-softmax, which autograd refuses, so that no
    criterion on full log-probabilities, fairseq's own included, can train such a model. For all three versions.
    """
    from fairseq.modules import AdaptiveSoftmax

    def make(get_log_prob: Callable) -> Callable:
        def differentiable_get_log_prob(self: Any, input: Tensor, target: Optional[Tensor]) -> Tensor:
            if target is not None or not torch.is_grad_enabled():
                return get_log_prob(self, input, target)
            rows = input.reshape(-1, input.size(-1))  # (B*T, D)
            head = self.lsm(self.head(rows))  # (B*T, cutoff[0] + clusters)
            parts = [head[:, : self.cutoff[0]]]
            for number, tail in enumerate(self.tail):
                cluster = head[:, self.cutoff[0] + number].unsqueeze(1)  # log-probability of the whole cluster
                parts.append(self.lsm(tail(rows)) + cluster)
            return torch.cat(parts, dim=1).view(*input.shape[:-1], -1)  # (B, T, V)

        return differentiable_get_log_prob

    replace_once(AdaptiveSoftmax, "get_log_prob", make)


def keep_encoder_off_fast_path() -> None:
    """Have a post-norm Transformer encoder compute in validation and generation as it does in training.

    There fairseq calls a function of torch for the whole layer, without an argument that torch 1.13 and newer demand:
    "Mask Type should be defined". For 0.12.2; the other versions have no such path.
    """
    from fairseq.modules import transformer_layer

    def make(initialise: Callable) -> Callable:
        def initialise_without_fast_path(self: Any, *args: Any, **kwargs: Any) -> None:
            initialise(self, *args, **kwargs)
            self.can_use_fastpath = False

        return initialise_without_fast_path

    replace_once(transformer_layer.TransformerEncoderLayerBase, "__init__", make)
