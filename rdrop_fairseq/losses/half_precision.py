"""Matrix products in half precision that lose nothing: wide sums, and gradients scaled to fit float16."""

from __future__ import annotations

import torch
from torch import Tensor

# The gradient with respect to fp16 logits is held times this: its small entries (label smoothing alone gives
# 0.1 / 32768) would lose digits or underflow, and the loss scale of the trainer is known only in the backward pass.
FP16_GRADIENT_SCALE = 128.0
# Its large entries, about alpha * |log p_i - log p_j|, must stay below the largest fp16 number, 65504.
FP16_GRADIENT_LIMIT = 32768.0
# What a product with a matrix of the projection's size needs for a while is made in parts of so many numbers at most:
# 2**25 in float32 are 128 MiB.
PART_ELEMENTS = 2**25


def fitting_scale(largest: Tensor) -> Tensor:
    """The factor under which a gradient fits float16: FP16_GRADIENT_SCALE, or a smaller power of two.

    Args:
        largest: () float32, no smaller than any entry's magnitude. NaN or infinite makes the factor no number either,
            or 0, so that an overflow does not go unnoticed.

    Returns:
        () float32, made without waiting for the device.
    """
    smallest_that_matters = FP16_GRADIENT_LIMIT / FP16_GRADIENT_SCALE
    return torch.exp2(torch.floor(torch.log2(FP16_GRADIENT_LIMIT / largest.clamp(min=smallest_that_matters))))


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: float32 for half precision."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def autocast_dtype(features: Tensor) -> torch.dtype:
    """The dtype in which ``features`` are projected: under autocast its, whatever that of the features."""
    if not autocast_enabled(features.device.type) or features.dtype == torch.float64:
        return features.dtype
    if hasattr(torch, "get_autocast_dtype"):  # torch 2.4 and newer
        return torch.get_autocast_dtype(features.device.type)
    return torch.get_autocast_gpu_dtype() if features.is_cuda else torch.get_autocast_cpu_dtype()


def autocast_enabled(device_type: str) -> bool:
    """Whether autocast is in force on this type of device."""
    if hasattr(torch, "get_autocast_dtype"):  # torch 2.4 and newer
        return torch.is_autocast_enabled(device_type)
    return torch.is_autocast_enabled() if device_type == "cuda" else torch.is_autocast_cpu_enabled()


def wide_product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` without rounding the sums to half precision, where fp16 could also overflow."""
    if left.dtype == wide_dtype(left.dtype):
        return torch.mm(left, right)
    if left.is_cuda and hasattr(torch.ops.aten.mm, "dtype"):  # torch 2.8 and newer
        return torch.mm(left, right, out_dtype=torch.float32)
    return torch.mm(left.float(), right.float())


def add_product(total: Tensor, left: Tensor, right: Tensor, divisor: Tensor | None) -> None:
    """``total += left @ right / divisor``, for a ``total`` in the wide dtype; None divides by nothing."""
    if divisor is None and left.dtype == total.dtype:
        total.addmm_(left, right)
        return
    for rows in parts(*total.shape):
        product = wide_product(left[rows], right)
        total[rows].add_(product if divisor is None else product.div_(divisor))


def parts(rows: int, columns: int) -> list[slice]:
    """The rows of a matrix in slices of at most PART_ELEMENTS elements, or of one row."""
    size = max(1, PART_ELEMENTS // max(1, columns))
    return [slice(start, start + size) for start in range(0, rows, size)]
