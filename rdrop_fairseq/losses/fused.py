"""The loss with its gradient in closed form, made in chunks of tokens, on any device.

The gradient is made in the forward pass, while a chunk of probabilities is at hand, so no tensor of size
(passes*N, V) is kept for the backward pass but the gradient itself, and with the output projection fused not even
that. What happens within a chunk is in :mod:`rdrop_fairseq.losses.closed_form`, for CUDA devices also in
:mod:`rdrop_fairseq.losses.triton_kernels`.
"""

from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rdrop_fairseq.losses.closed_form import loss_of_chunk, tokens_of
from rdrop_fairseq.losses.objective import Objective, RDropLossOutput

# The matrix products run on chunks of at most this many rows, all passes together: many, because every chunk adds to
# the whole gradient of the projection; on a CPU no more, because memory that is fresh, and not in the cache, costs
# more than that.
CHUNK_ROWS = {"cpu": 768, "cuda": 8192}
# No chunk is larger than this many logits: 2**25 in float32 are 128 MiB.
CHUNK_ELEMENTS = {"cpu": 2**25, "cuda": 2**26}
# The gradient with respect to fp16 logits is held times this: its small entries (label smoothing alone gives
# 0.1 / 32768) would lose digits or underflow, and the loss scale of the trainer is known only in the backward pass.
# The largest, about 1 + alpha * |log p_i - log p_j|, stays far below the largest fp16 number, 65504.
FP16_GRADIENT_SCALE = 128.0


def fused_rdrop_loss(
    logits: Tensor,
    target: Tensor,
    objective: Objective,
    reduction: str,
    num_tokens: int | None,
    use_triton: bool = False,
) -> RDropLossOutput:
    """The loss from logits (passes*N, V) and target (N,); half precision is computed in float32."""
    kept = non_pad_indices(target, objective.ignore_index, num_tokens)
    return RDropLossOutput(*_FusedLoss.apply(logits, target, kept, objective, reduction, use_triton))


def fused_linear_rdrop_loss(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    objective: Objective,
    reduction: str,
    num_tokens: int | None,
    use_triton: bool = False,
) -> RDropLossOutput:
    """The loss from features (passes*N, D), the output projection (V, D) and its bias (V,) or None."""
    kept = non_pad_indices(target, objective.ignore_index, num_tokens)
    return RDropLossOutput(
        *_FusedLinearLoss.apply(features, weight, bias, target, kept, objective, reduction, use_triton)
    )


def non_pad_indices(target: Tensor, ignore_index: int, num_tokens: int | None) -> Tensor:
    """The positions (K,) in ``target`` (N,) that are not padding, in order.

    Finding out K makes the host wait for a CUDA device; ``num_tokens`` = K spares that.
    """
    padding = target.eq(ignore_index)
    if num_tokens is None or not target.is_cuda:
        return padding.logical_not().nonzero().squeeze(1)
    return torch.sort(padding.to(torch.uint8), stable=True).indices[:num_tokens]


class _Totals:
    """Per-token results of the chunks, gathered into the four outputs."""

    def __init__(self, target: Tensor, kept: Tensor, dtype: torch.dtype) -> None:
        self.kept, self.size = kept, target.size(0)
        self.rows = torch.zeros(4, kept.size(0), dtype=dtype, device=target.device)  # loss, nll, kl, hits

    def outputs(self, reduction: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sums = self.rows.sum(1)
        loss = sums[0].clone()
        if reduction == "none":
            loss = self.rows.new_zeros(self.size).index_copy(0, self.kept, self.rows[0])
        return loss, sums[1].clone(), sums[2].clone(), sums[3].clone()


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: float32 for half precision."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def chunk_size(passes: int, vocabulary_size: int, device: torch.device) -> int:
    """How many tokens make a chunk."""
    rows = CHUNK_ROWS.get(device.type, CHUNK_ROWS["cuda"])
    return max(1, min(rows // passes, tokens_of(CHUNK_ELEMENTS, passes, vocabulary_size, device)))


def _triton_or_torch(use_triton: bool) -> Callable[..., None]:
    """:func:`loss_of_chunk` or its counterpart of the same signature."""
    if not use_triton:
        return loss_of_chunk
    from rdrop_fairseq.losses.triton_kernels import triton_loss_of_chunk

    # The kernels take (m, n, V), of any strides.
    return lambda logits, *arguments: triton_loss_of_chunk(logits.transpose(0, 1), *arguments)


class _FusedLoss(torch.autograd.Function):
    """From logits; the gradient is one tensor like the logits, scaled in the backward pass."""

    @staticmethod
    def forward(ctx, logits, target, kept, objective, reduction, use_triton):
        passes, vocabulary_size = objective.passes, logits.size(1)
        chunk_loss = _triton_or_torch(use_triton)
        wide = wide_dtype(logits.dtype)
        by_pass = logits.detach().reshape(passes, -1, vocabulary_size)  # (m, N, V)
        gradient = ctx.needs_input_grad[0]
        # In float32 also for half precision: see FP16_GRADIENT_SCALE.
        result = by_pass.new_zeros(by_pass.shape, dtype=wide) if gradient else None
        totals = _Totals(target, kept, wide)
        size = chunk_size(passes, vocabulary_size, logits.device)
        for start in range(0, kept.size(0), size):
            rows = kept[start : start + size]
            # Copied token by token, (n, m, V), so that every block of tokens is contiguous.
            chunk = by_pass.transpose(0, 1)[rows].to(wide).contiguous()
            chunk_loss(chunk, target[rows], objective, totals.rows[:, start : start + size], gradient, 1.0)
            if gradient:
                result.index_copy_(1, rows, chunk.transpose(0, 1))
        ctx.save_for_backward(result)
        outputs = totals.outputs(reduction)
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.dtype = logits.dtype
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, *_):
        (gradient,) = ctx.saved_tensors  # (m, N, V)
        # A scalar, or with reduction="none" one factor per token (N,), the same for every pass.
        factor = grad_loss.view(1, -1, 1).to(gradient.dtype)
        gradient = (gradient * factor).flatten(0, 1).to(ctx.dtype)
        return gradient, None, None, None, None, None


class _FusedLinearLoss(torch.autograd.Function):
    """From features and the output projection; the logits exist only a chunk at a time."""

    @staticmethod
    def forward(ctx, features, weight, bias, target, kept, objective, reduction, use_triton):
        ctx.objective, ctx.reduction, ctx.use_triton = objective, reduction, use_triton
        ctx.input_dtype = _autocast_dtype(features)
        needs = ctx.needs_input_grad[:3]
        # With one upstream gradient per token the weight's gradient cannot be made before they are known.
        eager = any(needs) and reduction == "sum"
        # The dtypes are chosen below; autocast would narrow the products that are wide on purpose.
        with torch.autocast(features.device.type, enabled=False):
            totals, gradients = _run_chunks(
                features, weight, bias, target, kept, objective, needs if eager else None, use_triton, ctx.input_dtype
            )
        if eager:
            ctx.save_for_backward(*gradients)
        else:
            ctx.save_for_backward(features, weight, bias, target, kept)
        ctx.dtypes = [None if t is None else t.dtype for t in (features, weight, bias)]
        outputs = totals.outputs(reduction)
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, *_):
        if ctx.reduction == "sum":
            gradients = [None if g is None else g * grad_loss for g in ctx.saved_tensors]
        else:
            features, weight, bias, target, kept = ctx.saved_tensors
            needs = ctx.needs_input_grad[:3]
            _, gradients = _run_chunks(
                features, weight, bias, target, kept, ctx.objective, needs, ctx.use_triton, ctx.input_dtype, grad_loss
            )
        gradients = [None if g is None else g.to(dtype) for g, dtype in zip(gradients, ctx.dtypes)]
        return (*gradients, None, None, None, None, None)


def _run_chunks(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    kept: Tensor,
    objective: Objective,
    needs_gradient: tuple[bool, bool, bool] | None,
    use_triton: bool,
    input_dtype: torch.dtype,
    token_factors: Tensor | None = None,
) -> tuple[_Totals, list[Tensor | None]]:
    """Project in ``input_dtype``, lose and differentiate, chunk by chunk.

    Returns the per-token results and the gradients of features (m*N, D), weight (V, D) and bias (V,) in the wide
    dtype, None where not needed. ``token_factors`` (N,) multiplies the gradient of each token.
    """
    passes, wide = objective.passes, wide_dtype(input_dtype)
    chunk_loss = _triton_or_torch(use_triton)
    # Matrix products in half precision pay on CUDA only; the kernels read and write half precision themselves.
    # Upstream gradients of single tokens are of unknown size: with them the gradient stays in the wide dtype.
    product_dtype = input_dtype if token_factors is None and (features.is_cuda or use_triton) else wide
    chunk_dtype = product_dtype if use_triton else wide
    scale = FP16_GRADIENT_SCALE if product_dtype == torch.float16 else 1.0

    by_pass = features.detach().reshape(passes, -1, features.size(1))  # (m, N, D)
    weight = weight.detach().to(input_dtype)
    bias = None if bias is None else bias.detach().to(input_dtype)
    needs_features, needs_weight, needs_bias = needs_gradient or (False, False, False)
    # Sums over the chunks in the wide dtype.
    grad_features = by_pass.new_zeros(by_pass.shape, dtype=wide) if needs_features else None
    grad_weight = torch.zeros_like(weight, dtype=wide) if needs_weight else None
    grad_bias = torch.zeros_like(bias, dtype=wide) if needs_bias else None
    totals = _Totals(target, kept, wide)
    size = min(kept.size(0), chunk_size(passes, weight.size(0), features.device))
    # One piece of memory for all chunks: two of them at a time would double the peak.
    memory = weight.new_empty(size * passes, weight.size(0))
    for start in range(0, kept.size(0), max(1, size)):
        rows = kept[start : start + size]  # (n,)
        inputs = by_pass.transpose(0, 1)[rows].reshape(-1, features.size(1)).to(input_dtype)  # (n*m, D)
        logits = _project(inputs, weight, bias, memory[: len(inputs)])  # (n*m, V)
        chunk = logits.to(chunk_dtype).view(-1, passes, weight.size(0))
        results = totals.rows[:, start : start + size]
        chunk_loss(chunk, target[rows], objective, results, needs_gradient is not None, scale)
        if needs_gradient is None:
            continue
        if token_factors is not None:
            chunk.mul_(token_factors[rows].to(wide).view(-1, 1, 1))
        grad_logits = chunk.view(-1, weight.size(0)).to(product_dtype)  # (n*m, V), times scale
        if needs_features:
            part = _wide_product(grad_logits, weight.to(product_dtype)).view(-1, passes, features.size(1))
            grad_features.index_copy_(1, rows, part.transpose(0, 1))
        if needs_weight:
            _add_product(grad_weight, grad_logits.t(), inputs.to(product_dtype))
        if needs_bias:
            grad_bias += grad_logits.sum(0, dtype=wide)
    gradients = [None if grad_features is None else grad_features.flatten(0, 1), grad_weight, grad_bias]
    if scale != 1.0:
        gradients = [None if gradient is None else gradient.div_(scale) for gradient in gradients]
    return totals, gradients


def _project(inputs: Tensor, weight: Tensor, bias: Tensor | None, memory: Tensor) -> Tensor:
    """``functional.linear`` into ``memory``."""
    if bias is None:
        return torch.mm(inputs, weight.t(), out=memory)
    return torch.addmm(bias, inputs, weight.t(), out=memory)


def _autocast_dtype(features: Tensor) -> torch.dtype:
    """The dtype in which the projection is computed: under autocast its, whatever that of the features."""
    if features.is_cuda:
        enabled, dtype = torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()
    else:
        enabled, dtype = torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    return dtype if enabled and features.dtype != torch.float64 else features.dtype


def _wide_product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` without rounding the sums to half precision, where fp16 could also overflow."""
    if left.dtype == wide_dtype(left.dtype):
        return torch.mm(left, right)
    if left.is_cuda and hasattr(torch.ops.aten.mm, "dtype"):  # torch 2.8 and newer
        return torch.mm(left, right, out_dtype=torch.float32)
    return torch.mm(left.float(), right.float())


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left @ right``, for a ``total`` in the wide dtype."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(_wide_product(left, right))
