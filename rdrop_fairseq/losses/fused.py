"""The loss with its gradient in closed form, made in chunks of tokens, on any device.

The gradient is made in the forward pass, while a chunk of probabilities is at hand, so no tensor of size
(passes*N, V) is kept for the backward pass but the gradient itself, and with the output projection fused not even
that. There the backward pass scales the gradients in their place and hands them over; a second one, through a retained
graph, makes them again. What happens within a chunk is in :mod:`rdrop_fairseq.losses.closed_form`, for CUDA devices
also in :mod:`rdrop_fairseq.losses.triton_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rdrop_fairseq.losses.closed_form import loss_of_chunk, tokens_of
from rdrop_fairseq.losses.half_precision import (
    add_product,
    autocast_dtype,
    fitting_scale,
    parts,
    wide_dtype,
)
from rdrop_fairseq.losses.objective import Objective, RDropLossOutput

# The matrix products run on chunks of at most this many rows, all passes together: many, because every chunk adds to
# the whole gradient of the projection; on a CPU no more, because memory that is fresh, and not in the cache, costs
# more than that.
CHUNK_ROWS = {"cpu": 768, "cuda": 8192}
# No chunk is larger than this many logits: 2**25 in float32 are 128 MiB.
CHUNK_ELEMENTS = {"cpu": 2**25, "cuda": 2**26}


@dataclass(frozen=True)
class Batch:
    """What the loss of logits and that of features have in common."""

    target: Tensor
    """(N,) int64."""
    kept: Tensor
    """(K,), the positions in ``target`` that are not padding, in order."""
    objective: Objective
    reduction: str
    use_triton: bool


def make_batch(
    target: Tensor, objective: Objective, reduction: str, num_tokens: int | None, use_triton: bool = False
) -> Batch:
    """A :class:`Batch` of targets (N,), of which ``num_tokens``, if that is known, are not padding."""
    return Batch(target, non_pad_indices(target, objective.ignore_index, num_tokens), objective, reduction, use_triton)


def fused_rdrop_loss(logits: Tensor, batch: Batch) -> RDropLossOutput:
    """The loss from logits (passes*N, V); half precision is computed in float32."""
    return RDropLossOutput(*_FusedLoss.apply(*_without_graph(logits), batch))


def fused_linear_rdrop_loss(features: Tensor, weight: Tensor, bias: Tensor | None, batch: Batch) -> RDropLossOutput:
    """The loss from features (passes*N, D), the output projection (V, D) and its bias (V,) or None."""
    return RDropLossOutput(*_FusedLinearLoss.apply(*_without_graph(features, weight, bias), batch))


def _without_graph(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """The tensors, detached if no gradient will be asked for: a Function is told only of their requires_grad."""
    if torch.is_grad_enabled():
        return tensors
    return tuple(None if tensor is None else tensor.detach() for tensor in tensors)


def _refuse_second_derivatives() -> None:
    """Raise RuntimeError in a backward pass whose gradient is to be differentiated: the closed form has no graph."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the R-Drop loss in closed form cannot be differentiated twice (create_graph=True); use impl='reference'"
        )


def _graph_is_retained() -> bool:
    """Whether the graph that a backward pass runs through may be used again: yes where torch does not tell."""
    told = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)  # torch 2.5 and newer
    return told is None or told()


def non_pad_indices(target: Tensor, ignore_index: int, num_tokens: int | None) -> Tensor:
    """The positions (K,) in ``target`` (N,) that are not padding, in order.

    Finding out K makes the host wait for a CUDA device; ``num_tokens`` = K spares that.
    """
    padding = target.eq(ignore_index)
    if num_tokens is None or not target.is_cuda:
        return padding.logical_not().nonzero().squeeze(1)
    return torch.sort(padding.to(torch.uint8), stable=True).indices[:num_tokens]


def _outputs(ctx: Any, batch: Batch, results: Tensor) -> tuple[Tensor, ...]:
    """The four outputs from the results (4, K) of the tokens: loss, nll, kl, hits."""
    sums = results.sum(1)
    loss = sums[0].clone()
    if batch.reduction == "none":
        loss = results.new_zeros(batch.target.size(0)).index_copy(0, batch.kept, results[0])
    rest = (sums[1].clone(), sums[2].clone(), sums[3].clone())
    ctx.mark_non_differentiable(*rest)
    return (loss, *rest)


def chunk_size(passes: int, vocabulary_size: int, device: torch.device) -> int:
    """How many tokens make a chunk."""
    rows = CHUNK_ROWS.get(device.type, CHUNK_ROWS["cuda"])
    return max(1, min(rows // passes, tokens_of(CHUNK_ELEMENTS, passes, vocabulary_size, device)))


def _loss_of_chunk(chunk: Tensor, rows: Tensor, batch: Batch, results: Tensor, gradient: bool) -> Tensor | None:
    """:func:`loss_of_chunk` of (n, m, V), or its counterpart in Triton; the divisor of the gradient, None for 1."""
    target = batch.target[rows]
    if not batch.use_triton:
        loss_of_chunk(chunk, target, batch.objective, results, gradient)
        return None
    from rdrop_fairseq.losses.triton_kernels import triton_loss_of_chunk

    # The kernels take (m, n, V), of any strides.
    return triton_loss_of_chunk(chunk.transpose(0, 1), target, batch.objective, results, gradient)


class _FusedLoss(torch.autograd.Function):
    """From logits; the gradient is one tensor like the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        results, gradient = _run_logits(logits, batch, ctx.needs_input_grad[0])
        # Not the logits, which the model may have no more use for.
        ctx.save_for_backward(gradient)
        ctx.batch, ctx.dtype = batch, logits.dtype
        return _outputs(ctx, batch, results)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, *unused: Any) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        (gradient,) = ctx.saved_tensors  # (m, N, V)
        factor = grad_loss
        if grad_loss.dim():
            # One factor per token (N,), the same for every pass, whatever it is at padding.
            kept = ctx.batch.kept
            factor = torch.zeros_like(grad_loss).index_copy_(0, kept, grad_loss[kept]).view(1, -1, 1)
        # In its place, for fresh memory takes time, unless a retained graph may ask for the gradient once more.
        in_place = gradient.dtype == ctx.dtype and not _graph_is_retained()
        memory = gradient if in_place else torch.empty_like(gradient, dtype=ctx.dtype)
        return torch.mul(gradient, factor, out=memory).flatten(0, 1), None


def _run_logits(logits: Tensor, batch: Batch, needs_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """The results (4, K) of the tokens, and the gradient (m, N, V) if it is needed, in the wide dtype."""
    passes, vocabulary_size = batch.objective.passes, logits.size(1)
    wide, kept = wide_dtype(logits.dtype), batch.kept
    by_pass = logits.detach().reshape(passes, -1, vocabulary_size)  # (m, N, V)
    gradient = by_pass.new_zeros(by_pass.shape, dtype=wide) if needs_gradient else None
    results = by_pass.new_zeros(4, kept.size(0), dtype=wide)
    size = chunk_size(passes, vocabulary_size, logits.device)
    for start in range(0, kept.size(0), size):
        rows = kept[start : start + size]
        # Copied token by token, (n, m, V), so that every block of tokens is contiguous.
        chunk = by_pass.transpose(0, 1)[rows].to(wide).contiguous()
        _loss_of_chunk(chunk, rows, batch, results[:, start : start + size], needs_gradient)
        if gradient is not None:
            gradient.index_copy_(1, rows, chunk.transpose(0, 1))
    return results, gradient


class _FusedLinearLoss(torch.autograd.Function):
    """From features and the output projection; the logits exist only a chunk at a time."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, batch: Batch) -> tuple[Tensor, ...]:
        ctx.save_for_backward(features, weight, bias)
        ctx.batch, ctx.input_dtype = batch, autocast_dtype(features)
        needs = ctx.needs_input_grad[:3]
        # With one upstream gradient per token the weight's gradient cannot be made before they are known.
        eager = any(needs) and batch.reduction == "sum"
        results, gradients = _run_features(features, weight, bias, batch, needs if eager else None, ctx.input_dtype)
        ctx.gradients = gradients if eager else None
        return _outputs(ctx, batch, results)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, *unused: Any) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        features, weight, bias = inputs = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        gradients, ctx.gradients = ctx.gradients, None
        token_factors = grad_loss if grad_loss.dim() else None
        if gradients is None:
            _, gradients = _run_features(features, weight, bias, ctx.batch, needs, ctx.input_dtype, token_factors)
        if token_factors is None:
            gradients = [None if gradient is None else gradient.mul_(grad_loss) for gradient in gradients]
        return (*(None if g is None else g.to(of.dtype) for g, of in zip(gradients, inputs)), None)


def _run_features(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    batch: Batch,
    needs_gradient: tuple[bool, bool, bool] | None,
    input_dtype: torch.dtype,
    token_factors: Tensor | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """Project in ``input_dtype``, lose and differentiate, chunk by chunk.

    Returns the results (4, K) of the tokens and the gradients of features (m*N, D), weight (V, D) and bias (V,) in the
    wide dtype, None where not needed. ``token_factors`` (N,) multiplies the gradient of each token.
    """
    passes, wide, kept = batch.objective.passes, wide_dtype(input_dtype), batch.kept
    # The kernels read and write half precision themselves. Upstream gradients of single tokens are of unknown size:
    # with them the gradient stays in the wide dtype.
    narrow = token_factors is None and (batch.use_triton or has_half_precision_products(features.device))
    product_dtype = input_dtype if narrow else wide
    chunk_dtype = product_dtype if batch.use_triton else wide

    by_pass = features.detach().reshape(passes, -1, features.size(1))  # (m, N, D)
    weight = weight.detach().to(input_dtype)
    bias = None if bias is None else bias.detach().to(input_dtype)
    needs_features, needs_weight, needs_bias = needs_gradient or (False, False, False)
    # Sums over the chunks in the wide dtype.
    grad_features = by_pass.new_zeros(by_pass.shape, dtype=wide) if needs_features else None
    grad_weight = torch.zeros_like(weight, dtype=wide) if needs_weight else None
    grad_bias = weight.new_zeros(weight.size(0), dtype=wide) if needs_bias else None
    results = weight.new_zeros(4, kept.size(0), dtype=wide)
    size = min(kept.size(0), chunk_size(passes, weight.size(0), features.device))
    # One piece of memory for all chunks: two of them at a time would double the peak.
    memory = weight.new_empty(size * passes, weight.size(0))
    # The dtypes are chosen here; autocast would narrow the products that are wide on purpose.
    with torch.autocast(features.device.type, enabled=False):
        for start in range(0, kept.size(0), max(1, size)):
            rows = kept[start : start + size]  # (n,)
            inputs = by_pass.transpose(0, 1)[rows].reshape(-1, features.size(1)).to(input_dtype)  # (n*m, D)
            logits = _project(inputs, weight, bias, memory[: len(inputs)])  # (n*m, V)
            chunk = logits.to(chunk_dtype).view(-1, passes, weight.size(0))
            of_rows = results[:, start : start + size]
            divisor = _loss_of_chunk(chunk, rows, batch, of_rows, needs_gradient is not None)
            if needs_gradient is None:
                continue
            if token_factors is not None:
                chunk.mul_(token_factors[rows].to(wide).view(-1, 1, 1))
            grad_logits = chunk.view(-1, weight.size(0))  # (n*m, V), times the divisor
            if product_dtype == torch.float16 and chunk_dtype != torch.float16:
                divisor = fitting_scale(grad_logits.abs().max())
                grad_logits.mul_(divisor)
            grad_logits = grad_logits.to(product_dtype)
            if grad_features is not None:
                part = grad_features.new_zeros(inputs.shape)  # (n*m, D)
                for classes in parts(*weight.shape):
                    add_product(part, grad_logits[:, classes], weight[classes].to(product_dtype), divisor)
                grad_features.index_copy_(1, rows, part.view(len(rows), passes, -1).transpose(0, 1))
            if grad_weight is not None:
                add_product(grad_weight, grad_logits.t(), inputs.to(product_dtype), divisor)
            if grad_bias is not None:
                part = grad_logits.sum(0, dtype=wide)
                grad_bias.add_(part if divisor is None else part.div_(divisor))
    return results, [None if grad_features is None else grad_features.flatten(0, 1), grad_weight, grad_bias]


def has_half_precision_products(device: torch.device) -> bool:
    """Whether matrix products in half precision pay: on a CPU they do not."""
    return device.type == "cuda"


def _project(inputs: Tensor, weight: Tensor, bias: Tensor | None, memory: Tensor) -> Tensor:
    """``functional.linear`` into ``memory``."""
    if bias is None:
        return torch.mm(inputs, weight.t(), out=memory)
    return torch.addmm(bias, inputs, weight.t(), out=memory)
