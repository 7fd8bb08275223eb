"""The R-Drop loss for any training loop: torch only, not one fairseq import.

``rdrop_loss`` takes logits; ``linear_rdrop_loss`` takes features and the output projection and never makes the
logits whole. Both compute the objective of :mod:`rdrop_fairseq.losses.objective`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rdrop_fairseq.losses.fused import fused_linear_rdrop_loss, fused_rdrop_loss, make_batch
from rdrop_fairseq.losses.half_precision import autocast_enabled
from rdrop_fairseq.losses.objective import (
    REDUCTION_CHOICES,
    Objective,
    RDropLossOutput,
    require_choice,
    require_integer,
)
from rdrop_fairseq.losses.reference import reference_linear_rdrop_loss, reference_rdrop_loss

__all__ = ["IMPLEMENTATIONS", "RDropLossOutput", "chosen_implementation", "linear_rdrop_loss", "rdrop_loss"]

IMPLEMENTATIONS = ("auto", "reference", "fused", "triton")
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def rdrop_loss(
    logits: Tensor,
    target: Tensor,
    alpha: float = 5.0,
    passes: int = 2,
    label_smoothing: float = 0.1,
    ignore_index: int = -100,
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
        ignore_index: the target value of padding, torch's by default; fairseq's is 1.
        impl: "reference" (autograd), "fused" (closed-form gradient, in chunks of tokens), "triton" (the same with
            kernels for CUDA), or "auto": triton where it runs on a CUDA device, which is tried once, else fused.
        kl: "symmetric", or "forward" for KL(P_i||P_j), i < j, alone.
        ce_passes: "all", or "first" for the cross-entropy of the first pass alone.
        reduction: "sum", or "none" for one loss per token (N,).
        num_tokens: how many targets are not padding, if the caller knows: saves a synchronisation on CUDA, where
            a wrong number is a device-side assertion.

    Returns:
        :class:`RDropLossOutput`; ``loss`` is differentiable with respect to ``logits``, twice with "reference" alone.

    Raises:
        ValueError: an unknown choice, a value out of range, shapes that do not fit together, a target that is no
            class, or a wrong ``num_tokens``. On CUDA the last two are device-side assertions, as in torch.
        RuntimeError: in a backward pass with ``create_graph=True``, unless ``impl`` is "reference".
    """
    objective = Objective(alpha, passes, label_smoothing, ignore_index, kl, ce_passes)
    _check("logits", logits, target, objective, impl, reduction, num_tokens)
    target = target.long()
    impl = chosen_implementation(impl, logits.device, logits.dtype, passes)
    _check_targets(target, logits.size(1), objective.ignore_index, num_tokens, impl)
    if impl == "reference":
        return reference_rdrop_loss(logits, target, objective, reduction)
    return fused_rdrop_loss(logits, make_batch(target, objective, reduction, num_tokens, impl == "triton"))


def linear_rdrop_loss(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    alpha: float = 5.0,
    passes: int = 2,
    label_smoothing: float = 0.1,
    ignore_index: int = -100,
    impl: str = "auto",
    kl: str = "symmetric",
    ce_passes: str = "all",
    reduction: str = "sum",
    num_tokens: int | None = None,
) -> RDropLossOutput:
    """:func:`rdrop_loss` of ``features @ weight.T + bias``, without ever holding the logits whole.

    Args:
        features: (passes*N, D), floating point, rows pass after pass.
        weight: (V, D), the output projection, of the features' dtype, or any under autocast.
        target: (N,) integers.
        bias: (V,) or None, of the weight's dtype.

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
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and not parameter.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {parameter.dtype}")
        if parameter is not None and parameter.dtype != features.dtype and not autocast_enabled(features.device.type):
            raise ValueError(
                f"{name} must be of the features' dtype {features.dtype} outside autocast, got {parameter.dtype}"
            )
    impl = chosen_implementation(impl, features.device, features.dtype, passes)
    _check_targets(target, weight.size(0), objective.ignore_index, num_tokens, impl)
    if impl == "reference":
        return reference_linear_rdrop_loss(features, weight, bias, target, objective, reduction)
    batch = make_batch(target, objective, reduction, num_tokens, impl == "triton")
    return fused_linear_rdrop_loss(features, weight, bias, batch)


def chosen_implementation(impl: str, device: torch.device, dtype: torch.dtype, passes: int) -> str:
    """What computes the loss of logits or features like these: ``impl``, or for "auto" what it stands for.

    Raises:
        ValueError: "triton" is asked for where it does not run.
    """
    if impl not in ("auto", "triton"):
        return impl
    if impl == "auto" and device.type != "cuda":
        return "fused"
    # Here, because importing Triton takes time, and its interpreter has to be chosen before.
    from rdrop_fairseq.losses import triton_kernels

    fits = dtype in triton_kernels.LOGITS_DTYPES and passes <= triton_kernels.MAXIMUM_PASSES
    available = fits and triton_kernels.triton_available(device)
    if available and (impl == "triton" or triton_kernels.kernels_run(device)):
        return "triton"
    if impl == "triton":
        raise ValueError(
            "impl='triton' needs Triton, a CUDA device of capability 8.0 or newer, float16, bfloat16 or float32, and "
            f"at most {triton_kernels.MAXIMUM_PASSES} passes; got {device}, {dtype}, {passes} passes; use impl='fused'"
        )
    return "fused"


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
    if target.dim() != 1 or target.dtype not in _INTEGERS:
        raise ValueError(f"target must be (N,) of integers, got {tuple(target.shape)} of {target.dtype}")
    if rows.dim() != 2 or rows.size(0) != objective.passes * target.size(0):
        raise ValueError(
            f"{name} must be (passes*N, ...) = ({objective.passes}*{target.size(0)}, ...), got {tuple(rows.shape)}"
        )
    if not rows.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {rows.dtype}")
    if num_tokens is not None and not 0 <= require_integer("num_tokens", num_tokens) <= target.size(0):
        raise ValueError(f"num_tokens must be in [0, {target.size(0)}], got {num_tokens}")


def _check_targets(target: Tensor, vocabulary_size: int, ignore_index: int, num_tokens: int | None, impl: str) -> None:
    """Raise ValueError for a target that is no class, or another number of tokens than said.

    On CUDA, where that would mean to wait for the device, assert it there, before anything is read by the targets. What
    torch's own operations assert by themselves is left to them.
    """
    if target.is_cuda and impl != "triton" and num_tokens is None:
        return
    padding = target.eq(ignore_index)
    valid = padding | (target.ge(0) & target.lt(vocabulary_size))
    if target.is_cuda:
        right = valid.all()
        if num_tokens is not None:
            right &= padding.sum() == target.size(0) - num_tokens
        try:
            torch._assert_async(right, "R-Drop loss: a target is no class, or num_tokens is wrong")
        except TypeError:  # older versions of torch take no message
            torch._assert_async(right)
        return
    if not valid.all():
        raise ValueError(
            f"target has {target[~valid][0].item()}, but classes are 0 to {vocabulary_size - 1} and ignore_index is "
            f"{ignore_index}"
        )
    if num_tokens is not None and num_tokens != target.size(0) - int(padding.sum()):
        raise ValueError(
            f"num_tokens is {num_tokens}, but {target.size(0) - int(padding.sum())} targets are no padding"
        )
