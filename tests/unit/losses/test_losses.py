"""The loss against hand-computed values, its specification in float64, and its invariants."""

import functools
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rdrop_fairseq.losses import closed_form, fused, half_precision, linear_rdrop_loss, rdrop_loss

PAD = -100


def make_case(num_tokens, vocabulary_size, passes, dtype=torch.float64, width=5, seed=0):
    """Features, weight, bias and target with pads (none if there is only one token)."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(passes * num_tokens, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocabulary_size, width, generator=generator, dtype=torch.float64)
    bias = torch.randn(vocabulary_size, generator=generator, dtype=torch.float64)
    target = torch.randint(2, vocabulary_size, (num_tokens,), generator=generator)
    if num_tokens > 1:
        target[::5] = PAD
    return features.to(dtype), weight.to(dtype), bias.to(dtype), target


def value_and_gradients(function, inputs, upstream):
    """The output and the gradient of its loss with respect to each input."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    output = function(*inputs)
    return output, torch.autograd.grad(output.loss, inputs, upstream.to(output.loss.dtype))


def run_linear(case, upstream, **options):
    *inputs, target = case
    return value_and_gradients(
        lambda features, weight, bias: linear_rdrop_loss(features, weight, target, bias, **options), inputs, upstream
    )


def run_logits(case, upstream, **options):
    features, weight, bias, target = case
    logits = torch.nn.functional.linear(features, weight, bias)
    return value_and_gradients(lambda rows: rdrop_loss(rows, target, **options), [logits], upstream)


def assert_same(actual, expected, tolerance):
    """Error budget: ``tolerance`` times the largest magnitude of each tensor, which is at least 1 here."""
    for one, other in zip((*actual[0], *actual[1]), (*expected[0], *expected[1])):
        assert one.shape == other.shape
        scale = max(1.0, other.abs().max().item()) if other.numel() else 1.0
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_paper_equation_on_hand_computed_values(impl):
    """Two classes besides padding, probabilities (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4), target the first."""
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], dtype=torch.float64)
    output = rdrop_loss(
        probabilities.log(), torch.tensor([0]), alpha=5.0, label_smoothing=0.0, ignore_index=-1, impl=impl
    )
    # CE_1 + CE_2 = ln 2 + ln 4; KL(P||Q) = 1/2 ln 2 + 1/4 ln(1/2) = 1/4 ln 2 = KL(Q||P).
    kl = math.log(2) / 4
    assert output.kl_loss.item() == pytest.approx(kl, rel=1e-14)
    assert output.nll_loss.item() == pytest.approx(1.5 * math.log(2), rel=1e-14)
    assert output.loss.item() == pytest.approx(3 * math.log(2) + 5.0 / 2 * (kl + kl), rel=1e-14)
    assert output.n_correct.item() == 0.5

    smoothed = rdrop_loss(probabilities.log(), torch.tensor([0]), alpha=0.0, ignore_index=-1, impl=impl)
    # eps_i = 0.1 / 2 = 0.05; (1 - 0.1 - 0.05) nll + 0.05 * (ln 2 + ln 4 + ln 4) for each pass.
    expected = 0.85 * 3 * math.log(2) + 2 * 0.05 * 5 * math.log(2)
    assert smoothed.loss.item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("passes", [2, 3, 4])
@pytest.mark.parametrize(
    ("num_tokens", "vocabulary_size"), [(1, 41), (7, 41), (129, 41), (7, 1271), (129, 1271), (1, 32769), (7, 32769)]
)
def test_fused_equals_reference(num_tokens, vocabulary_size, passes):
    """Loss and all gradients in float64, non-unit upstream gradient. Budget: 1e-12 of the largest value."""
    case = make_case(num_tokens, vocabulary_size, passes)
    upstream = torch.tensor(-37.5)
    for options in ({}, {"alpha": 0.0}):
        options = dict(passes=passes, alpha=options.get("alpha", 5.0))
        for runner in (run_linear, run_logits):
            assert_same(
                runner(case, upstream, impl="fused", **options),
                runner(case, upstream, impl="reference", **options),
                tolerance=1e-12,
            )


@pytest.mark.parametrize(
    ("kl", "ce_passes", "label_smoothing", "reduction"),
    list(itertools.product(("symmetric", "forward"), ("all", "first"), (0.0, 0.1), ("sum", "none"))),
)
@pytest.mark.parametrize("alpha", [0.0, 3.0])
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_every_variant(passes, alpha, kl, ce_passes, label_smoothing, reduction):
    """Each choice of the objective, with one upstream gradient per token where there is one loss per token."""
    case = make_case(11, 23, passes)
    upstream = torch.randn(11, dtype=torch.float64) if reduction == "none" else torch.tensor(2.5)
    options = dict(
        passes=passes, kl=kl, ce_passes=ce_passes, label_smoothing=label_smoothing, reduction=reduction, alpha=alpha
    )
    for runner in (run_linear, run_logits):
        fused_result = runner(case, upstream, impl="fused", **options)
        assert_same(fused_result, runner(case, upstream, impl="reference", **options), tolerance=1e-13)
        assert fused_result[0].loss.shape == (() if reduction == "sum" else (11,))


def test_gradcheck():
    """Autograd's numerical derivative agrees with the closed form."""
    features, weight, bias, target = make_case(4, 7, 3)
    inputs = [tensor.requires_grad_() for tensor in (features, weight, bias)]
    for reduction in ("sum", "none"):
        assert torch.autograd.gradcheck(
            lambda *tensors: (
                linear_rdrop_loss(
                    tensors[0],
                    tensors[1],
                    target,
                    tensors[2],
                    passes=3,
                    impl="fused",
                    reduction=reduction,  # noqa: B023
                ).loss
            ),
            inputs,
        )


def test_chunks_do_not_matter(monkeypatch):
    case = make_case(29, 41, 2)
    whole = run_linear(case, torch.tensor(1.0), impl="fused")
    monkeypatch.setitem(fused.CHUNK_ROWS, "cpu", 29 * 2)
    # The last of them: less than the logits of one token.
    for elements, tokens in ((2 * 41 * 4, 4), (2 * 41 * 40, 29), (41, 1)):
        monkeypatch.setitem(fused.CHUNK_ELEMENTS, "cpu", elements)
        monkeypatch.setitem(closed_form.BLOCK_ELEMENTS, "cpu", elements * 3 // 4)
        assert fused.chunk_size(2, 41, torch.device("cpu")) == tokens
        assert_same(run_linear(case, torch.tensor(1.0), impl="fused"), whole, tolerance=1e-14)
    monkeypatch.setitem(fused.CHUNK_ROWS, "cpu", 1)
    assert fused.chunk_size(2, 41, torch.device("cpu")) == 1


def test_repeated_call_gives_the_same_bits():
    case = make_case(29, 41, 2, dtype=torch.float32)
    first, second = (run_linear(case, torch.tensor(3.0), impl="fused") for _ in range(2))
    for one, other in zip((*first[0], *first[1]), (*second[0], *second[1])):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("runner", [run_linear, run_logits])
def test_error_is_no_larger_than_that_of_plain_torch(runner, dtype):
    """Against the float64 truth, under a loss scale as fp16 training has it, for rows with a confident model.

    Budget: the error of the plain torch implementation in the same dtype plus one unit in the last place of the
    largest gradient.
    """
    scale = torch.tensor(128.0 if dtype != torch.float32 else 1.0)
    features, weight, bias, target = make_case(23, 301, 2, width=8)
    case = tuple(tensor.to(dtype) for tensor in (2 * features, weight, bias)) + (target,)
    truth = runner(tuple(t.double() if t.is_floating_point() else t for t in case), scale, impl="reference")
    plain = runner(case, scale, impl="reference")
    closed = runner(case, scale, impl="fused")
    for truth_part, plain_part, closed_part in zip(
        (truth[0].loss, *truth[1]), (plain[0].loss, *plain[1]), (closed[0].loss, *closed[1])
    ):

        def error(part):
            return (part.double() - truth_part).abs().max().item()  # noqa: B023

        one_unit = torch.finfo(closed_part.dtype).eps * truth_part.abs().max().item()
        assert error(closed_part) <= error(plain_part) + one_unit


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    """Features in half precision, parameters in float32: their gradients are float32 and no less exact than torch's."""
    features, weight, bias, target = make_case(23, 301, 2, width=8)
    case = (2 * features.to(dtype), weight.float(), bias.float(), target)
    truth = run_linear(tuple(t.double() if t.is_floating_point() else t for t in case), torch.tensor(128.0))
    results = {}
    for impl in ("reference", "fused"):
        with torch.autocast("cpu", dtype=dtype):
            results[impl] = run_linear(case, torch.tensor(128.0), impl=impl)
        assert [gradient.dtype for gradient in results[impl][1]] == [dtype, torch.float32, torch.float32]
    # Budget: the error of plain torch, most of it from the rounded logits, plus one unit in the last place of dtype.
    for part in range(3):
        plain, closed = ((results[impl][1][part].double() - truth[1][part]).abs().max() for impl in results)
        assert closed <= plain + torch.finfo(dtype).eps * truth[1][part].abs().max()


def test_small_entries_survive_half_precision():
    """A class that no token has gets a gradient of 1e-7 from each: summed at unit scale in fp16 nothing is left."""
    features, weight, bias, target = make_case(23, 301, 2, width=8)
    bias[7] = -14.0
    target[target == 7] = 8
    case = (features.half(), weight.half(), bias.half(), target)
    options = dict(label_smoothing=0.0)
    truth = run_linear(tuple(t.double() if t.is_floating_point() else t for t in case), torch.tensor(1024.0), **options)
    actual = run_linear(case, torch.tensor(1024.0), impl="fused", **options)
    expected = truth[1][1][7]
    assert 0 < expected.abs().max() / 1024 < 1e-4
    # Budget: the rounding of fp16, once for the logits (up to 16 here) and once for the result.
    torch.testing.assert_close(actual[1][1][7].double(), expected, rtol=3e-2, atol=1e-3 * expected.abs().max().item())


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_all_padding_gives_zero_and_no_nan(impl):
    features, weight, bias, _ = make_case(6, 11, 2)
    output, gradients = run_linear((features, weight, bias, torch.full((6,), PAD)), torch.tensor(1.0), impl=impl)
    for tensor in (*output, *gradients):
        assert torch.equal(tensor, torch.zeros_like(tensor))


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_padding_changes_nothing(impl):
    features, weight, bias, target = make_case(6, 11, 2)
    target = target.clamp(min=2)
    output, gradients = run_linear((features, weight, bias, target), torch.tensor(1.0), impl=impl)
    padded = torch.cat([features.view(2, 6, -1), torch.full((2, 3, 5), 1e3, dtype=torch.float64)], dim=1)
    longer = torch.cat([target, torch.full((3,), PAD)])
    with_pads = run_linear((padded.reshape(18, -1), weight, bias, longer), torch.tensor(1.0), impl=impl)
    assert_same(
        (with_pads[0], (with_pads[1][0].view(2, 9, -1)[:, :6].reshape(12, -1), *with_pads[1][1:])),
        (output, gradients),
        tolerance=1e-14,
    )
    assert with_pads[1][0].view(2, 9, -1)[:, 6:].abs().max() == 0


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_equal_passes_have_no_kl_and_the_plain_gradient(impl):
    features, weight, bias, target = make_case(6, 11, 1)
    twice = (features.repeat(2, 1), weight, bias, target)
    once = run_linear((features, weight, bias, target), torch.tensor(1.0), impl=impl, passes=1)
    output, gradients = run_linear(twice, torch.tensor(1.0), impl=impl, alpha=7.0)
    assert abs(output.kl_loss.item()) < 1e-14
    torch.testing.assert_close(output.loss, 2 * once[0].loss, rtol=1e-14, atol=0)
    torch.testing.assert_close(gradients[1], 2 * once[1][1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_alpha_zero_still_reports_the_kl(impl):
    case = make_case(6, 11, 2)
    weighted, _ = run_linear(case, torch.tensor(1.0), impl=impl, alpha=4.0)
    unweighted, _ = run_linear(case, torch.tensor(1.0), impl=impl, alpha=0.0)
    assert unweighted.kl_loss.item() > 0
    torch.testing.assert_close(weighted.kl_loss, unweighted.kl_loss)
    torch.testing.assert_close(weighted.loss, unweighted.loss + 4.0 * unweighted.kl_loss)


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_banned_column_takes_no_part(impl):
    """A class of logit -inf in every pass is as if it were not there."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(12, 9, generator=generator, dtype=torch.float64)
    banned = logits.clone()
    banned[:, 4] = -math.inf
    target = torch.tensor([0, 2, 3, 7, PAD, 8])
    without = torch.cat([logits[:, :4], logits[:, 5:]], dim=1)
    shifted = target - target.gt(4).long()
    options = dict(label_smoothing=0.0, impl=impl)
    expected = value_and_gradients(lambda rows: rdrop_loss(rows, shifted, **options), [without], torch.tensor(1.0))
    output, (gradient,) = value_and_gradients(
        lambda rows: rdrop_loss(rows, target, **options), [banned], torch.tensor(1.0)
    )
    assert torch.equal(gradient[:, 4], torch.zeros(12, dtype=torch.float64))
    kept = torch.cat([gradient[:, :4], gradient[:, 5:]], dim=1)
    assert_same((output, (kept,)), expected, tolerance=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_no_nan(dtype):
    generator = torch.Generator().manual_seed(1)
    logits = (torch.rand(14, 41, generator=generator, dtype=dtype) - 0.5).sign() * 1e4
    target = torch.randint(2, 41, (7,), generator=generator)
    expected = value_and_gradients(
        lambda rows: rdrop_loss(rows, target, impl="reference"), [logits.double()], torch.tensor(1.0)
    )
    actual = value_and_gradients(lambda rows: rdrop_loss(rows, target, impl="fused"), [logits], torch.tensor(1.0))
    # Budget: the logits' own relative rounding times the scale of the gradient.
    assert_same(actual, expected, tolerance=100 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("runner", [run_linear, run_logits])
def test_inputs_of_any_layout(runner):
    """Transposed, strided and expanded tensors, and 32-bit targets, give what contiguous ones give."""
    generator = torch.Generator().manual_seed(2)
    target = torch.tensor([3, PAD, 5, 6, 2, 7])
    strided = (
        torch.randn(5, 12, generator=generator, dtype=torch.float64).t(),
        torch.randn(11, 10, generator=generator, dtype=torch.float64)[:, ::2],
        torch.randn(1, generator=generator, dtype=torch.float64).expand(11),
    )
    expected = runner((*(tensor.contiguous() for tensor in strided), target), torch.tensor(2.0), impl="reference")
    if runner is run_linear:
        function = lambda *tensors: linear_rdrop_loss(tensors[0], tensors[1], target.int(), tensors[2])  # noqa: E731
        leaves = [tensor.detach().requires_grad_() for tensor in strided]
    else:
        logits = torch.nn.functional.linear(*strided)
        function = lambda rows: rdrop_loss(rows, target.int())  # noqa: E731
        leaves = [logits.t().contiguous().t().requires_grad_()]
    output = function(*leaves)
    assert_same((output, torch.autograd.grad(output.loss, leaves, torch.tensor(2.0))), expected, tolerance=1e-13)


def test_no_tokens_at_all():
    features, weight, bias, _ = make_case(0, 11, 2)
    output, gradients = run_linear((features, weight, bias, torch.zeros(0, dtype=torch.long)), torch.tensor(1.0))
    assert output.loss.item() == 0 and all(gradient.abs().sum() == 0 for gradient in gradients)


def test_backward_may_run_twice():
    for reduction in ("sum", "none"):
        features, weight, _, target = make_case(6, 11, 2)
        features.requires_grad_()
        loss = linear_rdrop_loss(features, weight, target, reduction=reduction).loss
        first, second = (
            torch.autograd.grad(loss, features, torch.full_like(loss, factor), retain_graph=True)[0]
            for factor in (1.0, 2.0)
        )
        torch.testing.assert_close(second, 2 * first, rtol=1e-14, atol=0)


@pytest.mark.parametrize("runner", [run_linear, run_logits])
def test_first_backward_of_a_retained_graph_leaves_the_second_alone(runner):
    """The first may work in place; autograd accumulates both."""
    *inputs, target = make_case(6, 11, 2)
    once = run_linear((*inputs, target), torch.tensor(3.0), impl="reference")[1]
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    if runner is run_linear:
        loss = linear_rdrop_loss(leaves[0], leaves[1], target, leaves[2]).loss
    else:
        loss = rdrop_loss(nn.functional.linear(*leaves), target).loss
    loss.backward(torch.tensor(1.0), retain_graph=True)
    loss.backward(torch.tensor(2.0))
    for leaf, expected in zip(leaves, once):
        torch.testing.assert_close(leaf.grad, expected, rtol=1e-12, atol=1e-12)


def test_nothing_like_the_logits_is_kept_but_their_gradient():
    """Neither in saved tensors nor beside them: so logits that nobody else holds are freed before the backward pass."""
    for passes, reduction in ((2, "sum"), (3, "none")):
        features, weight, _, target = make_case(6, 11, passes)
        weight.requires_grad_()
        options = dict(passes=passes, reduction=reduction)
        for loss, expected in (
            (rdrop_loss(features @ weight.t(), target, **options).loss, 1),
            (linear_rdrop_loss(features, weight, target, **options).loss, 0),
        ):
            kept = [*loss.grad_fn.saved_tensors, *vars(loss.grad_fn).values()]
            assert sum(isinstance(it, torch.Tensor) and it.numel() >= passes * 6 * 11 for it in kept) == expected


class LargeStorages(TorchDispatchMode):
    """Counts the pieces of memory for float32 of at least ``elements`` that operations make, all over a run."""

    def __init__(self, elements):
        super().__init__()
        self.elements, self.found = elements, []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() >= 4 * self.elements:
                if all(tensor.untyped_storage().data_ptr() != it.untyped_storage().data_ptr() for it in self.found):
                    self.found.append(tensor)  # held, so that its memory is not used once more
        return result


@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_in_parts(monkeypatch, dtype, on_device):
    """Half precision needs no second matrix (V, D) of float32 beside the gradient; the products are the same."""
    monkeypatch.setattr(fused, "has_half_precision_products", lambda device: on_device)
    monkeypatch.setitem(fused.CHUNK_ROWS, "cpu", 8)  # several chunks
    features, weight, bias, target = make_case(23, 301, 2, width=64)
    case = (features.to(dtype), weight.to(dtype), bias.to(dtype), target)
    whole = run_linear(case, torch.tensor(3.0), impl="fused")
    monkeypatch.setattr(half_precision, "PART_ELEMENTS", 7 * 64)
    leaves = [tensor.requires_grad_() for tensor in case[:2]]
    with LargeStorages(301 * 64) as large:
        linear_rdrop_loss(*leaves, target, impl="fused")
    assert len(large.found) == 1  # the gradient's
    assert_same(run_linear(case, torch.tensor(3.0), impl="fused"), whole, tolerance=torch.finfo(dtype).eps)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("from_features", [True, False])
def test_a_second_derivative_is_refused_not_lost(from_features, reduction):
    features, weight, _, target = make_case(5, 11, 2)
    features.requires_grad_()
    rows = features if from_features else features @ weight.t()
    loss = linear_rdrop_loss if from_features else rdrop_loss
    settings = {"reduction": reduction, **({"weight": weight} if from_features else {})}
    out = loss(rows, target=target, impl="fused", **settings).loss.sum()
    with pytest.raises(RuntimeError, match="cannot be differentiated twice .*use impl='reference'"):
        torch.autograd.grad(out, features, create_graph=True)
    out = loss(rows, target=target, impl="reference", **settings).loss.sum()
    (gradient,) = torch.autograd.grad(out, features, create_graph=True)
    gradient.pow(2).sum().backward()
    assert features.grad.abs().max() > 0


def test_only_wanted_gradients_are_made(monkeypatch):
    features, weight, bias, target = make_case(5, 11, 2)
    weight.requires_grad_()
    output = linear_rdrop_loss(features, weight, target, bias)
    output.loss.backward()
    assert features.grad is None and bias.grad is None and weight.grad is not None
    made, loss_of_chunk = [], fused.loss_of_chunk
    monkeypatch.setattr(fused, "loss_of_chunk", lambda *given: made.append(given[4]) or loss_of_chunk(*given))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert not linear_rdrop_loss(features, weight, target).loss.requires_grad
            assert not rdrop_loss(features @ weight.t(), target).loss.requires_grad
    assert len(made) >= 4 and not any(made)


@pytest.mark.parametrize("function", [rdrop_loss, linear_rdrop_loss])
def test_infinite_upstream_gradients_at_padding_stay_there(function):
    """sqrt has an infinite derivative at the 0 of a pad."""
    features, weight, _, target = make_case(6, 11, 2)
    inputs = (features, weight) if function is linear_rdrop_loss else (features @ weight.t(),)
    gradients = {}
    for impl in ("reference", "fused"):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        function(*leaves, target, impl=impl, reduction="none").loss.sqrt().sum().backward()
        gradients[impl] = [leaf.grad for leaf in leaves]
        assert gradients[impl][0].view(2, 6, -1)[:, target == PAD].abs().max() == 0
    for one, other in zip(*gradients.values()):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_backward_within_autocast():
    """With one loss per token the products of the backward pass are made in it."""
    features, weight, _, target = make_case(6, 11, 2, dtype=torch.float32)
    gradients = {}
    for reduction in ("sum", "none"):
        leaves = [tensor.clone().requires_grad_() for tensor in (features, weight)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            linear_rdrop_loss(*leaves, target, reduction=reduction).loss.sum().backward()
        gradients[reduction] = [leaf.grad for leaf in leaves]
    for one, other in zip(*gradients.values()):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def by_hand(distributions, target, label_smoothing, kl, ce_passes):
    """Cross-entropy and mean KL in loops over Python's numbers, with 0 log 0 = 0 and log 0 = -infinity."""

    def divergence(one, other):
        return sum(0.0 if p == 0 else math.inf if q == 0 else p * math.log(p / q) for p, q in zip(one, other))

    cross_entropy = 0.0
    for distribution in distributions[: 1 if ce_passes == "first" else None]:
        for v, p in enumerate(distribution):
            weight = 1 - label_smoothing if v == target else label_smoothing / (len(distribution) - 1)
            cross_entropy += 0.0 if weight == 0 else math.inf if p == 0 else -weight * math.log(p)
    kls = []
    for one, other in itertools.combinations(distributions, 2):
        backward = divergence(other, one) if kl == "symmetric" else divergence(one, other)
        kls.append((divergence(one, other) + backward) / 2)
    return cross_entropy, sum(kls) / len(kls)


@pytest.mark.parametrize("impl", ["reference", "fused"])
@pytest.mark.parametrize("bans", [[[4]], [[4], [4]], [[], [4]], [[4], [], []], [[4, 6], [4], [6]], [[3]], [[3], [3]]])
def test_banned_classes(impl, bans):
    """In some passes or in all, the target (3) or another: the value of the formula, finite or not, for each choice."""
    logits = torch.randn(max(2, len(bans)), 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for row, classes in zip(logits, bans):
        row[classes] = -math.inf
    distributions = logits.softmax(1).tolist()
    for kl, ce_passes, label_smoothing, alpha in itertools.product(
        ("symmetric", "forward"), ("all", "first"), (0.0, 0.1), (0.0, 2.0)
    ):
        cross_entropy, divergence = by_hand(distributions, 3, label_smoothing, kl, ce_passes)
        options = dict(alpha=alpha, passes=len(logits), label_smoothing=label_smoothing, kl=kl, ce_passes=ce_passes)
        run = functools.partial(rdrop_loss, target=torch.tensor([3]), impl=impl, **options)
        output, (gradient,) = value_and_gradients(run, [logits], torch.tensor(1.0))
        assert output.kl_loss.item() == pytest.approx(divergence, rel=1e-12)
        kl_part = alpha * len(logits) / 2 * divergence if alpha else 0.0
        assert output.loss.item() == pytest.approx(cross_entropy + kl_part, rel=1e-12)
        assert gradient.isfinite().all() == math.isfinite(kl_part)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.4])
@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_gradient_of_an_infinite_cross_entropy_is_that_of_torch(impl, label_smoothing):
    logits = torch.randn(2, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits[:, 3] = -math.inf
    target, leaf = torch.tensor([3]), logits.clone().requires_grad_()
    # torch spreads its smoothing over all classes, fairseq over those beside the target.
    expected = nn.functional.cross_entropy(
        leaf, target.repeat(2), label_smoothing=label_smoothing * 9 / 8, reduction="sum"
    )
    expected.backward()
    output, (gradient,) = value_and_gradients(
        lambda rows: rdrop_loss(rows, target, alpha=0.0, label_smoothing=label_smoothing, impl=impl),
        [logits],
        torch.tensor(1.0),
    )
    assert output.loss.isinf() and expected.isinf()
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_banned_classes_at_padding_count_nowhere(impl, reduction):
    """Not even where one pass alone bans them, which makes the KL infinite elsewhere."""
    logits = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target, results = torch.tensor([3, PAD, 5, PAD]), []
    for banned in (False, True):
        logits[0, 1, 4] = -math.inf if banned else 0.0
        run = functools.partial(rdrop_loss, target=target, impl=impl, reduction=reduction)
        upstream = torch.ones(4 if reduction == "none" else ())
        results.append(value_and_gradients(run, [logits.flatten(0, 1)], upstream))
    assert_same(*results, tolerance=0)
    assert not results[1][1][0].view(2, 4, 9)[:, 1::2].any()


def test_small_kl_of_float32():
    """What rounding adds in one pass it takes away in the other: no worse than plain torch, at a KL of 1e-7 a token."""
    logits, target = torch.randn(50, 1000, generator=torch.Generator().manual_seed(1)), torch.arange(50)
    other = logits + 1e-4 * torch.randn(50, 1000, generator=torch.Generator().manual_seed(2))
    rows = torch.cat([logits, other])
    truth, plain, closed = (
        rdrop_loss(it, target, ignore_index=-1, impl=impl).kl_loss.double()
        for it, impl in ((rows.double(), "reference"), (rows, "reference"), (rows, "fused"))
    )
    assert truth < 1e-6
    assert (closed - truth).abs() <= (plain - truth).abs() + 0.01 * truth


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_half_precision_products_of_a_cuda_device(monkeypatch, scale):
    """The gradient scaled to fit fp16, here on the CPU: as exact as plain torch, also where 128 times overflows."""
    features, weight, _, target = make_case(23, 301, 2, width=8)
    case = [(scale * features).half(), weight.half()]
    results = {}
    for impl in ("truth", "reference", "fused"):
        leaves = [(it.double() if impl == "truth" else it.clone()).requires_grad_() for it in case]
        if impl == "fused":
            # All that the branch for CUDA decides is the dtype of the products.
            monkeypatch.setattr(fused, "has_half_precision_products", lambda device: True)
        out = linear_rdrop_loss(*leaves, target, impl="reference" if impl == "truth" else impl)
        results[impl] = [it.double() for it in torch.autograd.grad(out.loss, leaves)]
    if scale > 1:
        assert 128 * results["truth"][1].abs().max() > torch.finfo(torch.float16).max
    for truth, plain, closed in zip(*results.values()):
        unit = torch.finfo(torch.float16).eps * truth.abs().max()
        assert (closed - truth).abs().max() <= (plain - truth).abs().max() + unit


def test_largest_gradients_of_half_precision_products(monkeypatch):
    """Logits of +-1200, and a pass that doubts where the other is certain: 64 times the gradient overflows fp16."""
    monkeypatch.setattr(fused, "has_half_precision_products", lambda device: True)
    features, target = torch.full((12, 16), -1200.0), torch.arange(2, 8)
    features[:, 0] = features[:6, 1] = 1200.0
    results = []
    for dtype, impl in ((torch.float64, "reference"), (torch.float16, "fused")):
        case = (features.to(dtype), torch.eye(16, dtype=dtype), torch.zeros(16, dtype=dtype), target)
        results.append(run_linear(case, torch.tensor(1.0), impl=impl)[1][0].double())
    assert 64 * results[0].abs().max() > torch.finfo(torch.float16).max
    assert results[1].isfinite().all()
    torch.testing.assert_close(results[1], results[0], rtol=2**-9, atol=2**-9 * float(results[0].abs().max()))


def test_scale_of_half_precision_gradients():
    """128 where that fits, else the largest power of two under which the largest entry stays at 32768 or below."""
    for largest, expected in ((1e-9, 128), (255.0, 128), (256.0, 128), (257.0, 64), (1024.0, 32), (1e6, 2**-5)):
        assert half_precision.fitting_scale(torch.tensor(largest)).item() == expected
    assert half_precision.fitting_scale(torch.tensor(math.inf)) == 0
    assert half_precision.fitting_scale(torch.tensor(math.nan)).isnan()


class OnDevice(torch.Tensor):
    """A tensor on the CPU that says that it is on a CUDA device, as do those that are made from it."""

    is_cuda = property(lambda self: True)


@pytest.mark.parametrize("num_tokens", [None, 17])
@pytest.mark.parametrize("impl", ["fused", "reference"])
def test_what_is_done_otherwise_on_a_cuda_device(impl, num_tokens):
    """Without waiting for the device: which targets are no padding, as the caller counts them, and what hits them."""
    features, weight, bias, target = make_case(23, 41, 2)
    logits = torch.nn.functional.linear(features, weight, bias)
    target[1:13] = logits[1:13].argmax(1)
    target[3], target[::5] = PAD, PAD
    logits[2, target[2] + 1] = logits[2, target[2]]  # a tie after the target
    assert int(target.ne(PAD).sum()) == 17
    for reduction, upstream in (("sum", torch.tensor(2.0)), ("none", torch.arange(23.0))):
        options = dict(impl=impl, num_tokens=num_tokens, reduction=reduction)
        expected, actual = (
            value_and_gradients(functools.partial(rdrop_loss, target=given, **options), [rows], upstream)
            for rows, given in ((logits, target), (logits.as_subclass(OnDevice), target.as_subclass(OnDevice)))
        )
        assert expected[0].n_correct > 3
        assert_same(actual, expected, tolerance=1e-13)


@pytest.mark.parametrize("impl", ["fused", "reference"])
@pytest.mark.parametrize("num_tokens", [3, 5])
def test_a_wrong_number_of_tokens_on_a_cuda_device(impl, num_tokens):
    """Asserted there: more tokens would be read at padding's index, fewer dropped."""
    logits, target = (
        torch.zeros(12, 11).as_subclass(OnDevice),
        torch.tensor([2, PAD, 3, PAD, 4, 5]).as_subclass(OnDevice),
    )
    with pytest.raises(RuntimeError, match="num_tokens is wrong"):
        rdrop_loss(logits, target, num_tokens=num_tokens, impl=impl)
    rdrop_loss(logits, target, num_tokens=4, impl=impl)


def test_indices_of_targets_that_are_no_padding():
    target = torch.tensor([5, PAD, 7, PAD, PAD, 2])
    for kind, num_tokens in ((torch.Tensor, None), (torch.Tensor, 3), (OnDevice, None), (OnDevice, 3)):
        assert fused.non_pad_indices(target.as_subclass(kind), PAD, num_tokens).tolist() == [0, 2, 5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [torch.Tensor, OnDevice])
def test_wide_product(monkeypatch, kind, dtype):
    """Sums of half precision in float32, also as a CUDA device makes them: in one call that a CPU does not know."""
    generator, product = torch.Generator().manual_seed(1), torch.mm
    left, right = (torch.randn(6, 6, generator=generator).to(dtype).as_subclass(kind) for _ in range(2))
    expected = left.double() @ right.double()

    def product_into(one, other, out_dtype=None):
        return product(one.to(out_dtype), other.to(out_dtype)) if out_dtype else product(one, other)

    monkeypatch.setattr(torch, "mm", product_into)
    actual = half_precision.wide_product(left, right)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(half_precision.wide_product(left.double(), right.double()), expected)


def test_bias_of_half_precision_products(monkeypatch):
    """Its gradient is divided by the scale of the others, in sums and token by token."""
    monkeypatch.setattr(fused, "has_half_precision_products", lambda device: True)
    features, weight, bias, target = make_case(23, 41, 2)
    for reduction, upstream in (("sum", torch.tensor(3.0)), ("none", torch.linspace(0.1, 2, 23))):
        expected, actual = (
            run_linear(
                tuple(it.half().to(dtype) for it in (features, weight, bias)) + (target,), upstream, reduction=reduction
            )[1][2]
            for dtype in (torch.float64, torch.float16)
        )
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=2**-9 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_of_wide_features(dtype):
    """float32 is projected in autocast's dtype, float64 in its own, as torch's linear layers do it."""
    features, weight, bias, target = make_case(23, 301, 2, width=8, dtype=dtype)
    truth = run_linear((features, weight, bias, target), torch.tensor(1.0), impl="reference")
    results = {}
    for impl in ("reference", "fused"):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            results[impl] = run_linear((features, weight, bias, target), torch.tensor(1.0), impl=impl)
        assert [gradient.dtype for gradient in results[impl][1]] == [dtype] * 3
    if dtype == torch.float64:
        assert_same(results["fused"], truth, tolerance=1e-12)
        return
    unit = torch.finfo(torch.bfloat16).eps
    assert results["fused"][0].loss != truth[0].loss  # the logits are rounded
    for plain, closed, true in zip(results["reference"][1], results["fused"][1], truth[1]):
        assert (closed - true).abs().max() <= (plain - true).abs().max() + unit * true.abs().max()


def test_autocast_does_not_narrow_the_products_that_are_wide():
    """The gradient of bf16 logits is float32, and so are the products with it: exact but for the logits."""
    features, weight, bias, target = (it.bfloat16() if it.is_floating_point() else it for it in make_case(23, 41, 2))
    alone = run_linear((features, weight, bias, target), torch.tensor(1.0), impl="fused")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = run_linear((features, weight, bias, target), torch.tensor(1.0), impl="fused")
    assert_same(within, alone, tolerance=0)


def test_no_deprecated_calls():
    features, weight, _, target = make_case(6, 11, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_rdrop_loss(features.requires_grad_(), weight, target).loss.backward()


def test_without_bias_and_as_a_part_of_a_larger_graph():
    """The loss times a factor, of features that come from a layer and a weight that is tied to another use."""
    torch.manual_seed(0)
    embedding, target = nn.Embedding(13, 6).double(), torch.randint(2, 13, (8,))
    tokens = torch.randint(2, 13, (8,))
    results = []
    for impl in ("reference", "fused"):
        embedding.zero_grad()
        features = torch.cat([embedding(tokens), embedding(tokens) * 1.1]).tanh()
        (3 * linear_rdrop_loss(features, embedding.weight, target, impl=impl).loss).backward()
        results.append(embedding.weight.grad.clone())
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-12)


def test_memory_does_not_grow():
    """Over 200 calls the process keeps no tensor."""
    case = make_case(5, 41, 2, dtype=torch.float32)

    def count():
        import gc

        gc.collect()
        return sum(1 for entry in gc.get_objects() if isinstance(entry, torch.Tensor))

    run_linear(case, torch.tensor(1.0), impl="fused")
    before = count()
    for _ in range(200):
        run_linear(case, torch.tensor(1.0), impl="fused")
    assert count() <= before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": -1.0}, "alpha.*-1"),
        ({"alpha": math.nan}, "alpha.*nan"),
        ({"alpha": math.inf}, "alpha.*inf"),
        ({"impl": "fast"}, "impl.*'fast'"),
        ({"kl": "reverse"}, "kl.*'reverse'"),
        ({"ce_passes": "last"}, "ce_passes.*'last'"),
        ({"reduction": "mean"}, "reduction.*'mean'"),
        ({"passes": 0}, "passes.*0"),
        ({"passes": True}, "passes must be an integer.*True"),
        ({"passes": 2.0}, r"passes must be an integer.*2\.0"),
        ({"ignore_index": None}, "ignore_index must be an integer.*None"),
        ({"num_tokens": 6.0}, r"num_tokens must be an integer.*6\.0"),
        ({"passes": 3}, r"3\*6.*\(12, 11\)"),
        ({"label_smoothing": 1.0}, "label_smoothing.*1.0"),
        ({"num_tokens": 7}, "num_tokens.*7"),
        ({"num_tokens": 5}, "num_tokens is 5, but 6"),
        ({"alpha": torch.tensor(1.0)}, "alpha.*tensor"),
        ({"label_smoothing": None}, "label_smoothing.*None"),
    ],
)
def test_bad_arguments_name_what_they_saw(change, message):
    with pytest.raises(ValueError, match=message):
        rdrop_loss(torch.zeros(12, 11), torch.full((6,), 2), **change)


@pytest.mark.parametrize("integer", [np.int64, np.uint8, torch.tensor])
def test_integers_of_any_type(integer):
    case = make_case(6, 11, 2)
    case[3][case[3] == PAD] = 3
    options = dict(passes=2, ignore_index=3, num_tokens=int(case[3].ne(3).sum()))
    expected = run_linear(case, torch.tensor(1.0), **options)
    given = {name: integer(number) for name, number in options.items()}
    assert_same(run_linear(case, torch.tensor(1.0), **given), expected, tolerance=0)


def test_every_class_counts_unless_it_is_said_to_be_padding():
    """The default is torch's padding, -100, which is no class."""
    logits, target = torch.zeros(2, 4), torch.tensor([1])
    assert rdrop_loss(logits, target).loss.item() == pytest.approx(2 * math.log(4))
    assert linear_rdrop_loss(torch.zeros(2, 3), torch.zeros(4, 3), target).loss.item() == pytest.approx(2 * math.log(4))
    assert rdrop_loss(logits, torch.tensor([-100])).loss == rdrop_loss(logits, target, ignore_index=1).loss == 0


def test_smoothing_over_one_class_is_refused():
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        rdrop_loss(torch.zeros(4, 1), torch.zeros(2, dtype=torch.long))
    assert rdrop_loss(torch.zeros(4, 1), torch.zeros(2, dtype=torch.long), label_smoothing=0.0).loss == 0


def test_triton_on_a_cpu_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match="impl='fused'"):
        rdrop_loss(torch.zeros(12, 11, dtype=torch.float64), torch.full((6,), 2), impl="triton")


def test_bad_shapes_name_what_they_saw():
    target = torch.full((6,), 2)
    with pytest.raises(ValueError, match=r"weight.*\(11, 4\)"):
        linear_rdrop_loss(torch.zeros(12, 5), torch.zeros(11, 4), target)
    with pytest.raises(ValueError, match=r"bias.*\(10,\)"):
        linear_rdrop_loss(torch.zeros(12, 5), torch.zeros(11, 5), target, torch.zeros(10))
    with pytest.raises(ValueError, match="float"):
        rdrop_loss(torch.zeros(12, 11, dtype=torch.long), target)
    with pytest.raises(ValueError, match="target"):
        rdrop_loss(torch.zeros(12, 11), target.view(2, 3))
    for dtype in (torch.complex64, torch.bool):
        with pytest.raises(ValueError, match="target must be .* of integers"):
            rdrop_loss(torch.zeros(4, 11), torch.ones(2, dtype=dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match="weight must be floating point"):
        linear_rdrop_loss(torch.zeros(4, 3), torch.ones(11, 3, dtype=torch.int64), torch.ones(2, dtype=torch.int64))
    for parameters in ((torch.zeros(11, 5).bfloat16(), None), (torch.zeros(11, 5), torch.zeros(11).double())):
        with pytest.raises(ValueError, match="dtype torch.float32 outside autocast, got torch"):
            linear_rdrop_loss(torch.zeros(12, 5), parameters[0], target, parameters[1])


@pytest.mark.parametrize("impl", ["reference", "fused"])
@pytest.mark.parametrize("wrong", [11, -2])
def test_targets_that_are_no_class_are_refused(impl, wrong):
    target = torch.tensor([2, wrong, 3])
    with pytest.raises(ValueError, match=f"{wrong}, but classes are 0 to 10 and ignore_index is -100"):
        rdrop_loss(torch.zeros(6, 11), target, impl=impl)
    with pytest.raises(ValueError, match=f"{wrong}, but classes are 0 to 10"):
        linear_rdrop_loss(torch.zeros(6, 5), torch.zeros(11, 5), target, impl=impl)
    rdrop_loss(torch.zeros(6, 11), target, impl=impl, ignore_index=wrong)
