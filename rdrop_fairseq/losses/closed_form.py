"""The gradient of the objective in closed form, for one chunk of tokens, in a few passes over memory.

With p_i the distribution of pass i and, for the symmetric KL, d_i = log p_i - mean_j log p_j:

    sum_{i<j} 2 J_ij = m sum_i E_{p_i}[d_i]
    dL/dz_i = p_i - eps_i - (1-eps-eps_i) onehot + alpha m/(2(m-1)) [ p_i (d_i - E_{p_i} d_i + 1) - mean_j p_j ]

and for the forward KL, with i counted from 0, d_i = (m-1-i) log p_i - sum_{j>i} log p_j:

    sum_{i<j} KL(P_i||P_j) = sum_i E_{p_i}[d_i]
    dL/dz_i = p_i - eps_i - (1-eps-eps_i) onehot + alpha/(m-1) [ p_i (d_i - E_{p_i} d_i + i) - sum_{j<i} p_j ]

Both follow from d log p_i,u / d z_i,v = [u = v] - p_i,v. A KL is infinite where d_i,v is, for a class v of any
probability above 0, however small.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rdrop_fairseq.losses.objective import BANNED_LOGIT, Objective

# The element-wise steps run on blocks of about this many logits: on a CPU small, so that a dozen steps find the
# block in the cache; elsewhere large, so that each step fills the device.
BLOCK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}
# BANNED_LOGIT stands for -inf in the sums: finite, so that 0 * d is 0 and not NaN, and small enough that m times it
# fits float32. What is above this comes of it and stands for infinity.
LARGEST_FINITE = 1e24


def loss_of_chunk(
    logits: Tensor,
    target: Tensor,
    objective: Objective,
    results: Tensor,
    gradient: bool,
) -> None:
    """The per-token results of a chunk and, in the place of its logits, the gradient.

    Args:
        logits: (n, m, V) float32 or float64, contiguous. Overwritten: with the gradient if that is wanted.
        target: (n,) without padding.
        results: (4, n), filled with loss, nll (mean over the passes), kl (mean over the pairs), hits (mean).
        gradient: whether dL/dlogits is wanted.
    """
    num_tokens, passes, vocabulary_size = logits.shape
    size = tokens_of(BLOCK_ELEMENTS, passes, vocabulary_size, logits.device)
    # Made once: fresh memory for every block would be paid for in page faults.
    probs, products = torch.empty_like(logits[:size]), torch.empty_like(logits[:size])
    for start in range(0, num_tokens, size):
        block = logits[start : start + size]
        part = slice(start, start + len(block))
        _loss_of_block(
            block, target[part], objective, results[:, part], gradient, probs[: len(block)], products[: len(block)]
        )


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
    ce_weights = logits.new_ones(passes, 1)  # filled on the device: a copy from the host would wait for it
    ce_weights[objective.num_ce_passes :] = 0.0
    index = target.view(num_tokens, 1, 1).expand(-1, passes, 1)  # (n, m, 1)

    maximum = logits.amax(2, keepdim=True)  # (n, m, 1)
    results[3] = _hits(logits, maximum, index).sum(1, dtype=results.dtype) / passes
    logits.sub_(maximum).clamp_(min=BANNED_LOGIT)
    torch.exp(logits, out=probs)
    normaliser = probs.sum(2, keepdim=True)  # (n, m, 1)
    probs.mul_(normaliser.reciprocal())
    log_probs = logits.sub_(normaliser.log_())  # in the memory of the logits

    nll = -log_probs.gather(2, index)  # (n, m, 1)
    cross_entropy, largest = nll_weight * nll, nll
    if smooth_weight:
        largest = -log_probs.sum(2, keepdim=True)
        cross_entropy.add_(largest, alpha=smooth_weight)
    cross_entropy.masked_fill_(largest > LARGEST_FINITE, math.inf)
    results[0] = cross_entropy[:, : objective.num_ce_passes].sum((1, 2))
    results[1] = nll.masked_fill_(nll > LARGEST_FINITE, math.inf).mean((1, 2))

    if passes > 1:
        distances = _kl_distances(log_probs, objective.kl)  # in the memory of the log-probabilities
        expectations = torch.mul(probs, distances, out=products).sum(2, keepdim=True)  # E_{p_i} d_i (n, m, 1)
        expectations.masked_fill_(distances.amax(2, keepdim=True) > LARGEST_FINITE, math.inf)
        # To the mean over the m (m-1) / 2 pairs.
        to_mean = 1 / (passes - 1) * (1 if objective.kl == "symmetric" else 2 / passes)
        results[2] = expectations.sum((1, 2)) * to_mean
        if objective.alpha:
            results[0].add_(results[2], alpha=objective.kl_weight)
    if not gradient:
        return
    if passes == 1 or objective.alpha == 0:
        torch.mul(probs, ce_weights, out=logits)
        if smooth_weight:
            logits.sub_(smooth_weight * ce_weights)
    else:
        _kl_gradient(distances, probs, expectations, ce_weights, smooth_weight, objective)
    logits.scatter_add_(2, index, (-nll_weight * ce_weights).expand(num_tokens, -1, 1))


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
    if kl == "symmetric" and passes == 2:
        # Of opposite sign to the last bit: what rounding adds to one E_{p_i}[d_i] it takes from the other.
        first = log_probs[:, 0].sub_(log_probs[:, 1]).mul_(0.5)
        torch.neg(first, out=log_probs[:, 1])
        return log_probs
    if kl == "symmetric":
        return log_probs.sub_(_weighted_sum(log_probs, 1 / passes))
    later = torch.zeros_like(log_probs[:, 0])  # sum_{j>i} log p_j (n, V)
    for i in reversed(range(passes)):
        own = log_probs[:, i].clone()
        log_probs[:, i].mul_(passes - 1 - i).sub_(later)
        later.add_(own)
    return log_probs


def _kl_gradient(
    distances: Tensor,
    probs: Tensor,
    expectations: Tensor,
    ce_weights: Tensor,
    smooth_weight: float,
    objective: Objective,
) -> None:
    """Write dL/dz_i but for the onehot over ``distances`` (n, m, V); ``probs`` is used up.

    ``expectations`` (n, m, 1) are E_{p_i}[d_i], ``ce_weights`` (m, 1) what the cross-entropy of each pass counts.
    """
    passes = probs.size(1)
    if objective.kl == "symmetric":
        scale = objective.alpha * passes / (2 * (passes - 1))
        factors = torch.add((1 - expectations) * scale + ce_weights, distances, alpha=scale, out=distances)
        # Minus the mean and, where it is the same for all passes, minus the smoothing: one tensor (n, 1, V).
        if objective.ce_passes == "all":
            rest = _weighted_sum(probs, -scale / passes).sub_(smooth_weight)
            torch.addcmul(rest, probs, factors, out=distances)
            return
        torch.addcmul(_weighted_sum(probs, -scale / passes), probs, factors, out=distances)
    else:
        scale = objective.alpha / (passes - 1)
        earlier = torch.arange(passes, device=probs.device).unsqueeze(1)  # (m, 1), how many passes come before
        distances.mul_(scale).add_((earlier - expectations) * scale + ce_weights).mul_(probs)
        for i in range(1, passes):
            distances[:, i].sub_(probs[:, 0], alpha=scale)
            probs[:, 0].add_(probs[:, i])
    if smooth_weight:
        distances.sub_(smooth_weight * ce_weights)


def _weighted_sum(values: Tensor, weight: float) -> Tensor:
    """``weight * values.sum(1, keepdim=True)`` of (n, m, V), in half the time of that sum on a CPU."""
    total = values[:, 0] + values[:, 1]
    for i in range(2, values.size(1)):
        total.add_(values[:, i])
    return total.mul_(weight).unsqueeze(1)


def tokens_of(elements: dict[str, int], passes: int, vocabulary_size: int, device: torch.device) -> int:
    """How many tokens have about ``elements`` (by type of device) logits, all passes together; at least 1."""
    return max(1, elements.get(device.type, elements["cuda"]) // (passes * vocabulary_size))
