"""The flags of R-Drop, which of them go together, and what of them depends on the number of the update."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Optional

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
    rdrop_impl: ChoiceEnum(list(IMPLEMENTATIONS)) = _flag(  # type: ignore[valid-type]  # a type that fairseq makes
        "auto",
        "implementation of the loss: fused (closed-form gradient, in chunks of tokens), triton (the same with kernels "
        "for CUDA), reference (plain autograd), or auto for the fastest that suits the device",
    )
    rdrop_kl: ChoiceEnum(list(KL_CHOICES)) = _flag(  # type: ignore[valid-type]  # a type that fairseq makes
        "symmetric", "divergence of two passes: symmetric, or forward for KL(P_i||P_j) with i before j alone (SimCut)"
    )
    rdrop_ce_passes: ChoiceEnum(list(CE_PASSES_CHOICES)) = _flag(  # type: ignore[valid-type]  # a type that fairseq makes
        "all", "passes whose cross-entropy counts: all, or first (SimCut, R3F)"
    )
    rdrop_interval: int = _flag(
        1, "R-Drop in every so many updates; the others are plain, of the same weight (k-step R-Drop)"
    )
    rdrop_fraction: float = _flag(
        1.0,
        "part of the sentences of each batch, chosen at random, that goes through the model in every pass; the "
        "others go once, of the same weight",
    )
    rdrop_share_encoder: bool = _flag(
        False, "one pass through the encoder, whose output all passes through the decoder take"
    )
    rdrop_dropout_rates: Optional[str] = _flag(
        None, "one dropout rate for each pass, such as 0.3,0.5, in place of all rates above 0; the passes go one by one"
    )
    rdrop_token_cutoff: float = _flag(
        0.0, "probability with which a token's embedding is zeroed in the passes after the first (0.05 in SimCut)"
    )
    rdrop_embedding_noise: float = _flag(
        0.0, "uniform noise up to this on the source's token embeddings in the passes after the first (1e-5 in R3F)"
    )
    rdrop_hidden_weight: float = _flag(
        0.0, "weight of the squared distance of the passes' hidden states, mean over all layers (LR-Drop)"
    )
    rdrop_attention_weight: float = _flag(
        0.0, "weight of the squared distance of the passes' attention matrices, mean over all layers (LR-Drop)"
    )
    rdrop_alpha_warmup_updates: int = _flag(0, "alpha rises linearly to its value over so many updates")
    rdrop_alpha_half_life: int = _flag(0, "after its warm-up alpha halves in every so many updates; 0 for never")

    @classmethod
    def of(cls, values: Any) -> "RDropFlags":
        """Those of a configuration or of fairseq's parsed arguments; a flag that it lacks has its default."""
        given: Dict[str, Any] = {it.name: getattr(values, it.name) for it in fields(cls) if hasattr(values, it.name)}
        given.update({name: str(given[name]) for name in _CHOICES if name in given})  # from members of an enumeration
        return cls(**given)

    @property
    def dropout_rates(self) -> List[float]:
        """One for each pass; none if the model keeps its own.

        Raises:
            UserError: they are no numbers.
        """
        if not self.rdrop_dropout_rates:
            return []
        try:
            return [float(rate) for rate in self.rdrop_dropout_rates.split(",")]
        except ValueError:
            raise UserError(
                f"--rdrop-dropout-rates is {self.rdrop_dropout_rates}; give numbers with commas, such as 0.3,0.5"
            ) from None

    @property
    def layer_weights(self) -> Dict[str, float]:
        """Name in the log -> weight of each distance between layers that has one."""
        weights = {"rdrop_hidden_loss": self.rdrop_hidden_weight, "rdrop_attention_loss": self.rdrop_attention_weight}
        return {name: weight for name, weight in weights.items() if weight}

    @property
    def has_schedule(self) -> bool:
        """Whether alpha is another one in later updates."""
        return self.rdrop_alpha_warmup_updates > 0 or self.rdrop_alpha_half_life > 0

    def alpha_at(self, update: int) -> float:
        """alpha after ``update`` updates: up to N, the end of the warm-up, linear, then halved in every H updates.

        alpha * min(1, (update+1) / N) * 2 ** (-max(0, update+1-max(N, 1)) / H)
        """
        warmup, half_life = self.rdrop_alpha_warmup_updates, self.rdrop_alpha_half_life
        if update + 1 < warmup:
            return self.rdrop_alpha * (update + 1) / warmup
        return self.rdrop_alpha * (0.5 ** ((update + 1 - max(warmup, 1)) / half_life) if half_life else 1.0)

    @property
    def num_ce_passes(self) -> int:
        """How many passes' cross-entropies count: a token with one pass counts so often, to keep its weight."""
        return 1 if self.rdrop_ce_passes == "first" else self.rdrop_passes


_CHOICES = ("rdrop_impl", "rdrop_kl", "rdrop_ce_passes")


@dataclass
class LabelSmoothedCrossEntropyWithRDropConfig(RDropFlags, LabelSmoothedCrossEntropyCriterionConfig):
    """fairseq's label-smoothing flags and those of R-Drop."""


def _name(field_name: str) -> str:
    """How a flag is given."""
    return "--" + field_name.replace("_", "-")


# The flags that depend on the number of the update, and the smallest value of each.
_BY_UPDATE = {"rdrop_interval": 1, "rdrop_alpha_warmup_updates": 0, "rdrop_alpha_half_life": 0}


def check_rdrop_flags(flags: RDropFlags, label_smoothing: float, tells_update_number: bool) -> None:
    """Refuse values of the flags that no training can have, and flags that do not go together.

    Args:
        flags: all of them.
        label_smoothing: fairseq's.
        tells_update_number: whether the task tells the criterion the number of the update, as rdrop_translation does.

    Raises:
        UserError: a number out of its range, Triton without a CUDA device, a variant without R-Drop, or one that
            depends on the number of the update with a task that does not tell it.
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
            flag = _name(it.name)
            raise UserError(f"{flag} does nothing with --rdrop-alpha 0; give --rdrop-alpha 5, say, or leave {flag} out")
    if not 0 < flags.rdrop_fraction <= 1:
        raise UserError(f"--rdrop-fraction is {flags.rdrop_fraction}; give a number above 0 and up to 1")
    rates = flags.dropout_rates
    if rates and not (len(rates) == flags.rdrop_passes and all(0 <= rate < 1 for rate in rates)):
        raise UserError(
            f"--rdrop-dropout-rates is {flags.rdrop_dropout_rates}; give as many numbers from 0 to below 1 as "
            f"--rdrop-passes has, {flags.rdrop_passes}"
        )
    if not 0 <= flags.rdrop_token_cutoff < 1:
        raise UserError(f"--rdrop-token-cutoff is {flags.rdrop_token_cutoff}; give a number from 0 to below 1")
    for name in ("rdrop_embedding_noise", "rdrop_hidden_weight", "rdrop_attention_weight"):
        if not 0 <= getattr(flags, name) < math.inf:
            raise UserError(f"{_name(name)} is {getattr(flags, name)}; give a finite number >= 0")
    for name in ("rdrop_dropout_rates", "rdrop_token_cutoff", "rdrop_embedding_noise"):
        if flags.rdrop_share_encoder and getattr(flags, name):
            raise UserError(
                f"{_name(name)} changes the encoder in the passes after the first, and --rdrop-share-encoder has no "
                "such pass there; leave one of them out"
            )
    for name, smallest in _BY_UPDATE.items():
        value, flag = getattr(flags, name), _name(name)
        if value < smallest:
            raise UserError(f"{flag} is {value}; give a whole number from {smallest}")
        if value > smallest and not tells_update_number:
            raise UserError(f"{flag} needs the number of the update; give --task rdrop_translation, which tells it")
