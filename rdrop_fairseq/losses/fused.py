"""The loss with its gradient in closed form, made in chunks of tokens: a few passes over memory, on any device.

With p_i the distribution of pass i, S = sum_j log p_j and, for the symmetric KL, d_i = m log p_i - S:

    sum_{i<j} 2 J_ij = sum_i E_{p_i}[d_i]
    dL/dz_i = p_i - eps_i - (1-eps-eps_i) onehot + alpha/(2(m-1)) [ p_i (d_i - E_{p_i} d_i + m) - sum_j p_j ]

and for the forward KL, with i counted from 0, d_i = (m-1-i) log p_i - sum_{j>i} log p_j:

    sum_{i<j} KL(P_i||P_j) = sum_i E_{p_i}[d_i]
    dL/dz_i = p_i - eps_i - (1-eps-eps_i) onehot + alpha/(m-1) [ p_i (d_i - E_{p_i} d_i + i) - sum_{j<i} p_j ]

Both follow from d log p_i,u / d z_i,v = [u = v] - p_i,v. The gradient is made in the forward pass, while a chunk
of probabilities is at hand, so no tensor of size (passes*N, V) is kept for the backward pass but the gradient
itself, and with the output projection fused not even that.
"""

from __future__ import annotations

from typing import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.autograd.function import once_differentiable

from rdrop_fairseq.losses.objective import Objective, RDropLossOutput, refuse_banned_columns

# The matrix products run on chunks of about this many logits (all passes together): large, because every chunk adds
# to the whole gradient of the projection. 2**24 float32 logits are 64 MiB, 2**26 are 256 MiB.
CHUNK_ELEMENTS = {"cpu": 2**24, "cuda": 2**26}
# The element-wise steps run on blocks of about this many logits: on a CPU small, so that a dozen steps find the
# block in the second-level cache; elsewhere large, so that each step fills the device.
BLOCK_ELEMENTS = {"cpu": 2**18, "cuda": 2**26}
# The gradient with respect to fp16 logits is held times this: its small entries (label smoothing alone gives
# 0.1 / 32768) would lose digits or underflow, and the loss scale of the trainer is known only in the backward pass.
# The largest, about 1 + alpha * |log p_i - log p_j|, stays far below the largest fp16 number, 65504.
FP16_GRADIENT_SCALE = 128.0
# Stands for the logit -inf: finite, so that 0 * (m log p - S) is 0 and not NaN, and m times it fits float32.
BANNED_LOGIT = -1e30


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


def loss_of_chunk(
    logits: Tensor,
    target: Tensor,
    objective: Objective,
    results: Tensor,
    gradient: bool,
    gradient_scale: float = 1.0,
) -> None:
    """The per-token results of a chunk and, in the place of its logits, the gradient.

    Args:
        logits: (n, m, V) float32 or float64, contiguous. Overwritten: with the gradient if that is wanted.
        target: (n,) without padding.
        results: (4, n), filled with loss, nll (mean over the passes), kl (mean over the pairs), hits (mean).
        gradient: whether ``gradient_scale`` * dL/dlogits is wanted.
    """
    num_tokens, passes, vocabulary_size = logits.shape
    size = _tokens_of(BLOCK_ELEMENTS, passes, vocabulary_size, logits.device)
    # Made once: fresh memory for every block would be paid for in page faults.
    probs, products = torch.empty_like(logits[:size]), torch.empty_like(logits[:size])
    for start in range(0, num_tokens, size):
        block = logits[start : start + size]
        part = slice(start, start + len(block))
        _loss_of_block(
            block, target[part], objective, results[:, part], gradient, probs[: len(block)], products[: len(block)]
        )
        if gradient and gradient_scale != 1.0:
            block.mul_(gradient_scale)


def _loss_of_block(
    logits: Tensor,
    target: Tensor,
    objective: Objective,
    results: Tensor,
    gradient: bool,
    probs: Tensor,
    products: Tensor,
) -> None:
    """:func:`loss_of_chunk` in one go, with memory for the probabilities and for products, both (n, m, V)."""
    num_tokens, passes, vocabulary_size = logits.shape
    nll_weight, smooth_weight = objective.smoothing_weights(vocabulary_size)
    ce_weights = logits.new_tensor(objective.ce_weights)  # (m,)
    index = target.view(num_tokens, 1, 1).expand(-1, passes, 1)  # (n, m, 1)

    maximum = logits.amax(2, keepdim=True)  # (n, m, 1)
    results[3] = _hits(logits, maximum, index).sum(1) / passes
    logits.sub_(maximum)
    if smooth_weight == 0:
        logits.clamp_(min=BANNED_LOGIT)
    torch.exp(logits, out=probs)
    normaliser = probs.sum(2, keepdim=True)  # (n, m, 1)
    probs.div_(normaliser)
    log_probs = logits.sub_(normaliser.log_())  # in the memory of the logits

    nll = -log_probs.gather(2, index).squeeze(2)  # (n, m)
    cross_entropy = nll_weight * nll
    if smooth_weight:
        smooth = -log_probs.sum(2)
        if not smooth.is_cuda and torch.isinf(smooth).any():
            raise refuse_banned_columns()
        cross_entropy.add_(smooth, alpha=smooth_weight)
    results[0] = (cross_entropy * ce_weights).sum(1)
    results[1] = nll.mean(1)

    if passes > 1:
        distances = _kl_distances(log_probs, objective.kl)  # in the memory of the log-probabilities
        expectations = torch.mul(probs, distances, out=products).sum(2)  # E_{p_i} d_i (n, m)
        # The sum over the pairs, twice for the symmetric KL, to their mean.
        to_mean = 1 / (passes * (passes - 1)) * (1 if objective.kl == "symmetric" else 2)
        results[2] = expectations.sum(1) * to_mean
        results[0].add_(results[2], alpha=objective.kl_weight)
    if not gradient:
        return
    if passes == 1 or objective.alpha == 0:
        torch.mul(probs, ce_weights.unsqueeze(1), out=logits)
    else:
        _kl_gradient(distances, probs, expectations, ce_weights, objective)
    if smooth_weight:
        logits.sub_(smooth_weight * ce_weights.unsqueeze(1))
    logits.scatter_add_(2, index, (-nll_weight * ce_weights).view(1, passes, 1).expand(num_tokens, -1, 1))


def _hits(logits: Tensor, maximum: Tensor, index: Tensor) -> Tensor:
    """Whether argmax is the target: (n, m) of booleans. Of equal logits the first counts."""
    if logits.is_cuda:
        return logits.argmax(2, keepdim=True).eq(index).squeeze(2)
    # On a CPU argmax costs as much as the exponential; it is needed only where the target attains the maximum, to
    # tell whether an earlier class attains it too.
    hits = logits.gather(2, index).eq(maximum).squeeze(2)
    hits[hits.clone()] = logits[hits].argmax(1).eq(index.squeeze(2)[hits])
    return hits


def _kl_distances(log_probs: Tensor, kl: str) -> Tensor:
    """d_i of the formulas above, (n, m, V), written over ``log_probs`` (n, m, V)."""
    passes = log_probs.size(1)
    if kl == "symmetric":
        total = log_probs.sum(1, keepdim=True)  # (n, 1, V)
        return log_probs.mul_(passes).sub_(total)
    later = torch.zeros_like(log_probs[:, 0])  # sum_{j>i} log p_j (n, V)
    for i in reversed(range(passes)):
        own = log_probs[:, i].clone()
        log_probs[:, i].mul_(passes - 1 - i).sub_(later)
        later.add_(own)
    return log_probs


def _kl_gradient(
    distances: Tensor, probs: Tensor, expectations: Tensor, ce_weights: Tensor, objective: Objective
) -> None:
    """Write w_i p_i + c [p_i (d_i - E_i + k_i) - sum p_j] over ``distances`` (n, m, V); ``probs`` is used up.

    w_i is the pass's weight in the cross-entropy; c, k_i and the range of the sum are those of the formulas above.
    """
    passes = probs.size(1)
    symmetric = objective.kl == "symmetric"
    scale = objective.alpha / ((2 if symmetric else 1) * (passes - 1))
    constants = float(passes) if symmetric else torch.arange(passes, device=probs.device)
    shift = (constants - expectations).mul_(scale).add_(ce_weights)  # (n, m)
    distances.mul_(scale).add_(shift.unsqueeze(2)).mul_(probs)
    if symmetric:
        distances.sub_(probs.sum(1, keepdim=True), alpha=scale)
    else:
        for i in range(1, passes):
            distances[:, i].sub_(probs[:, 0], alpha=scale)
            probs[:, 0].add_(probs[:, i])


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: float32 for half precision."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def chunk_size(passes: int, vocabulary_size: int, device: torch.device) -> int:
    """How many tokens make a chunk."""
    return _tokens_of(CHUNK_ELEMENTS, passes, vocabulary_size, device)


def _tokens_of(elements: dict[str, int], passes: int, vocabulary_size: int, device: torch.device) -> int:
    return max(1, elements.get(device.type, elements["cuda"]) // (passes * vocabulary_size))


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
        by_pass = logits.detach().view(passes, -1, vocabulary_size)  # (m, N, V)
        gradient = ctx.needs_input_grad[0]
        # In float32 also for half precision: see FP16_GRADIENT_SCALE.
        result = torch.zeros_like(by_pass, dtype=wide) if gradient else None
        totals = _Totals(target, kept, wide)
        size = chunk_size(passes, vocabulary_size, logits.device)
        for start in range(0, kept.size(0), size):
            rows = kept[start : start + size]
            # Copied token by token, (n, m, V), so that every block of tokens is contiguous.
            chunk = by_pass.transpose(0, 1)[rows].to(wide)
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
        gradient = (gradient * factor).view(-1, gradient.size(2)).to(ctx.dtype)
        return gradient, None, None, None, None, None


class _FusedLinearLoss(torch.autograd.Function):
    """From features and the output projection; the logits exist only a chunk at a time."""

    @staticmethod
    def forward(ctx, features, weight, bias, target, kept, objective, reduction, use_triton):
        ctx.objective, ctx.reduction, ctx.use_triton = objective, reduction, use_triton
        needs = ctx.needs_input_grad[:3]
        # With one upstream gradient per token the weight's gradient cannot be made before they are known.
        eager = any(needs) and reduction == "sum"
        totals, gradients = _run_chunks(
            features, weight, bias, target, kept, objective, needs if eager else None, use_triton
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
                features, weight, bias, target, kept, ctx.objective, needs, ctx.use_triton, grad_loss
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
    token_factors: Tensor | None = None,
) -> tuple[_Totals, list[Tensor | None]]:
    """Project, lose and differentiate chunk by chunk.

    Returns the per-token results and the gradients of features (m*N, D), weight (V, D) and bias (V,) in the wide
    dtype, None where not needed. ``token_factors`` (N,) multiplies the gradient of each token.
    """
    passes, wide = objective.passes, wide_dtype(features.dtype)
    chunk_loss = _triton_or_torch(use_triton)
    # Matrix products in half precision pay on CUDA only; the kernels read and write half precision themselves.
    # Upstream gradients of single tokens are of unknown size: with them the gradient stays in the wide dtype.
    product_dtype = features.dtype if token_factors is None and (features.is_cuda or use_triton) else wide
    chunk_dtype = product_dtype if use_triton else wide
    scale = FP16_GRADIENT_SCALE if product_dtype == torch.float16 else 1.0

    by_pass = features.detach().view(passes, -1, features.size(1))  # (m, N, D)
    # Under autocast the features come in half precision while the parameters are float32.
    weight = weight.detach().to(features.dtype)
    bias = None if bias is None else bias.detach().to(features.dtype)
    needs_features, needs_weight, needs_bias = needs_gradient or (False, False, False)
    # Sums over the chunks in the wide dtype.
    grad_features = torch.zeros_like(by_pass, dtype=wide) if needs_features else None
    grad_weight = torch.zeros_like(weight, dtype=wide) if needs_weight else None
    grad_bias = torch.zeros_like(bias, dtype=wide) if needs_bias else None
    totals = _Totals(target, kept, wide)
    size = chunk_size(passes, weight.size(0), features.device)
    for start in range(0, kept.size(0), size):
        rows = kept[start : start + size]  # (n,)
        inputs = by_pass.transpose(0, 1)[rows].view(-1, features.size(1))  # (n*m, D)
        logits = functional.linear(inputs, weight, bias)  # (n*m, V)
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
    gradients = [None if grad_features is None else grad_features.view_as(features), grad_weight, grad_bias]
    if scale != 1.0:
        gradients = [None if gradient is None else gradient.div_(scale) for gradient in gradients]
    return totals, gradients


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
