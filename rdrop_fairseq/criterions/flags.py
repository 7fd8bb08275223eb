"""The flags of R-Drop, which of them go together, and what of them depends on the number of the update."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Dict

import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterionConfig
from fairseq.dataclass import ChoiceEnum

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.losses import IMPLEMENTATIONS
from rdrop_fairseq.losses.objective import CE_PASSES_CHOICES, KL_CHOICES


def _flag(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class RDropFlags:
    """The flags of R-Drop and their defaults; docs/variants.md has the formula and the source of each variant."""

    rdrop_alpha: float = _flag(
        0.0, "weight of the KL term of R-Drop (alpha in the paper, 5 there); 0 trains without R-Drop"
    )
    rdrop_passes: int = _flag(2, "how often each sample goes through the model under different dropout, at least 2")
    rdrop_impl: ChoiceEnum(list(IMPLEMENTATIONS)) = _flag(  # type: ignore[valid-type]  # the type is made by fairseq
        "auto",
        "implementation of the loss: fused (closed-form gradient, in chunks of tokens), triton (the same with kernels "
        "for CUDA), reference (plain autograd), or auto for the fastest that suits the device",
    )
    rdrop_kl: ChoiceEnum(list(KL_CHOICES)) = _flag(  # type: ignore[valid-type]
        "symmetric", "divergence of two passes: symmetric, or forward for KL(P_i||P_j) with i before j alone (SimCut)"
    )
    rdrop_ce_passes: ChoiceEnum(list(CE_PASSES_CHOICES)) = _flag(  # type: ignore[valid-type]
        "all", "passes whose cross-entropy counts: all, or first (SimCut, R3F)"
    )

    @classmethod
    def of(cls, values: Any) -> "RDropFlags":
        """Those of a configuration or of fairseq's parsed arguments; a flag that it lacks has its default."""
        given: Dict[str, Any] = {it.name: getattr(values, it.name) for it in fields(cls) if hasattr(values, it.name)}
        given.update({name: str(given[name]) for name in _CHOICES if name in given})  # from members of an enumeration
        return cls(**given)

    @property
    def num_ce_passes(self) -> int:
        """How many passes' cross-entropies count: a token with one pass counts so often, to keep its weight."""
        return 1 if self.rdrop_ce_passes == "first" else self.rdrop_passes


_CHOICES = ("rdrop_impl", "rdrop_kl", "rdrop_ce_passes")


@dataclass
class LabelSmoothedCrossEntropyWithRDropConfig(RDropFlags, LabelSmoothedCrossEntropyCriterionConfig):
    """fairseq's label-smoothing flags and those of R-Drop."""


def check_rdrop_flags(flags: RDropFlags, label_smoothing: float) -> None:
    """Refuse values of the flags that no training can have, and flags that do not go together.

    Raises:
        UserError: a number out of its range, Triton without a CUDA device, or a variant without R-Drop.
    """
    alpha = flags.rdrop_alpha
    if not (math.isfinite(alpha) and alpha >= 0):
        raise UserError(f"--rdrop-alpha is {alpha}; give a finite number >= 0 (the paper uses 5)")
    if flags.rdrop_passes < 2:
        raise UserError(f"--rdrop-passes is {flags.rdrop_passes}; give at least 2 (--rdrop-alpha 0 for one plain pass)")
    if alpha > 0 and not 0 <= label_smoothing < 1:
        raise UserError(f"--label-smoothing is {label_smoothing}; give a number from 0 to below 1, for example 0.1")
    if flags.rdrop_impl == "triton" and not torch.cuda.is_available():
        raise UserError("--rdrop-impl triton needs a CUDA device and there is none; use auto or fused")
    for it in fields(RDropFlags):
        # These two have always been taken without R-Drop.
        if alpha == 0 and it.name not in ("rdrop_passes", "rdrop_impl") and getattr(flags, it.name) != it.default:
            flag = "--" + it.name.replace("_", "-")
            raise UserError(f"{flag} does nothing with --rdrop-alpha 0; give --rdrop-alpha 5, say, or leave {flag} out")
