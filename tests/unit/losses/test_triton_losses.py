"""``impl="triton"`` of the public functions, chunks, projection and all: on CUDA, or in Triton's interpreter.

In a file of its own beside that of the kernels: what goes around them is the code of impl="fused".
"""

import pytest
import torch
from test_triton_kernels import DEVICE, ENVIRONMENT, needs_kernels

from rdrop_fairseq.losses import fused, linear_rdrop_loss, rdrop_loss

PADDING = 1


@pytest.fixture(autouse=True)
def _small_chunks_in_the_interpreter(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # Several chunks, of which the last is smaller.
    for device in ("cpu", "cuda"):
        monkeypatch.setitem(fused.CHUNK_ROWS, device, 8)


def make_case(passes, dtype, bias):
    """Features (m*N, D), projection (V, D), its bias (V,) and targets (N,) with padding, of the dtype's values."""
    generator = torch.Generator().manual_seed(passes)
    num_tokens, width, vocabulary_size = 7, 8, 133
    common = torch.randn(1, num_tokens, width, generator=generator)
    features = common + 0.3 * torch.randn(passes, num_tokens, width, generator=generator)
    weight = torch.randn(vocabulary_size, width, generator=generator)
    target = torch.randint(2, vocabulary_size, (num_tokens,), generator=generator)
    target[[3, 6]] = PADDING
    tensors = [features.flatten(0, 1), weight, torch.randn(vocabulary_size, generator=generator)][: 3 if bias else 2]
    return [tensor.to(DEVICE, dtype) for tensor in tensors], target.to(DEVICE)


def run(function, tensors, target, upstream, **options):
    """The outputs and, under the upstream gradient, all gradients, in float64 on the CPU."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    if function is linear_rdrop_loss:
        features, weight, *bias = leaves
        out = linear_rdrop_loss(
            features, weight, target, bias=bias[0] if bias else None, ignore_index=PADDING, **options
        )
    else:
        out = rdrop_loss(leaves[0], target, ignore_index=PADDING, **options)
    gradients = torch.autograd.grad(out.loss, leaves, torch.full_like(out.loss, upstream))
    return [tensor.detach().double().cpu() for tensor in (*out, *gradients)], [g.dtype for g in gradients]


def assert_within_budget(function, tensors, target, upstream, **options):
    """Errors against float64 are at most those of plain torch in the same dtype plus eight units in the last place."""
    truth, _ = run(function, [tensor.double() for tensor in tensors], target, upstream, impl="reference", **options)
    plain, dtypes = run(function, tensors, target, upstream, impl="reference", **options)
    actual, actual_dtypes = run(function, tensors, target, upstream, impl="triton", **options)
    assert actual_dtypes == dtypes
    for position, (true, expected, got) in enumerate(zip(truth, plain, actual)):
        dtype = torch.float32 if position < 4 else dtypes[position - 4]
        unit = torch.finfo(dtype).eps * true.abs().max().clamp(min=1.0)
        assert (got - true).abs().max() <= (expected - true).abs().max() + 8 * unit, position


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("passes", "bias"), [(2, False), (3, True)])
def test_from_features(passes, bias, dtype):
    """Under the loss scale that fp16 training begins with, far from 1."""
    tensors, target = make_case(passes, dtype, bias)
    options = dict(alpha=5.0, passes=passes, label_smoothing=0.1)
    assert_within_budget(linear_rdrop_loss, tensors, target, 128.0, **options)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("kl", "ce_passes"), [("symmetric", "all"), ("forward", "first")])
def test_from_logits(kl, ce_passes, dtype):
    (features, weight), target = make_case(2, dtype, False)
    logits = features @ weight.t()
    options = dict(alpha=3.0, label_smoothing=0.1, kl=kl, ce_passes=ce_passes)
    assert_within_budget(rdrop_loss, [logits], target, 128.0, **options)


@needs_kernels
@pytest.mark.parametrize("function", [rdrop_loss, linear_rdrop_loss])
def test_token_by_token_and_without_tokens(function):
    tensors, target = make_case(2, torch.float32, False)
    tensors = tensors if function is linear_rdrop_loss else [tensors[0] @ tensors[1].t()]
    options = dict(alpha=5.0, label_smoothing=0.1, reduction="none")
    assert_within_budget(function, tensors, target, 0.5, **options)
    target.fill_(PADDING)
    outputs, _ = run(function, tensors, target, 1.0, impl="triton", alpha=5.0)
    assert all(not output.any() for output in outputs)
