"""What every implementation of the loss computes: the settings of the objective, checked, and the result.

For each target token, with m passes of the same input through the model under different dropout masks
(R-Drop, arXiv 2106.14448, equation 4, extended from two passes to m):

    L = sum_i CE_i + alpha * (m/2) * mean_{i<j} J_ij        J_ij = 1/2 [KL(P_i||P_j) + KL(P_j||P_i)]

CE is fairseq's label-smoothed cross-entropy: with eps_i = eps / (V - 1),
(1 - eps - eps_i) * nll + eps_i * sum_v(-log p_v). The factor m/2 keeps the balance between CE and KL, and so
the meaning of alpha, the same for every m. For m = 2 this is CE_1 + CE_2 + alpha/2 [KL(P_1||P_2) + KL(P_2||P_1)].
``kl="forward"`` puts KL(P_i||P_j), i < j, in the place of J_ij; ``ce_passes="first"`` keeps CE_1 alone.

A logit of -inf bans its class: the probability is 0, and by the usual convention 0 log 0 = 0 log (0/0) = 0. So a class
that is banned in every pass takes no part where eps = 0. Where a banned class counts, the loss is infinite: as the
target, under label smoothing, and in KL(P||Q) where Q bans what P does not. A cross-entropy that is infinite has finite
gradients, those of torch's own; a KL that is infinite has none, and the gradient of its token is not a number.
"""

from __future__ import annotations

import math
import numbers
import operator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

KL_CHOICES = ("symmetric", "forward")
CE_PASSES_CHOICES = ("all", "first")
REDUCTION_CHOICES = ("sum", "none")
# Logits below this count as -inf: masks are often made with the smallest finite number in place of it. A power of two,
# so that multiples of it are exact.
BANNED_LOGIT = -(2.0**100)


class RDropLossOutput(NamedTuple):
    """The result of :func:`rdrop_loss` and :func:`linear_rdrop_loss`; every sum runs over non-pad tokens."""

    loss: torch.Tensor
    """Differentiable: L in nats, summed, shape (); with ``reduction="none"`` per token, shape (N,), 0 at pads."""
    nll_loss: torch.Tensor
    """Detached, shape (): negative log-likelihood in nats, mean over the passes, summed over the tokens."""
    kl_loss: torch.Tensor
    """Detached, shape (): mean over the pairs of passes of J_ij (or of KL(P_i||P_j)), in nats, summed."""
    n_correct: torch.Tensor
    """Detached, shape (): how often argmax hits the target, mean over the passes, summed over the tokens."""


@dataclass(frozen=True)
class Objective:
    """The settings of the objective.

    Attributes:
        alpha: weight of the KL term, finite and >= 0.
        passes: m, the number of forward passes of each token, >= 1, any integer type. One pass has no KL term.
        label_smoothing: eps, 0 <= eps < 1.
        ignore_index: the target value of padding; such tokens count nowhere and get zero gradients.
        kl: "symmetric" or "forward".
        ce_passes: "all" or "first".

    Raises:
        ValueError: a value outside the ranges above.
    """

    alpha: float
    passes: int
    label_smoothing: float
    ignore_index: int
    kl: str = "symmetric"
    ce_passes: str = "all"

    def __post_init__(self) -> None:
        for name in ("alpha", "label_smoothing"):
            if not isinstance(getattr(self, name), numbers.Real):
                raise ValueError(f"{name} must be a number, got {getattr(self, name)!r}")
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be a finite number >= 0, got {self.alpha}")
        for name in ("passes", "ignore_index"):
            object.__setattr__(self, name, require_integer(name, getattr(self, name)))
        if self.passes < 1:
            raise ValueError(f"passes must be an integer >= 1, got {self.passes}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        require_choice("kl", self.kl, KL_CHOICES)
        require_choice("ce_passes", self.ce_passes, CE_PASSES_CHOICES)

    def smoothing_weights(self, vocabulary_size: int) -> tuple[float, float]:
        """The weights of nll and of sum_v(-log p_v) in CE, as fairseq defines them."""
        if self.label_smoothing == 0:
            return 1.0, 0.0
        if vocabulary_size < 2:
            raise ValueError(f"label smoothing needs at least 2 classes, got {vocabulary_size}")
        per_class = self.label_smoothing / (vocabulary_size - 1)
        return 1.0 - self.label_smoothing - per_class, per_class

    @property
    def num_ce_passes(self) -> int:
        """How many passes' cross-entropies count, from the first on."""
        return 1 if self.ce_passes == "first" else self.passes

    @property
    def kl_weight(self) -> float:
        """The factor alpha * m/2 of the mean over the pairs of passes."""
        return self.alpha * self.passes / 2


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def require_integer(name: str, value: Any) -> int:
    """``value`` as an int, if it is an integer of any type (numpy's, a tensor's) but bool; else raise ValueError."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name} must be an integer, got {value!r}")
