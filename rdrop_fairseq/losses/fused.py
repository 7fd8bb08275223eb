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

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.autograd.function import once_differentiable

from rdrop_fairseq.losses.objective import Objective, RDropLossOutput, refuse_banned_columns

# A chunk of logits of about this many elements (all passes together) stays in the last-level cache of a CPU.
CHUNK_ELEMENTS = 2**22
# On a CUDA device larger chunks are needed to fill the processors; 2**26 float32 logits are 256 MiB.
CUDA_CHUNK_ELEMENTS = 2**26
# Stands for the logit -inf: finite, so that 0 * (m log p - S) is 0 and not NaN, and m times it fits float32.
BANNED_LOGIT = -1e30


def fused_rdrop_loss(
    logits: Tensor, target: Tensor, objective: Objective, reduction: str, num_tokens: int | None
) -> RDropLossOutput:
    """The loss from logits (passes*N, V) and target (N,); half precision is computed in float32."""
    kept = non_pad_indices(target, objective.ignore_index, num_tokens)
    return RDropLossOutput(*_FusedLoss.apply(logits, target, kept, objective, reduction))


def fused_linear_rdrop_loss(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    objective: Objective,
    reduction: str,
    num_tokens: int | None,
) -> RDropLossOutput:
    """The loss from features (passes*N, D), the output projection (V, D) and its bias (V,) or None."""
    kept = non_pad_indices(target, objective.ignore_index, num_tokens)
    return RDropLossOutput(*_FusedLinearLoss.apply(features, weight, bias, target, kept, objective, reduction))


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


def loss_of_chunk(logits: Tensor, target: Tensor, objective: Objective, results: Tensor, gradient: bool) -> None:
    """The per-token results of a chunk and, in the place of its logits, the gradient.

    Args:
        logits: (m, n, V) float32 or float64, contiguous. Overwritten: with dL/dlogits if ``gradient``.
        target: (n,) without padding.
        results: (4, n), filled with loss, nll (mean over the passes), kl (mean over the pairs), hits (mean).
        gradient: whether the gradient is wanted.
    """
    passes, num_tokens, vocabulary_size = logits.shape
    nll_weight, smooth_weight = objective.smoothing_weights(vocabulary_size)
    ce_weights = logits.new_tensor(objective.ce_weights).unsqueeze(1)  # (m, 1)
    index = target.view(1, num_tokens, 1).expand(passes, -1, -1)  # (m, n, 1)

    results[3] = logits.argmax(2).eq(target).sum(0) / passes
    if smooth_weight == 0:
        logits.clamp_(min=BANNED_LOGIT)
    log_probs = torch.log_softmax(logits, dim=2, out=logits)  # (m, n, V), in the memory of the logits

    nll = -log_probs.gather(2, index).squeeze(2)  # (m, n)
    cross_entropy = nll_weight * nll
    if smooth_weight:
        smooth = -log_probs.sum(2)
        if not smooth.is_cuda and torch.isinf(smooth).any():
            raise refuse_banned_columns()
        cross_entropy = cross_entropy.add(smooth, alpha=smooth_weight)
    results[0] = (ce_weights * cross_entropy).sum(0)
    results[1] = nll.mean(0)

    # No KL term: one pass, or alpha = 0 and the value is still wanted for the log.
    probs = log_probs.exp()  # (m, n, V)
    if passes > 1:
        distances = kl_distances(log_probs, objective.kl)  # d_i, in the memory of the log-probabilities
        expectations = torch.linalg.vecdot(probs, distances)  # E_{p_i} d_i (m, n)
        pairs_per_sum = 2 if objective.kl == "symmetric" else 1
        kl = expectations.sum(0) * (2 / (pairs_per_sum * passes * (passes - 1)))
        results[2] = kl
        results[0].add_(kl, alpha=objective.kl_weight)
    if not gradient:
        return
    if passes == 1 or objective.alpha == 0:
        torch.mul(probs, ce_weights.unsqueeze(2), out=logits)
    else:
        kl_gradient_(distances, probs, expectations, objective)
    if smooth_weight:
        logits.sub_(smooth_weight * ce_weights.unsqueeze(2))
    logits.scatter_add_(2, index, (-nll_weight * ce_weights.unsqueeze(2)).expand(-1, num_tokens, 1))


def kl_distances(log_probs: Tensor, kl: str) -> Tensor:
    """d_i of the formulas above, (m, n, V), written over ``log_probs`` (m, n, V)."""
    passes = log_probs.size(0)
    if kl == "symmetric" and passes == 2:
        # d_1 = log p_1 - log p_2 = -d_2.
        torch.sub(log_probs[0], log_probs[1], out=log_probs[0])
        torch.neg(log_probs[0], out=log_probs[1])
    elif kl == "symmetric":
        total = log_probs.sum(0)  # (n, V)
        log_probs.mul_(passes).sub_(total)
    else:
        later = torch.zeros_like(log_probs[0])  # sum_{j>i} log p_j (n, V)
        for i in reversed(range(passes)):
            own = log_probs[i].clone() if i > 0 else None
            log_probs[i].mul_(passes - 1 - i).sub_(later)
            if own is not None:
                later.add_(own)
    return log_probs


def kl_gradient_(distances: Tensor, probs: Tensor, expectations: Tensor, objective: Objective) -> None:
    """Write w_i p_i + c [p_i (d_i - E_i + k_i) - sum p_j] over ``distances`` (m, n, V); ``probs`` is used up.

    w_i is the pass's weight in the cross-entropy; c, k_i and the range of the sum are those of the formulas above.
    """
    passes = probs.size(0)
    symmetric = objective.kl == "symmetric"
    scale = objective.alpha / ((2 if symmetric else 1) * (passes - 1))
    for i, ce_weight in enumerate(objective.ce_weights):
        constant = passes if symmetric else i
        shift = (constant - expectations[i]).mul_(scale).add_(ce_weight)  # (n,)
        distances[i].mul_(scale).add_(shift.unsqueeze(1)).mul_(probs[i])
    if symmetric:
        distances.sub_(probs.sum(0), alpha=scale)
    else:
        for i in range(1, passes):
            distances[i].sub_(probs[0], alpha=scale)
            if i + 1 < passes:
                probs[0].add_(probs[i])


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: float32 for half precision."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def chunk_size(passes: int, vocabulary_size: int, device: torch.device) -> int:
    """How many tokens make a chunk."""
    elements = CUDA_CHUNK_ELEMENTS if device.type == "cuda" else CHUNK_ELEMENTS
    return max(1, elements // (passes * vocabulary_size))


class _FusedLoss(torch.autograd.Function):
    """From logits; the gradient is one tensor like the logits, scaled in the backward pass."""

    @staticmethod
    def forward(ctx, logits, target, kept, objective, reduction):
        passes, vocabulary_size = objective.passes, logits.size(1)
        ctx.passes = passes
        wide = wide_dtype(logits.dtype)
        by_pass = logits.detach().view(passes, -1, vocabulary_size)  # (m, N, V)
        gradient = ctx.needs_input_grad[0]
        # Float32 also for half precision: at unit scale the small entries of the gradient underflow in fp16,
        # and the loss scale is known only in the backward pass.
        result = torch.zeros_like(by_pass, dtype=wide) if gradient else None
        totals = _Totals(target, kept, wide)
        size = chunk_size(passes, vocabulary_size, logits.device)
        for start in range(0, kept.size(0), size):
            rows = kept[start : start + size]
            chunk = by_pass.index_select(1, rows).to(wide)
            loss_of_chunk(chunk, target[rows], objective, totals.rows[:, start : start + size], gradient)
            if gradient:
                result.index_copy_(1, rows, chunk)
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
        return (gradient * factor).view(-1, gradient.size(2)).to(ctx.dtype), None, None, None, None


class _FusedLinearLoss(torch.autograd.Function):
    """From features and the output projection; the logits exist only a chunk at a time."""

    @staticmethod
    def forward(ctx, features, weight, bias, target, kept, objective, reduction):
        ctx.objective, ctx.reduction = objective, reduction
        needs = ctx.needs_input_grad[:3]
        # With one upstream gradient per token the weight's gradient cannot be made before they are known.
        eager = any(needs) and reduction == "sum"
        totals, gradients = _run_chunks(features, weight, bias, target, kept, objective, needs if eager else None)
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
            _, gradients = _run_chunks(
                features, weight, bias, target, kept, ctx.objective, ctx.needs_input_grad[:3], grad_loss
            )
        gradients = [None if g is None else g.to(dtype) for g, dtype in zip(gradients, ctx.dtypes)]
        return (*gradients, None, None, None, None)


def _run_chunks(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    kept: Tensor,
    objective: Objective,
    needs_gradient: tuple[bool, bool, bool] | None,
    token_factors: Tensor | None = None,
) -> tuple[_Totals, list[Tensor | None]]:
    """Project, lose and differentiate chunk by chunk.

    Returns the per-token results and the gradients of features (m*N, D), weight (V, D) and bias (V,) in the wide
    dtype, None where not needed. ``token_factors`` (N,) multiplies the gradient of each token.
    """
    passes, wide = objective.passes, wide_dtype(features.dtype)
    by_pass = features.detach().view(passes, -1, features.size(1))  # (m, N, D)
    # Under autocast the features come in half precision while the parameters are float32.
    weight = weight.detach().to(features.dtype)
    bias = None if bias is None else bias.detach().to(features.dtype)
    needs_features, needs_weight, needs_bias = needs_gradient or (False, False, False)
    # Accumulated in the wide dtype: for half precision see _FusedLoss.
    grad_features = torch.zeros_like(by_pass, dtype=wide) if needs_features else None
    grad_weight = torch.zeros_like(weight, dtype=wide) if needs_weight else None
    grad_bias = torch.zeros_like(bias, dtype=wide) if needs_bias else None
    totals = _Totals(target, kept, wide)
    size = chunk_size(passes, weight.size(0), features.device)
    for start in range(0, kept.size(0), size):
        rows = kept[start : start + size]  # (n,)
        inputs = by_pass.index_select(1, rows).view(-1, features.size(1))  # (m*n, D)
        logits = functional.linear(inputs, weight, bias)  # (m*n, V)
        chunk = logits.to(wide).view(passes, -1, weight.size(0))
        loss_of_chunk(
            chunk, target[rows], objective, totals.rows[:, start : start + size], needs_gradient is not None
        )
        if needs_gradient is None:
            continue
        if token_factors is not None:
            chunk.mul_(token_factors[rows].to(wide).view(1, -1, 1))
        grad_logits = chunk.view(-1, weight.size(0))  # (m*n, V)
        if needs_features:
            grad_features.index_copy_(1, rows, torch.mm(grad_logits, weight.to(wide)).view(passes, len(rows), -1))
        if needs_weight:
            grad_weight.addmm_(grad_logits.t(), inputs.to(wide))
        if needs_bias:
            grad_bias += grad_logits.sum(0)
    return totals, [None if grad_features is None else grad_features.view_as(features), grad_weight, grad_bias]
