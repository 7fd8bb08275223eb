"""The loss of a chunk of logits and its gradient in two Triton kernels, for CUDA devices.

The counterpart of :func:`rdrop_fairseq.losses.closed_form.loss_of_chunk`: that one goes over the chunk about ten times,
these read it once for the loss and read and write it once for the gradient. The arithmetic is float32 whatever
the dtype of the logits. Without Triton this module can be imported but not used; see :func:`triton_available`.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from typing import Any, Callable

import torch
from torch import Tensor

from rdrop_fairseq.losses.closed_form import LARGEST_FINITE
from rdrop_fairseq.losses.half_precision import fitting_scale
from rdrop_fairseq.losses.objective import BANNED_LOGIT, Objective

try:
    import triton
    import triton.language as tl
except ImportError:  # not part of torch's CPU-only installations
    triton = None

LOGITS_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MAXIMUM_PASSES = 8
# Older devices lack bfloat16, and current releases of Triton do not compile for the oldest of them.
MINIMUM_CAPABILITY = (8, 0)
THREADS_PER_WARP = 32
MAXIMUM_WARPS = 8
# The widest access to memory that a thread can make.
BYTES_PER_ACCESS = 16
# Columns that a thread holds at a time, in every pass: an access in half precision, two in float32.
COLUMNS_PER_THREAD = 8
# The kernels take these in units of ALIGNMENT logits, so that the compiler knows how the rows are aligned.
STRIDE_ARGUMENTS = ("pass_stride", "token_stride", "vocabulary_size")


def triton_available(device: torch.device) -> bool:
    """Whether :func:`triton_loss_of_chunk` runs on ``device``.

    It needs Triton and a CUDA device of capability 8.0 (Ampere) or newer. Triton's interpreter, which is slow and for
    tests, takes any device: it is in use if the variable TRITON_INTERPRET was 1 when Triton was imported.
    """
    if triton is None:
        return False
    if not isinstance(_statistics_kernel, triton.JITFunction):  # interpreted
        return True
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= MINIMUM_CAPABILITY


@functools.lru_cache(maxsize=None)
def kernels_run(device: torch.device) -> bool:
    """Whether the kernels run on a device on which they are available: tried once, with a warning where they do not.

    Triton compiles, at the first kernel, with a C compiler and with Python's header files, and it writes to a folder
    for what it compiled. Of these it misses none when it is imported.
    """
    try:
        logits, results = torch.zeros(2, 1, 8, device=device), torch.zeros(4, 1, device=device)
        target = torch.zeros(1, dtype=torch.int64, device=device)
        triton_loss_of_chunk(logits, target, Objective(1.0, 2, 0.1, -100), results, True)
        results.tolist()  # waits for the device: only then has it run
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # of a compiler, a linker, the file system, Triton, the device's driver
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        warnings.warn(
            f"Triton cannot run the kernels of the R-Drop loss ({reason}); impl='fused' takes their place, which is "
            "slower; Triton needs a C compiler (the variable CC names it), Python's header files, and a folder it may "
            "write to (TRITON_CACHE_DIR)",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


def _jit(function: Callable) -> Any:
    """``function`` as a Triton kernel, or as a function of one; the plain function where there is no Triton."""
    return function if triton is None else triton.jit(function)


def _kernel(function: Callable) -> Any:
    """A kernel that is not compiled anew for every other number of tokens and size of the vocabulary."""
    if triton is None:
        return function
    return triton.jit(function, do_not_specialize=[*STRIDE_ARGUMENTS, "results_stride"])


# The passes are the first dimension of every tile, padded to a power of two: ROWS >= PASSES. ``row`` numbers them.
# What runs on the device has no types of Python; Triton would take annotations for its own.


@_jit
def _pass_differences(values, row, PASSES: tl.constexpr, SYMMETRIC: tl.constexpr):  # type: ignore[no-untyped-def]
    """sum_j (values_i - values_j), over all the passes j or, for the forward KL, over j > i."""
    if PASSES == 2:
        difference = tl.sum(tl.where(row == 0, values, -values), axis=0, keep_dims=True)
        if SYMMETRIC:
            return tl.where(row == 0, difference, -difference)
        else:
            return tl.where(row == 0, difference, 0.0)
    elif SYMMETRIC:
        first = tl.sum(tl.where(row == 0, values, 0.0), axis=0, keep_dims=True)
        from_first = tl.where(row < PASSES, values - first, 0.0)
        return PASSES * from_first - tl.sum(from_first, axis=0, keep_dims=True)
    else:
        differences = tl.zeros_like(values)
        for other in tl.static_range(1, PASSES):
            other_values = tl.sum(tl.where(row == other, values, 0.0), axis=0, keep_dims=True)
            differences += tl.where(row < other, values - other_values, 0.0)
        return differences


@_jit
def _sum_of_passes(values, row, PASSES: tl.constexpr, SYMMETRIC: tl.constexpr):  # type: ignore[no-untyped-def]
    """sum_j values_j, over all the passes j or, for the forward KL, over j < i."""
    if SYMMETRIC:
        return tl.sum(values, axis=0, keep_dims=True)
    else:
        sums = tl.zeros_like(values)
        for other in tl.static_range(PASSES - 1):
            other_values = tl.sum(tl.where(row == other, values, 0.0), axis=0, keep_dims=True)
            sums += tl.where(row > other, other_values, 0.0)
        return sums


@_jit
def _add_tile(  # type: ignore[no-untyped-def]
    pointers, inside, row, row_2d, shift, maximum, normaliser, expectation, largest, excess,
    MASKED: tl.constexpr, PASSES: tl.constexpr, SYMMETRIC: tl.constexpr, SMOOTHING: tl.constexpr,
    BANNED: tl.constexpr,
):  # fmt: skip
    """The running statistics (ROWS, LANES) of each thread with one more tile (ROWS, REPEATS, LANES, WIDTH).

    Each thread has a maximum of its own: nothing passes between threads before the end of the row of logits.
    """
    if MASKED:
        logit = tl.load(pointers, mask=inside & (row < PASSES), other=float("-inf")).to(tl.float32)
    else:
        logit = tl.load(pointers, mask=row < PASSES, other=float("-inf")).to(tl.float32)
    # NaN has to stay NaN: by default the maximum is the other number.
    logit = tl.maximum(logit, BANNED, propagate_nan=tl.PropagateNan.ALL)
    if SMOOTHING:
        above_target = logit - shift
        if MASKED:
            above_target = tl.where(inside, above_target, 0.0)
        excess += tl.sum(tl.sum(above_target, axis=3), axis=1)
    new_maximum = tl.maximum(maximum, tl.max(tl.max(logit, axis=3), axis=1))
    rescale = tl.exp(maximum - new_maximum)
    logit -= new_maximum[:, None, :, None]
    weight = tl.exp(logit)
    if PASSES > 1:
        rise = _pass_differences(maximum - new_maximum, row_2d, PASSES, SYMMETRIC)
        difference = _pass_differences(logit, row, PASSES, SYMMETRIC)
        largest = tl.maximum(largest + rise, tl.max(tl.max(difference, axis=3), axis=1))
        expectation = (expectation + normaliser * rise) * rescale + tl.sum(tl.sum(weight * difference, axis=3), axis=1)
    normaliser = normaliser * rescale + tl.sum(tl.sum(weight, axis=3), axis=1)
    return new_maximum, normaliser, expectation, largest, excess


# One program per token, one sweep over its logits z_i of all the passes i. With M_i = max_v z_i,v and y_i = z_i - M_i:
#
#     s_i = sum_v exp(y_i,v)                          D_i,v = sum_j (y_i,v - y_j,v)   (forward KL: over j > i)
#     E_i = sum_v exp(y_i,v) D_i,v / s_i              nll_i = M_i - z_i,target + log s_i
#     CE_i = nll_i - eps_i sum_v (z_i,v - z_i,target)
#     sum_{i<j} 2 J_ij = sum_i [ E_i - sum_j (log s_i - log s_j) ]
#
# (the forward KL is the same without the 2, and j > i). The sums run over differences of logits: their rounding
# errors are relative to the differences, however large the logits themselves. Running maxima that rise by r_i add
# sum_j (r_j - r_i) to every D_i so far, and multiply the sums s and E by exp(-r_i). E_i is infinite where some D_i,v
# is: the largest is kept, because the probability beside it may be too small to tell.
@_kernel
def _statistics_kernel(  # type: ignore[no-untyped-def]
    logits, target, results, statistics, pass_stride, token_stride, vocabulary_size, results_stride,
    smooth_weight, kl_weight,
    PASSES: tl.constexpr, ROWS: tl.constexpr, CE_PASSES: tl.constexpr, SYMMETRIC: tl.constexpr,
    SMOOTHING: tl.constexpr, BANNED: tl.constexpr, LARGEST: tl.constexpr, ALIGNMENT: tl.constexpr,
    REPEATS: tl.constexpr, LANES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    TILE: tl.constexpr = REPEATS * LANES * WIDTH
    token = tl.program_id(0).to(tl.int64)
    vocabulary_size = vocabulary_size * ALIGNMENT
    row = tl.arange(0, ROWS)
    row_2d, row_4d = row[:, None], row[:, None, None, None]
    row_pointers = logits + (row.to(tl.int64) * pass_stride + token * token_stride) * ALIGNMENT  # (ROWS,)
    repeat = tl.arange(0, REPEATS)[None, :, None, None]
    lane = tl.arange(0, LANES)[None, None, :, None]
    column = (repeat * LANES + lane) * WIDTH + tl.arange(0, WIDTH)[None, None, None, :]  # (1, REPEATS, LANES, WIDTH)
    pointers = row_pointers[:, None, None, None] + column  # (ROWS, REPEATS, LANES, WIDTH)

    target_column = tl.load(target + token).to(tl.int32)
    target_tile = target_column // TILE * TILE
    target_logit = tl.load(row_pointers + target_column, mask=row < PASSES, other=0.0).to(tl.float32)  # (ROWS,)
    shift = tl.maximum(target_logit, BANNED, propagate_nan=tl.PropagateNan.ALL)[:, None, None, None]

    maximum = tl.full((ROWS, LANES), BANNED, tl.float32)
    maximum_before_target_tile = maximum
    normaliser = tl.zeros((ROWS, LANES), tl.float32)
    expectation = tl.zeros((ROWS, LANES), tl.float32)
    largest = tl.zeros((ROWS, LANES), tl.float32)  # of D
    excess = tl.zeros((ROWS, LANES), tl.float32)  # sum_v (z_v - z_target)
    whole_tiles = vocabulary_size // TILE * TILE
    for start in range(0, whole_tiles, TILE):
        maximum, normaliser, expectation, largest, excess = _add_tile(
            pointers + start, column < TILE, row_4d, row_2d, shift, maximum, normaliser, expectation, largest, excess,
            False, PASSES, SYMMETRIC, SMOOTHING, BANNED,
        )  # fmt: skip
        maximum_before_target_tile = tl.where(start < target_tile, maximum, maximum_before_target_tile)
    if whole_tiles < vocabulary_size:
        maximum, normaliser, expectation, largest, excess = _add_tile(
            pointers + whole_tiles, column < vocabulary_size - whole_tiles, row_4d, row_2d, shift,
            maximum, normaliser, expectation, largest, excess, True, PASSES, SYMMETRIC, SMOOTHING, BANNED,
        )  # fmt: skip

    # From the threads' statistics to those of the token.
    row_maximum = tl.max(maximum, axis=1)  # (ROWS,)
    # No distribution where all classes are banned.
    row_maximum = tl.where((row < PASSES) & (row_maximum == BANNED), float("nan"), row_maximum)
    rescale = tl.exp(maximum - row_maximum[:, None])
    row_normaliser = tl.sum(normaliser * rescale, axis=1)
    log_normaliser = tl.log(row_normaliser)
    if PASSES > 1:
        rise = _pass_differences(maximum - row_maximum[:, None], row_2d, PASSES, SYMMETRIC)
        expectation += normaliser * rise
        largest += rise
    row_expectation = tl.sum(expectation * rescale, axis=1) / row_normaliser
    row_expectation += tl.where(tl.max(largest, axis=1) > LARGEST, float("inf"), 0.0)
    statistics += token * (3 * PASSES) + row
    tl.store(statistics, row_maximum, mask=row < PASSES)
    tl.store(statistics + PASSES, 1.0 / row_normaliser, mask=row < PASSES)
    tl.store(statistics + 2 * PASSES, row_expectation, mask=row < PASSES)

    nll = (row_maximum - target_logit) + log_normaliser
    nll += tl.where(target_logit <= BANNED, float("inf"), 0.0)
    cross_entropy = nll
    if SMOOTHING:
        row_excess = tl.sum(excess, axis=1)
        cross_entropy += tl.where(row_excess < -LARGEST, float("inf"), -smooth_weight * row_excess)
    loss = tl.sum(tl.where(row < CE_PASSES, cross_entropy, 0.0), axis=0)
    kl = 0.0
    if PASSES > 1:
        offset = _pass_differences(log_normaliser, row, PASSES, SYMMETRIC)
        pairs: tl.constexpr = PASSES * (PASSES - 1) / (1 if SYMMETRIC else 2)
        kl = tl.sum(tl.where(row < PASSES, row_expectation - offset, 0.0), axis=0) / pairs
        loss += tl.where(kl_weight == 0.0, 0.0, kl_weight * kl)

    # Argmax takes the first of equal logits: none before the target may be as large as it.
    column = target_tile + tl.arange(0, TILE)[None, :]
    before_target = (column < target_column) & (row[:, None] < PASSES)
    logit = tl.load(row_pointers[:, None] + column, mask=before_target, other=float("-inf")).to(tl.float32)
    maximum_before = tl.maximum(tl.max(logit, axis=1), tl.max(maximum_before_target_tile, axis=1))
    hit = (target_logit == row_maximum) & (maximum_before < row_maximum) & (row < PASSES)

    results += token
    mean_nll = tl.sum(tl.where(row < PASSES, nll, 0.0), axis=0) / PASSES
    tl.store(results, loss)
    tl.store(results + results_stride, mean_nll)
    tl.store(results + 2 * results_stride, kl)
    tl.store(results + 3 * results_stride, tl.sum(hit.to(tl.float32), axis=0) / PASSES)


# One program per token and tile of its columns. With p_i = exp(z_i - M_i) / s_i and the names of the other kernel:
#
#     dL/dz_i = w_i (p_i - eps_i - (1-eps-eps_i) onehot) + c [ p_i (D_i - E_i + k_i) - sum_j p_j ]
#
# w_i is 1 where the pass's cross-entropy counts and else 0. For the symmetric KL c = alpha/(2(m-1)), k_i = m and the
# sum runs over all passes; for the forward KL c = alpha/(m-1), k_i = i, counted from 0, and the sum runs over j < i.
# The differences of the normalisers would add the same to D_i and to E_i. All is multiplied by the scale, if any.
@_kernel
def _gradient_kernel(  # type: ignore[no-untyped-def]
    logits, target, statistics, scale_pointer, pass_stride, token_stride, vocabulary_size,
    nll_weight, smooth_weight, kl_scale,
    PASSES: tl.constexpr, ROWS: tl.constexpr, CE_PASSES: tl.constexpr, SYMMETRIC: tl.constexpr,
    SMOOTHING: tl.constexpr, WITH_KL: tl.constexpr, SCALED: tl.constexpr, BANNED: tl.constexpr,
    ALIGNMENT: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    vocabulary_size = vocabulary_size * ALIGNMENT
    tiles = tl.cdiv(vocabulary_size, TILE)
    token = (tl.program_id(0) // tiles).to(tl.int64)
    row = tl.arange(0, ROWS)[:, None]
    column = tl.program_id(0) % tiles * TILE + tl.arange(0, TILE)[None, :]
    inside = (row < PASSES) & (column < vocabulary_size)
    row_pointers = logits + (row.to(tl.int64) * pass_stride + token * token_stride) * ALIGNMENT  # (ROWS, 1)
    pointers = row_pointers + column  # (ROWS, TILE)

    statistics += token * (3 * PASSES) + row
    maximum = tl.load(statistics, mask=row < PASSES, other=0.0)  # (ROWS, 1)
    inverse_normaliser = tl.load(statistics + PASSES, mask=row < PASSES, other=0.0)
    expectation = tl.load(statistics + 2 * PASSES, mask=row < PASSES, other=0.0)
    target_column = tl.load(target + token).to(tl.int32)

    logit = tl.load(pointers, mask=inside, other=float("-inf")).to(tl.float32)
    logit = tl.maximum(logit, BANNED, propagate_nan=tl.PropagateNan.ALL)
    logit -= maximum
    probability = tl.exp(logit) * inverse_normaliser
    if SCALED:
        scale = tl.load(scale_pointer)
        kl_scale *= scale
    else:
        scale = 1.0
    ce_weight = tl.where(row < CE_PASSES, scale, 0.0)
    if WITH_KL:
        distance = _pass_differences(logit, row, PASSES, SYMMETRIC) - expectation
        if SYMMETRIC:
            constant = ce_weight + kl_scale * PASSES
        else:
            constant = ce_weight + kl_scale * row
        gradient = probability * (kl_scale * distance + constant)
        gradient -= kl_scale * _sum_of_passes(probability, row, PASSES, SYMMETRIC)
    else:
        gradient = probability * ce_weight
    if SMOOTHING:
        gradient -= smooth_weight * ce_weight
    gradient = tl.where(column == target_column, gradient - nll_weight * ce_weight, gradient)
    tl.store(pointers, gradient.to(logits.dtype.element_ty), mask=inside)


def triton_loss_of_chunk(
    logits: Tensor,
    target: Tensor,
    objective: Objective,
    results: Tensor,
    gradient: bool,
) -> Tensor | None:
    """The per-token results of a chunk and, in the place of its logits, the gradient.

    Nothing here waits for the device. Repeated calls give the same bits.

    Args:
        logits: (m, n, V) float32, float16 or bfloat16, m <= 8; V contiguous, m and n with any strides, so that a
            transposed chunk (n, m, V) does as well. Overwritten with dL/dlogits in the same dtype, times a scale in
            float16, if ``gradient``, else left as they are.
        target: (n,) int64 in [0, V), contiguous, without padding.
        results: (4, n) float32, filled with loss, nll (mean over the passes), kl (mean over the pairs), hits (mean).
        gradient: whether the gradient is wanted.

    Returns:
        The scale of a float16 gradient, () float32; else None. See :mod:`rdrop_fairseq.losses.half_precision`.

    Raises:
        ValueError: a dtype, a layout or a number of passes that the kernels are not made for.
    """
    passes, num_tokens, vocabulary_size = logits.shape
    if logits.dtype not in LOGITS_DTYPES or results.dtype != torch.float32:
        raise ValueError(
            "the Triton kernels take logits of float32, float16 or bfloat16 and results of float32, "
            f"got {logits.dtype} and {results.dtype}; use impl='fused'"
        )
    if passes > MAXIMUM_PASSES:
        raise ValueError(f"the Triton kernels take at most {MAXIMUM_PASSES} passes, got {passes}; use impl='fused'")
    if num_tokens == 0:
        return None
    if logits.stride(2) != 1 or not target.is_contiguous() or results.stride(1) != 1:
        raise ValueError(
            "the Triton kernels take rows of logits, targets and rows of results that are contiguous, "
            f"got strides {logits.stride()}, {target.stride()} and {results.stride()}"
        )

    nll_weight, smooth_weight = objective.smoothing_weights(vocabulary_size)
    symmetric = objective.kl == "symmetric"
    alignment = functools.reduce(math.gcd, (*logits.stride()[:2], vocabulary_size, BYTES_PER_ACCESS))
    strides = (logits.stride(0) // alignment, logits.stride(1) // alignment, vocabulary_size // alignment)
    tile, num_warps = _tile_shape(vocabulary_size, min(alignment, BYTES_PER_ACCESS // logits.element_size()))
    constants = dict(
        PASSES=passes,
        ROWS=_next_power_of_two(passes),
        CE_PASSES=objective.num_ce_passes,
        SYMMETRIC=symmetric,
        SMOOTHING=smooth_weight != 0,
        BANNED=BANNED_LOGIT,
        ALIGNMENT=alignment,
        num_warps=num_warps,
        enable_fp_fusion=True,
    )
    # For each token M_i, 1/s_i and E_i of the formulas above.
    statistics = torch.empty(num_tokens, 3, passes, dtype=torch.float32, device=logits.device)
    # Triton launches on the current device, which need not be that of the logits.
    with torch.cuda.device(logits.device) if logits.is_cuda else contextlib.nullcontext():
        _statistics_kernel[(num_tokens,)](
            logits, target, results, statistics, *strides, results.stride(0),
            smooth_weight, objective.kl_weight,
            LARGEST=LARGEST_FINITE, REPEATS=tile[0], LANES=tile[1], WIDTH=tile[2], **constants,
        )  # fmt: skip
        if not gradient:
            return None
        with_kl = passes > 1 and objective.alpha != 0
        kl_scale = objective.alpha / ((2 if symmetric else 1) * (passes - 1)) if with_kl else 0.0
        scale = None
        if logits.dtype == torch.float16:
            scale = fitting_scale(_largest_gradient(results[2], passes, symmetric, kl_scale))
        columns = math.prod(tile)
        _gradient_kernel[(num_tokens * math.ceil(vocabulary_size / columns),)](
            logits, target, statistics, statistics if scale is None else scale, *strides,
            nll_weight, smooth_weight, kl_scale,
            WITH_KL=with_kl, SCALED=scale is not None, TILE=columns, **constants,
        )  # fmt: skip
    return scale


def _largest_gradient(kl: Tensor, passes: int, symmetric: bool, kl_scale: float) -> Tensor:
    """A bound () of the entries of the gradient, by the KL (n,) of the tokens alone.

    With the formulas above, and D and E without the differences of the normalisers, E_i >= 0 is no more than the sum
    of all the KL terms, and sum_v p_i |D_i| <= E_i + 2m, because the negative part of D_i is of sum_j log(p_i / p_j)
    and log x < x. So |dL/dz| <= 1 + c (2 E_i + 4m).
    """
    terms = passes * (passes - 1) // (1 if symmetric else 2)
    return kl.max() * (2 * kl_scale * terms) + (1 + 4 * kl_scale * passes)


def _tile_shape(vocabulary_size: int, width: int) -> tuple[tuple[int, int, int], int]:
    """How the columns are dealt out: ((REPEATS, LANES, WIDTH), warps); their product is the columns of a tile.

    A thread reads WIDTH columns side by side in one access, and that REPEATS times; LANES is the number of threads.
    There are fewer warps where the vocabulary is too small to keep them busy.
    """
    tiles = math.ceil(vocabulary_size / (COLUMNS_PER_THREAD * THREADS_PER_WARP))
    num_warps = min(MAXIMUM_WARPS, max(1, _next_power_of_two(tiles) // 2))
    return (COLUMNS_PER_THREAD // width, num_warps * THREADS_PER_WARP, width), num_warps


def _next_power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
