"""The R-Drop loss for any training loop: torch only, not one fairseq import.

``rdrop_loss`` takes logits; ``linear_rdrop_loss`` takes features and the output projection and never makes the
logits whole. Both compute the objective of :mod:`rdrop_fairseq.losses.objective`.
"""

from __future__ import annotations

from torch import Tensor

from rdrop_fairseq.losses.fused import fused_linear_rdrop_loss, fused_rdrop_loss
from rdrop_fairseq.losses.objective import REDUCTION_CHOICES, Objective, RDropLossOutput, require_choice
from rdrop_fairseq.losses.reference import reference_linear_rdrop_loss, reference_rdrop_loss

__all__ = ["IMPLEMENTATIONS", "RDropLossOutput", "linear_rdrop_loss", "rdrop_loss"]

IMPLEMENTATIONS = ("auto", "reference", "fused", "triton")


def rdrop_loss(
    logits: Tensor,
    target: Tensor,
    alpha: float = 5.0,
    passes: int = 2,
    label_smoothing: float = 0.1,
    ignore_index: int = 1,
    impl: str = "auto",
    kl: str = "symmetric",
    ce_passes: str = "all",
    reduction: str = "sum",
    num_tokens: int | None = None,
) -> RDropLossOutput:
    """Label-smoothed cross-entropy of every pass plus the weighted KL between the passes (R-Drop).

    Args:
        logits: (passes*N, V), floating point, rows pass after pass: [x; x]. Normalised log-probabilities do as well.
        target: (N,) integers, the class of each token; ``ignore_index`` marks padding.
        alpha: weight of the KL term (the paper's alpha), >= 0.
        passes: the number m of forward passes of each token.
        label_smoothing: fairseq's epsilon.
        ignore_index: the target value of padding.
        impl: "reference" (autograd), "fused" (closed-form gradient, in chunks of tokens), "triton" (the same with
            kernels for CUDA), or "auto": triton where it runs on a CUDA device, else fused.
        kl: "symmetric", or "forward" for KL(P_i||P_j), i < j, alone.
        ce_passes: "all", or "first" for the cross-entropy of the first pass alone.
        reduction: "sum", or "none" for one loss per token (N,).
        num_tokens: how many targets are not padding, if the caller knows: saves a synchronisation on CUDA.

    Returns:
        :class:`RDropLossOutput`; ``loss`` is differentiable with respect to ``logits``.

    Raises:
        ValueError: an unknown choice, a value out of range, or shapes that do not fit together.
    """
    objective = Objective(alpha, passes, label_smoothing, ignore_index, kl, ce_passes)
    _check("logits", logits, target, objective, impl, reduction, num_tokens)
    target = target.long()
    if impl == "reference":
        return reference_rdrop_loss(logits, target, objective, reduction)
    use_triton = _uses_triton(impl, logits, objective)
    return fused_rdrop_loss(logits, target, objective, reduction, num_tokens, use_triton)


def linear_rdrop_loss(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    alpha: float = 5.0,
    passes: int = 2,
    label_smoothing: float = 0.1,
    ignore_index: int = 1,
    impl: str = "auto",
    kl: str = "symmetric",
    ce_passes: str = "all",
    reduction: str = "sum",
    num_tokens: int | None = None,
) -> RDropLossOutput:
    """:func:`rdrop_loss` of ``features @ weight.T + bias``, without ever holding the logits whole.

    Args:
        features: (passes*N, D), floating point, rows pass after pass.
        weight: (V, D), the output projection.
        target: (N,) integers.
        bias: (V,) or None.

    The other arguments, the result and the errors are those of :func:`rdrop_loss`; ``loss`` is differentiable with
    respect to ``features``, ``weight`` and ``bias``.
    """
    objective = Objective(alpha, passes, label_smoothing, ignore_index, kl, ce_passes)
    _check("features", features, target, objective, impl, reduction, num_tokens)
    target = target.long()
    if weight.dim() != 2 or weight.size(1) != features.size(1):
        raise ValueError(
            f"weight must be (V, D) with the D of features {tuple(features.shape)}, got {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must be (V,) = ({weight.size(0)},), got {tuple(bias.shape)}")
    if impl == "reference":
        return reference_linear_rdrop_loss(features, weight, bias, target, objective, reduction)
    use_triton = _uses_triton(impl, features, objective)
    return fused_linear_rdrop_loss(features, weight, bias, target, objective, reduction, num_tokens, use_triton)


def _uses_triton(impl: str, rows: Tensor, objective: Objective) -> bool:
    """Whether the kernels compute the loss of these rows.

    Raises:
        ValueError: they are asked for and cannot.
    """
    if impl == "fused" or (impl == "auto" and not rows.is_cuda):
        return False
    # Here, because importing Triton takes time, and its interpreter has to be chosen before.
    from rdrop_fairseq.losses import triton_kernels

    passes = objective.passes
    fits = rows.dtype in triton_kernels.LOGITS_DTYPES and passes <= triton_kernels.MAXIMUM_PASSES
    available = triton_kernels.triton_available(rows.device)
    if impl == "triton" and not (fits and available):
        raise ValueError(
            "impl='triton' needs Triton, a CUDA device of capability 8.0 or newer, float16, bfloat16 or float32, and "
            f"at most {triton_kernels.MAXIMUM_PASSES} passes; got {rows.device}, {rows.dtype}, {passes} passes; "
            "use impl='fused'"
        )
    return fits and available


def _check(
    name: str,
    rows: Tensor,
    target: Tensor,
    objective: Objective,
    impl: str,
    reduction: str,
    num_tokens: int | None,
) -> None:
    """Raise ValueError for an argument that cannot be right, with the values seen."""
    require_choice("impl", impl, IMPLEMENTATIONS)
    require_choice("reduction", reduction, REDUCTION_CHOICES)
    if target.dim() != 1 or target.is_floating_point():
        raise ValueError(f"target must be (N,) of integers, got {tuple(target.shape)} of {target.dtype}")
    if rows.dim() != 2 or rows.size(0) != objective.passes * target.size(0):
        raise ValueError(
            f"{name} must be (passes*N, ...) = ({objective.passes}*{target.size(0)}, ...), got {tuple(rows.shape)}"
        )
    if not rows.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {rows.dtype}")
    if num_tokens is not None and not 0 <= num_tokens <= target.size(0):
        raise ValueError(f"num_tokens must be in [0, {target.size(0)}], got {num_tokens}")
