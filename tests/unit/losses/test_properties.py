"""Laws of the loss, whatever the settings, sizes, padding and banned classes: hypothesis looks for exceptions."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_triton_kernels import DEVICE, ENVIRONMENT, needs_kernels

from rdrop_fairseq.losses import closed_form, fused, rdrop_loss

PADDING = 3  # a class as well
quickly = settings(max_examples=60, deadline=None, derandomize=True)
# Triton's interpreter takes a thousand times as long.
in_the_interpreter = settings(max_examples=12, deadline=None, derandomize=True)


@st.composite
def cases(draw, banned=True):
    """Logits (m, N, V) in float64, targets (N,), and the options of the objective."""
    passes, num_tokens = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    vocabulary_size = draw(st.integers(4, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shape = (passes, num_tokens, vocabulary_size)
    logits = draw(st.sampled_from([0.1, 3.0, 80.0])) * torch.randn(shape, generator=generator, dtype=torch.float64)
    if banned and draw(st.booleans()):
        # Some in every pass, some in one pass alone; one class stays.
        everywhere = torch.rand(1, num_tokens, vocabulary_size, generator=generator) < 0.2
        somewhere = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.05]))
        somewhere[:, ::2] = False
        bans = everywhere | somewhere
        bans[:, :, 1] = False
        logits.masked_fill_(bans, draw(st.sampled_from([-math.inf, torch.finfo(torch.float32).min])))
    target = torch.randint(vocabulary_size, (num_tokens,), generator=generator)
    options = dict(
        passes=passes,
        alpha=draw(st.sampled_from([0.0, 1.0, 5.0, 100.0])),
        label_smoothing=draw(st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.9])),
        kl=draw(st.sampled_from(["symmetric", "forward"])),
        ce_passes=draw(st.sampled_from(["all", "first"])),
        ignore_index=PADDING,
    )
    return logits, target, options


def banned_once(banned_pass, **options):
    """A class that one of two passes bans; the other gives it a probability that float32 rounds to 0."""
    logits = torch.zeros(2, 1, 5, dtype=torch.float64)
    logits[1 - banned_pass, 0, 4], logits[banned_pass, 0, 4] = -150.0, -math.inf
    defaults = dict(passes=2, alpha=5.0, label_smoothing=0.0, kl="forward", ce_passes="all", ignore_index=PADDING)
    return logits, torch.tensor([0]), {**defaults, **options}


def run(logits, target, impl, reduction="none", **options):
    """The outputs and the gradient (m, N, V) of the summed loss."""
    leaf = logits.clone().requires_grad_()
    output = rdrop_loss(leaf.flatten(0, 1), target, impl=impl, reduction=reduction, **options)
    (gradient,) = torch.autograd.grad(output.loss.sum(), leaf)
    return [tensor.detach() for tensor in output], gradient


def assert_same(actual, expected, tolerance, scale=1.0):
    """Infinite in the same places. Of the gradient of a pass no number is promised where one is infinite or NaN.

    Budget: ``tolerance`` times ``scale`` or, if it is larger, times the largest value.
    """
    gradient, finite = actual[1].double().cpu(), expected[1].isfinite().all(2)
    assert torch.equal(gradient.isfinite().all(2), finite)
    for one, other in zip((*actual[0], gradient[finite]), (*expected[0], expected[1][finite])):
        largest = torch.cat([torch.tensor([scale]), other[other.isfinite()].abs().view(-1)]).max().item()
        torch.testing.assert_close(one.double().cpu(), other, rtol=0, atol=tolerance * largest, equal_nan=True)


@quickly
@given(cases(), st.integers(1, 200), st.sampled_from(["sum", "none"]))
@example(banned_once(0), 100, "none")
@example(banned_once(1), 100, "none")
@example(banned_once(1, alpha=0.0), 100, "none")
@example(banned_once(1, ce_passes="first", label_smoothing=0.1), 100, "none")
@example(banned_once(0, kl="symmetric", label_smoothing=0.1), 100, "none")
def test_fused_equals_reference(case, elements, reduction):
    """Budget: 1e-11 of the largest gradient, where logits of hundreds and an alpha of 100 lose three digits."""
    logits, target, options = case
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(fused.CHUNK_ELEMENTS, "cpu", elements)
        monkeypatch.setitem(closed_form.BLOCK_ELEMENTS, "cpu", elements // 2)
        actual = run(logits, target, "fused", reduction, **options)
    assert_same(actual, run(logits, target, "reference", reduction, **options), 1e-11)


@needs_kernels
@in_the_interpreter
@given(cases())
@example(banned_once(0))
@example(banned_once(1))
@example(banned_once(1, alpha=0.0))
@example(banned_once(1, ce_passes="first", label_smoothing=0.1))
@example(banned_once(0, kl="symmetric", label_smoothing=0.1))
@pytest.mark.filterwarnings("ignore:(invalid value|All-NaN|overflow):RuntimeWarning")
def test_kernels_equal_reference(case):
    """Budget: 8 units of float32 in the last place of alpha times the largest logit."""
    logits, target, options = case
    logits = logits.float()
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        actual = run(logits.to(DEVICE), target.to(DEVICE), "triton", **options)
    scale = max(1.0, options["alpha"]) * logits[logits > -1e30].abs().max().clamp(min=1.0).item()
    assert_same(actual, run(logits.double(), target, "reference", **options), 8 * 2**-23, scale)


@quickly
@given(cases(), st.randoms(use_true_random=False))
def test_tokens_and_passes_in_another_order(case, random):
    """Each token keeps its loss; with the symmetric KL so it does whatever the order of the passes."""
    logits, target, options = case
    tokens, passes = (random.sample(range(size), size) for size in (logits.size(1), logits.size(0)))
    outputs, gradient = run(logits, target, "fused", **options)
    moved, moved_gradient = run(logits[:, tokens], target[tokens], "fused", **options)
    assert_same(([moved[0]], moved_gradient), ([outputs[0][tokens]], gradient[:, tokens]), 1e-13)
    if options["kl"] == "symmetric" and options["ce_passes"] == "all":
        assert_same(
            (run(logits[passes], target, "fused", **options)[0], gradient[passes]), (outputs, gradient[passes]), 1e-11
        )


@quickly
@given(cases(banned=False), st.integers(1, 4))
def test_two_batches_and_one_of_both(case, size):
    logits, target, options = case
    whole = run(logits, target, "fused", "sum", **options)[0]
    parts = [
        run(logits[:, part], target[part], "fused", "sum", **options)[0] for part in (slice(size), slice(size, None))
    ]
    for one, first, second in zip(whole, *parts):
        torch.testing.assert_close(one, first + second, rtol=1e-11, atol=1e-11)


@quickly
@given(cases(banned=False), st.floats(-1e3, 1e3))
def test_a_constant_on_all_logits_of_a_pass(case, constant):
    """Changes nothing; so the gradient sums to 0 over the classes."""
    logits, target, options = case
    outputs, gradient = run(logits, target, "fused", **options)
    scale = gradient.abs().max().clamp(min=1.0).item()
    assert gradient.sum(2).abs().max() <= 1e-10 * scale
    shift = constant * torch.arange(len(logits), dtype=torch.float64).view(-1, 1, 1)
    shifted, _ = run(logits + shift, target, "fused", **options)
    # Budget: the rounding of the shifted logits, times the alpha of up to 100 and the number of classes.
    for one, other in zip(outputs, shifted):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-7)
