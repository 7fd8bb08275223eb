"""LR-Drop (arXiv 2402.16361): hidden states and attention matrices of the passes pulled together, layer by layer.

The paper adds to cross-entropy and output consistency the mean squared error of the two passes' hidden states and that
of their attention matrices, in every layer, each with a weight. It has no published code, and the text that this was
written from, a summary of it, leaves the averages open. The summary takes the output of the feed-forward block for the
hidden state; here it is the output of the whole layer. With m passes, N_b target tokens of sentence b, and n_b tokens
of it on the side that a layer belongs to (encoder or decoder; padding counts nowhere):

    hidden    = mean_l  sum_b  N_b/n_b  sum_t  mean_{i<j}  mean_d  (h_i,l,b,t,d - h_j,l,b,t,d)^2
    attention = mean_a  sum_b  N_b/n_b  sum_t  mean_{i<j}  mean_h  sum_k  (A_i,a,h,b,t,k - A_j,a,h,b,t,k)^2

    L = R-Drop's objective + m/2 * (hidden_weight * hidden + attention_weight * attention)

l runs over all layers of both sides, whose outputs h (after the residual connection) have D numbers d a token t. a runs
over all attentions in the layers (self-attention of both sides, attention to the source), whose rows A, before dropout,
are probabilities over keys k, for each head h and query t. The sum over the keys makes a row's distance that of two
distributions (at most 2), whatever the length of the sentence. N_b/n_b makes a sum over source tokens comparable with
one over target tokens. So, divided by the target tokens as the trainer does, both are means over layers and tokens, and
weights depend neither on lengths nor on the batch. m/2 is 1 for two passes and has the same reason as in the objective.
Gradients flow to every pass.
"""

import contextlib
import itertools
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch
from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from fairseq.modules import LayerDropModuleList, MultiheadAttention
from torch import Tensor, nn

from rdrop_fairseq.batching import PASSES_KEY, ROWS_KEY, of_all_passes
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.criterions.flags import RDropFlags
from rdrop_fairseq.criterions.output_projection import unwrap
from rdrop_fairseq.losses import RDropLossOutput
from rdrop_fairseq.losses.half_precision import wide_dtype

_SIDES = ("encoder", "decoder")


class LayerConsistency:
    """What the layers of a model computed for a concatenated sample, and the losses from it.

    Args:
        model: possibly wrapped for distributed training.
        flags: those of R-Drop. Without weights nothing is recorded; with one encoder pass nothing of the encoder.
    """

    def __init__(self, model: Any, flags: RDropFlags) -> None:
        self.module, self.flags = unwrap(model), flags
        compared = _SIDES[1:] if flags.rdrop_share_encoder else _SIDES
        self._sides = [it for it in compared if hasattr(self.module, it)]
        # Module -> its side, and what each call of the model made: (T, R, D), or (H, R, T, S).
        self._hidden: Dict[nn.Module, Tuple[str, List[Tensor]]] = {}
        self._attention: Dict[nn.Module, Tuple[str, List[Tensor]]] = {}

    @contextlib.contextmanager
    def recording(self, sample: Dict[str, Any]) -> Iterator[None]:
        """Meanwhile note what the layers compute, if they have a weight and some sentences have all passes."""
        rows = sample.get(ROWS_KEY)
        if not self.flags.layer_weights or (rows is not None and len(rows.repeated) == 0):
            yield
            return
        with contextlib.ExitStack() as stack:
            for side in self._sides:
                layers = getattr(self.module, side).layers
                if self.flags.rdrop_hidden_weight:
                    for layer in layers:
                        _, states = self._hidden[layer] = (side, [])
                        stack.callback(layer.register_forward_hook(_noting(states)).remove)
                if self.flags.rdrop_attention_weight:
                    for attention in (it for it in layers.modules() if isinstance(it, MultiheadAttention)):
                        _, matrices = self._attention[attention] = (side, [])
                        own = {name: it for name, it in vars(attention).items() if name == "forward"}
                        stack.callback(vars(attention).update, own)  # a stack goes backwards: after the next
                        stack.callback(vars(attention).pop, "forward")
                        attention.forward = _with_matrices(attention.forward, matrices)
            yield

    def added_to(
        self, result: RDropLossOutput, sample: Dict[str, Any], target: Tensor, prefix: int, padding: int
    ) -> Tuple[RDropLossOutput, Dict[str, Tensor]]:
        """R-Drop's objective with m/2 times the weighted terms, as in the module's docstring; and these terms.

        Args:
            result: of R-Drop's objective. A loss for each token (B * (T - prefix),) gets an equal part of the terms.
            sample: the one that the model was given.
            target: (B, T).
            prefix: so many tokens at the beginning of each target count nowhere.
            padding: the number of the padding symbol, which counts nowhere either.

        Returns:
            The terms that have a weight, differentiable, shape (), by the names that they have in the log; 0 if no
            sentence had all passes.
        """
        counts = target.ne(padding)
        counts[:, :prefix] = False
        terms = self._terms(sample, counts, padding)
        added = sample[PASSES_KEY] / 2 * sum(weight * terms[name] for name, weight in self.flags.layer_weights.items())
        if result.loss.dim() > 0:
            of_tokens = counts[:, prefix:].flatten()
            added = added * of_tokens / of_tokens.sum().clamp(min=1)
        return result._replace(loss=result.loss + added), terms

    def _terms(self, sample: Dict[str, Any], counts: Tensor, padding: int) -> Dict[str, Tensor]:
        """``hidden`` and ``attention`` of the module's docstring; ``counts`` (B, T) says which target tokens do."""
        rows = sample.get(ROWS_KEY)
        masks = {"decoder": counts}  # and of the encoder (B, S)
        if "encoder" in self._sides:
            masks["encoder"] = sample["net_input"]["src_tokens"][: len(counts)].ne(padding)
        if rows is not None:
            masks = {side: mask[rows.repeated] for side, mask in masks.items()}

        def mean(noted: Dict[nn.Module, Tuple[str, List[Tensor]]], distance: Callable) -> Tensor:
            terms = []
            for side, calls in noted.values():
                values = calls[0] if len(calls) == 1 else torch.cat(calls, dim=1)
                values = of_all_passes(values.to(wide_dtype(values.dtype)), rows, len(counts), dim=1)
                passes = values.chunk(sample[PASSES_KEY], dim=1)
                of_tokens = [distance(one, other) for one, other in itertools.combinations(passes, 2)]  # each (K, T)
                mask = masks[side]
                # Chosen, not multiplied: padding may hold anything.
                of_sentences = torch.stack(of_tokens).mean(0).masked_fill(~mask, 0.0).sum(1)
                terms.append((of_sentences * masks["decoder"].sum(1) / mask.sum(1).clamp(min=1)).sum())
            return torch.stack(terms).mean() if terms else torch.zeros(()).to(counts.device)

        noted = {"rdrop_hidden_loss": self._hidden, "rdrop_attention_loss": self._attention}
        distances = {"rdrop_hidden_loss": _distance_of_states, "rdrop_attention_loss": _distance_of_matrices}
        return {name: mean(noted[name], distances[name]) for name in self.flags.layer_weights}


def _distance_of_states(one: Tensor, other: Tensor) -> Tensor:
    """(T, K, D) twice to (K, T)."""
    return (one - other).pow(2).mean(2).t()


def _distance_of_matrices(one: Tensor, other: Tensor) -> Tensor:
    """(H, K, T, S) twice to (K, T)."""
    return (one - other).pow(2).sum(3).mean(0)


def _noting(states: List[Tensor]) -> Callable[..., None]:
    """A hook that appends a layer's output; beside it some layers return more."""

    def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    return hook


def _with_matrices(forward: Callable, matrices: List[Tensor]) -> Callable:
    """An attention's ``forward`` that appends the matrices of all heads, and returns what it is asked for."""

    def forward_with_matrices(*arguments: Any, **options: Any) -> Tuple[Tensor, Optional[Tensor]]:
        # torch's own function, which averages over the heads, is not used with static_kv; else that changes nothing.
        result, weights = forward(*arguments, **{**options, "need_head_weights": True, "static_kv": True})
        matrices.append(weights)
        if options.get("need_head_weights"):
            return result, weights
        return result, weights.mean(0) if options.get("need_weights", True) else None

    return forward_with_matrices


def check_layers(model: Any, flags: RDropFlags) -> None:
    """Refuse weights of layers where the model has none that can be compared.

    Raises:
        UserError: it is no Transformer of fairseq's, leaves layers out at random, or runs them a second time.
    """
    module = unwrap(model)
    for name in flags.layer_weights:
        flag = "--" + name.replace("_loss", "_weight").replace("_", "-")
        sides = [getattr(module, name) for name in _SIDES if hasattr(module, name)]
        if not sides or not all(isinstance(it, (TransformerEncoderBase, TransformerDecoderBase)) for it in sides):
            raise UserError(
                f"{flag} compares the layers of a Transformer, which {type(module).__name__} is not; leave it out, or "
                "take --arch transformer"
            )
        if any(isinstance(it.layers, LayerDropModuleList) for it in sides):
            raise UserError(
                f"{flag} needs all layers in every pass; leave --encoder-layerdrop, --decoder-layerdrop out"
            )
        if any(hasattr(it, "precheckpoint_forward") for it in module.modules()):
            raise UserError(f"{flag} does not work with --checkpoint-activations; leave one of them out")
