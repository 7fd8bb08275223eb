"""The objective as it is written, by autograd: the specification that the fast implementations are tested against.

Clear rather than quick: it makes about five tensors of size (passes*N, V).
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as functional
from torch import Tensor

from rdrop_fairseq.losses.objective import Objective, RDropLossOutput, refuse_banned_columns


def reference_rdrop_loss(logits: Tensor, target: Tensor, objective: Objective, reduction: str) -> RDropLossOutput:
    """The loss from logits (passes*N, V) and target (N,); half precision is computed in float32.

    Raises:
        ValueError: label smoothing with a logit of -inf.
    """
    num_tokens, passes = target.size(0), objective.passes
    vocabulary_size = logits.size(-1)
    wide = logits.dtype if logits.dtype in (torch.float32, torch.float64) else torch.float32
    log_probs = functional.log_softmax(logits, dim=-1, dtype=wide).reshape(passes, num_tokens, vocabulary_size)
    keep = target.ne(objective.ignore_index)  # (N,)
    index = target.where(keep, torch.zeros_like(target)).view(1, num_tokens, 1).expand(passes, -1, -1)

    nll = -log_probs.gather(2, index).squeeze(2)  # (passes, N)
    nll_weight, smooth_weight = objective.smoothing_weights(vocabulary_size)
    cross_entropy = nll_weight * nll  # (passes, N)
    if smooth_weight:
        smooth = -log_probs.sum(2)
        if torch.isinf(smooth[:, keep]).any():
            raise refuse_banned_columns()
        cross_entropy = cross_entropy + smooth_weight * smooth
    ce_weights = torch.tensor(objective.ce_weights, dtype=wide, device=logits.device)
    cross_entropy = (ce_weights.unsqueeze(1) * cross_entropy).sum(0)  # (N,)

    # A class that is banned (-inf) in every pass has probability 0 in all of them: 0 * (-inf - -inf) is 0 here.
    banned = torch.isneginf(log_probs).all(0)  # (N, V)
    finite = log_probs.masked_fill(banned, 0.0)
    probs = log_probs.exp()
    pair_terms = []
    for i, j in itertools.combinations(range(passes), 2):
        forward = (probs[i] * (finite[i] - finite[j])).sum(1)  # KL(P_i || P_j)
        if objective.kl == "symmetric":
            backward = (probs[j] * (finite[j] - finite[i])).sum(1)
            pair_terms.append((forward + backward) / 2)
        else:
            pair_terms.append(forward)
    kl = torch.stack(pair_terms).mean(0) if pair_terms else torch.zeros_like(cross_entropy)  # (N,)

    loss = cross_entropy
    if objective.kl_weight:
        loss = loss + objective.kl_weight * kl
    loss = loss.masked_fill(~keep, 0.0)
    # Hits are counted on the logits as given, as fairseq does: ties go to the first class.
    hits = logits.detach().reshape(passes, num_tokens, vocabulary_size).argmax(2).eq(target)  # (passes, N)
    return RDropLossOutput(
        loss=loss if reduction == "none" else loss.sum(),
        nll_loss=nll.detach()[:, keep].mean(0).sum(),
        kl_loss=kl.detach()[keep].sum(),
        n_correct=hits[:, keep].sum(dtype=wide) / passes,
    )


def reference_linear_rdrop_loss(
    features: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, objective: Objective, reduction: str
) -> RDropLossOutput:
    """The loss from features (passes*N, D), the output projection (V, D) and its bias (V,) or None."""
    logits = functional.linear(features, weight, bias)
    return reference_rdrop_loss(logits, target, objective, reduction)
