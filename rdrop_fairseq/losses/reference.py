"""The objective as it is written, by autograd: the specification that the fast implementations are tested against.

Clear rather than quick: it makes about five tensors of size (passes*N, V).
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as functional
from torch import Tensor

from rdrop_fairseq.losses.objective import BANNED_LOGIT, Objective, RDropLossOutput


def reference_rdrop_loss(logits: Tensor, target: Tensor, objective: Objective, reduction: str) -> RDropLossOutput:
    """The loss from logits (passes*N, V) and target (N,); half precision is computed in float32."""
    passes, keep = objective.passes, target.ne(objective.ignore_index)
    logits = logits.reshape(passes, -1, logits.size(1))[:, keep]  # (passes, K, V): nothing at padding counts
    index = target[keep].expand(passes, -1).unsqueeze(2)  # (passes, K, 1)
    wide = logits.dtype if logits.dtype in (torch.float32, torch.float64) else torch.float32
    log_probs = functional.log_softmax(logits, dim=-1, dtype=wide)
    # Added rather than filled in: the cross-entropy's gradient is finite where the cross-entropy is not.
    log_probs = log_probs + torch.zeros_like(log_probs).masked_fill(log_probs < BANNED_LOGIT, -math.inf)

    nll = -log_probs.gather(2, index).squeeze(2)  # (passes, K)
    cross_entropy = nll
    if objective.label_smoothing:
        # fairseq's (1-eps-eps_i) nll + eps_i sum_v(-log p_v), with the target's two terms in one.
        _, smooth_weight = objective.smoothing_weights(log_probs.size(2))
        others = -log_probs.scatter(2, index, 0.0).sum(2)
        cross_entropy = (1 - objective.label_smoothing) * nll + smooth_weight * others
    loss = cross_entropy[: objective.num_ce_passes].sum(0)  # (K,)

    kl = torch.zeros_like(loss)
    pairs = list(itertools.combinations(log_probs, 2))
    for one, other in pairs:
        divergence = _kl(one, other)
        if objective.kl == "symmetric":
            divergence = (divergence + _kl(other, one)) / 2
        kl = kl + divergence / len(pairs)
    if objective.kl_weight and pairs:
        loss = loss + objective.kl_weight * kl
    # Hits are counted on the logits as given, as fairseq does: ties go to the first class.
    hits = logits.detach().argmax(2, keepdim=True).eq(index)  # (passes, K, 1)
    return RDropLossOutput(
        loss=loss.sum() if reduction == "sum" else loss.new_zeros(target.shape).masked_scatter(keep, loss),
        nll_loss=nll.detach().mean(0).sum(),
        kl_loss=kl.detach().sum(),
        n_correct=hits.sum(dtype=wide) / passes,
    )


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(P||Q) of each row (K,), from log-probabilities (K, V): infinite where Q bans a class that P does not."""
    ratio = (log_p - log_q).masked_fill(torch.isneginf(log_p), 0.0)
    probs = log_p.exp()
    # A probability may round to 0 although its class is not banned; 0 times infinity would be NaN.
    return (probs * ratio).masked_fill(probs.eq(0) & torch.isposinf(ratio), math.inf).sum(1)


def reference_linear_rdrop_loss(
    features: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, objective: Objective, reduction: str
) -> RDropLossOutput:
    """The loss from features (passes*N, D), the output projection (V, D) and its bias (V,) or None."""
    logits = functional.linear(features, weight, bias)
    return reference_rdrop_loss(logits, target, objective, reduction)
