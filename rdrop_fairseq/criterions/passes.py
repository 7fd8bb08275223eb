"""How the passes of a sample go through the model: in one forward pass or one by one, and what differs between them;
and the loss where only some of the sentences have all passes.

All that is changed in the model for a while (hooks, dropout rates) is as before when its output is there, and changes
no parameter. So validation, checkpoints and the search for NaN know nothing of it.
"""

import contextlib
import inspect
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch
from fairseq.models import FairseqEncoder
from fairseq.modules import FairseqDropout, LayerDropModuleList
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rdrop_fairseq.batching import PASSES_KEY, ROWS_KEY, of_all_passes, select_sentences
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.criterions.flags import RDropFlags
from rdrop_fairseq.criterions.output_projection import unwrap
from rdrop_fairseq.losses import RDropLossOutput

# torch's dropouts have this base, of which its documents do not speak.
_DROPOUTS = (FairseqDropout, nn.modules.dropout._DropoutNd)


def run_passes(
    model: Any,
    sample: Dict[str, Any],
    flags: RDropFlags,
    padding: int,
    values_of: Callable[[Any], Tensor],
    **options: Any,
) -> List[Tuple[Any, Tensor]]:
    """The model's outputs for a sample that is marked with its passes, and concatenated unless they go one by one.

    Args:
        model: possibly wrapped for distributed training.
        sample: as the criterion's ``with_passes`` makes it.
        flags: those of R-Drop.
        padding: the number of the padding symbol.
        values_of: what the loss takes of an output. Its own dropout (of an adaptive softmax) has the rate of the pass.
        options: further arguments of the model.

    Returns:
        One output and its values (R, T, ...), with the rows of the concatenated sample; with dropout rates one of each
        for each pass, which together have those rows.
    """
    module, rows, size = unwrap(model), sample.get(ROWS_KEY), sample["target"].size(0)
    inputs, later = sample["net_input"], sample[PASSES_KEY] - 1
    if rows is not None and len(rows.repeated) == 0:
        later = 0
    rates = flags.dropout_rates[: later + 1]
    calls: List[Tuple[Dict[str, Any], Optional[float], int]] = [(inputs, None, size)]
    if rates:
        again = inputs
        if rows is not None:
            again = select_sentences(inputs, rows.repeated, size)
            if any(isinstance(it, nn.RNNBase) for it in module.modules()):
                again = _without_padding_columns(again, padding)
        calls = [(inputs, rates[0], size), *((again, rate, 0) for rate in rates[1:])]
    outputs = []
    with contextlib.ExitStack() as stack:
        if flags.rdrop_share_encoder and later:
            every = torch.arange(size, device=sample["target"].device)
            repeated = every if rows is None else rows.repeated
            stack.enter_context(encoder_output_repeated(module.encoder, torch.cat([every, *[repeated] * later])))
        for its_inputs, rate, first_size in calls:
            with dropout_rate(module, rate):
                with perturbed_embeddings(module, flags, first_size, padding):
                    output = model(**its_inputs, **options)
                outputs.append((output, values_of(output)))
    return outputs


def _without_padding_columns(inputs: Dict[str, Any], padding: int) -> Dict[str, Any]:
    """``inputs`` with a source as long as the longest of these sentences, which fairseq's recurrent encoders want."""
    tokens = inputs["src_tokens"]
    return {**inputs, "src_tokens": tokens[:, tokens.ne(padding).any(0)]}


def loss_of_rows(
    loss: Callable[[Tensor, Tensor, int], RDropLossOutput],
    values: Tensor,
    target: Tensor,
    sample: Dict[str, Any],
    num_ce_passes: int,
) -> RDropLossOutput:
    """The objective of the sentences with all passes, and of the others ``num_ce_passes`` times the cross-entropy.

    Args:
        loss: of values, target (K, T) and the number of passes; summed, or one for each of the K*T positions.
        values: (R, T, ...), what the model makes of the concatenated sample.
        target: (B, T).
        sample: as it is marked.
        num_ce_passes: how many passes' cross-entropies count where there are all: so the gradient keeps its scale.
    """
    passes, rows = sample.get(PASSES_KEY, 1), sample.get(ROWS_KEY)
    if rows is None:
        return loss(values, target, passes)
    parts = []
    if len(rows.repeated):
        parts.append(loss(of_all_passes(values, rows, len(target)), target[rows.repeated], passes))
    if len(rows.single):
        first = values if len(rows.single) == len(target) else values[rows.single]
        single = loss(first, target[rows.single], 1)
        parts.append(single._replace(loss=num_ce_passes * single.loss))
    losses, *others = zip(*parts)
    if losses[0].dim() == 0:
        total = torch.stack(losses).sum()
    else:
        order = torch.cat(rows).argsort()  # that of the sample
        total = torch.cat(losses).view(len(target), -1)[order].flatten()
    return RDropLossOutput(total, *(torch.stack(values).sum() for values in others))


@contextlib.contextmanager
def encoder_output_repeated(encoder: Any, order: Tensor) -> Iterator[None]:
    """Meanwhile the encoder's output holds the sentences ``order`` (R,), some of them several times.

    This happens within the model's own forward pass, so that wrappers for distributed training see nothing of it.
    """
    handle = encoder.register_forward_hook(lambda module, _, output: module.reorder_encoder_out(output, order))
    try:
        yield
    finally:
        handle.remove()


def dropouts(module: nn.Module) -> List[Any]:
    """The dropout modules, fairseq's and torch's, that are in use: with a rate above 0."""
    return [it for it in module.modules() if isinstance(it, _DROPOUTS) and it.p > 0]


@contextlib.contextmanager
def dropout_rate(module: nn.Module, rate: Optional[float]) -> Iterator[None]:
    """Meanwhile all dropout modules in use have this rate, if it is not None."""
    previous = [] if rate is None else [(it, it.p) for it in dropouts(module)]
    for dropout, _ in previous:
        dropout.p = rate
    try:
        yield
    finally:
        for dropout, its_rate in previous:
            dropout.p = its_rate


@contextlib.contextmanager
def perturbed_embeddings(module: Any, flags: RDropFlags, first_size: int, padding: int) -> Iterator[None]:
    """Meanwhile the token embeddings of the passes after the first are perturbed (:func:`perturbed`).

    ``first_size`` is how many sentences of a batch belong to the first pass: they come first.
    """
    if not (flags.rdrop_token_cutoff or flags.rdrop_embedding_noise):
        yield
        return
    encoding: List[bool] = []  # something while the encoder runs: both sides may have the same embeddings
    noise, cutoff = flags.rdrop_embedding_noise, flags.rdrop_token_cutoff

    def change(_: nn.Module, inputs: Any, embeddings: Tensor) -> Tensor:
        changed, tokens = embeddings[first_size:], inputs[0][first_size:]
        if not len(changed):
            return embeddings
        return torch.cat(
            [embeddings[:first_size], perturbed(changed, tokens.ne(padding), bool(encoding), noise, cutoff)]
        )

    handles = [
        module.encoder.register_forward_pre_hook(lambda *_: encoding.append(True)),
        module.encoder.register_forward_hook(lambda *_: encoding.clear()),
        *(it.register_forward_hook(change) for it in {module.encoder.embed_tokens, module.decoder.embed_tokens}),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def perturbed(embeddings: Tensor, real: Tensor, is_source: bool, noise: float, cutoff: float) -> Tensor:
    """Token embeddings (R, T, D) with noise on the source side, and with random tokens zeroed on both.

    Noise is R3F's (arXiv 2008.03156, and examples/rxf of fairseq): uniform in [-noise, noise], on every number of the
    source's embeddings, before they are scaled. Cutoff is SimCut's (arXiv 2206.02368, and its code): each token's
    embedding is 0 with probability ``cutoff``, and the others are not enlarged; the last token of a source sentence and
    the first of a target sentence are spared. In fairseq's batches these are the encoder's last column and the
    decoder's first, which the published code spares.

    Args:
        embeddings: of one side, before positions are added.
        real: (R, T), whether a token is no padding.
        is_source: whether they are the encoder's.
        noise: the largest amount.
        cutoff: a probability.
    """
    if noise and is_source:
        uniform = torch.rand(embeddings.shape, device=embeddings.device)
        embeddings = embeddings + uniform.mul_(2 * noise).sub_(noise).to(embeddings.dtype)
    if cutoff:
        count = real.flip(1).cumsum(1).flip(1) if is_source else real.cumsum(1)
        cut = torch.rand(real.shape, device=real.device).lt(cutoff) & count.ne(1)
        embeddings = embeddings.masked_fill(cut.unsqueeze(2), 0.0)
    return embeddings


def check_model(model: Any, flags: RDropFlags) -> None:
    """Refuse variants that the model has no place for.

    Raises:
        UserError: it lacks an encoder, embeddings or dropout of the kind that a flag needs.
    """
    module = unwrap(model)
    encoder, decoder, name = getattr(module, "encoder", None), getattr(module, "decoder", None), type(module).__name__
    if flags.rdrop_share_encoder and (
        not isinstance(encoder, FairseqEncoder)
        or type(encoder).reorder_encoder_out is FairseqEncoder.reorder_encoder_out
    ):
        raise UserError(f"{name} has no encoder whose output can be repeated; leave --rdrop-share-encoder out")
    if flags.dropout_rates and not dropouts(module):
        raise UserError("--rdrop-dropout-rates changes the rates above 0 and there is none; give --dropout, say 0.3")
    if flags.dropout_rates and any(hasattr(it, "precheckpoint_forward") for it in module.modules()):
        raise UserError(
            "--rdrop-dropout-rates does not work with --checkpoint-activations, which runs layers again when the rates "
            "are others; leave one of them out"
        )
    if flags.dropout_rates and _has_quantisation_noise(module):
        raise UserError(
            "--rdrop-dropout-rates does not work with --quant-noise-pq, which zeroes weights for good in every pass; "
            "leave one of them out"
        )
    drops_layers = any(isinstance(it, LayerDropModuleList) for it in module.modules())
    if flags.dropout_rates and drops_layers and any(isinstance(it, DistributedDataParallel) for it in model.modules()):
        raise UserError(
            "--rdrop-dropout-rates with LayerDrop leaves other layers out in each pass, which torch's "
            "DistributedDataParallel does not take; give --ddp-backend legacy_ddp, or leave --encoder-layerdrop, "
            "--decoder-layerdrop out"
        )
    for flag, value in (
        ("--rdrop-token-cutoff", flags.rdrop_token_cutoff),
        ("--rdrop-embedding-noise", flags.rdrop_embedding_noise),
    ):
        if value and not all(isinstance(getattr(it, "embed_tokens", None), nn.Module) for it in (encoder, decoder)):
            raise UserError(f"{name} has no token embeddings on both sides; leave {flag} out")


def _has_quantisation_noise(module: nn.Module) -> bool:
    """Whether fairseq's hook for it is on a module: it writes into the weights, which an earlier pass still needs."""
    hooks = (hook for it in module.modules() for hook in it._forward_pre_hooks.values())
    return any(getattr(hook, "__module__", None) == "fairseq.modules.quant_noise" for hook in hooks)


def check_inputs(model: Any, net_input: Dict[str, Any]) -> None:
    """Refuse a model that needs more input than there is.

    Raises:
        UserError: it does, as a non-autoregressive one.
    """
    module = unwrap(model)
    missing = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in net_input
    ]
    if missing:
        raise UserError(
            f"{type(module).__name__} cannot be trained with R-Drop: it needs {', '.join(missing)} beside the input of "
            "a translation, as non-autoregressive and insertion models do; choose an --arch that predicts one token "
            "after the other, such as transformer, or train with --task translation_lev --criterion nat_loss"
        )
