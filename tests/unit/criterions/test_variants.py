"""The variants of R-Drop: loss and gradients against their formulas, read directly, in float64."""

import itertools

import fairseq_tools
import pytest
import torch
from steps import assert_gradients_close, setup, step

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import LabelSmoothedCrossEntropyWithRDropCriterion

ALPHA, EPSILON, PAD = 3.0, 0.1, 1
DROPOUT = ("--dropout", "0.3", "--attention-dropout", "0.2", "--activation-dropout", "0.1")


@pytest.fixture(scope="module")
def built(data_bin):
    """Task, and a model in float64 with two layers a side; building them takes a second."""
    layers = ("--encoder-layers", "2", "--decoder-layers", "2")
    task, model, _ = setup(data_bin, *DROPOUT, *layers, "--share-all-embeddings", task="rdrop_translation")
    return task, model.double()


def make(task, **flags):
    """The criterion with these flags of R-Drop."""
    flags = {f"rdrop_{name}": value for name, value in {"alpha": ALPHA, **flags}.items()}
    return LabelSmoothedCrossEntropyWithRDropCriterion(task, False, EPSILON, **flags)


def repeated(inputs, passes):
    """Every tensor of the input, pass after pass."""
    return {name: torch.cat([tensor] * passes) for name, tensor in inputs.items()}


def logits_of(model, sample, passes):
    """Logits (m, B, T, V) of all passes in one forward pass."""
    logits = model(**repeated(sample["net_input"], passes))[0]
    return logits.view(passes, -1, *logits.shape[1:])


def cross_entropy(logits, target):
    """fairseq's label-smoothed cross-entropy of each token, (B, T), 0 at padding."""
    log_probs = logits.log_softmax(-1)
    per_class = EPSILON / (logits.size(-1) - 1)
    nll = -log_probs.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return ((1 - EPSILON - per_class) * nll - per_class * log_probs.sum(-1)) * target.ne(PAD)


def divergence(one, other, target):
    """KL(P||Q) of each token, (B, T), 0 at padding."""
    one, other = one.log_softmax(-1), other.log_softmax(-1)
    return (one.exp() * (one - other)).sum(-1) * target.ne(PAD)


def objective(logits, target, alpha=ALPHA, kl="symmetric", ce_passes="all"):
    """sum_i CE_i + alpha * (m/2) * mean_{i<j} J_ij of each token, (B, T)."""
    passes = len(logits)
    pairs = []
    for i, j in itertools.combinations(range(passes), 2):
        forward = divergence(logits[i], logits[j], target)
        pairs.append(forward if kl == "forward" else (forward + divergence(logits[j], logits[i], target)) / 2)
    counted = logits[:1] if ce_passes == "first" else logits
    return sum(cross_entropy(it, target) for it in counted) + alpha * passes / 2 * sum(pairs) / len(pairs)


def assert_step_equals(model, criterion, sample, expected_loss, tolerance=1e-12):
    """Loss and gradients of a step are those of ``expected_loss()``, under the same random numbers."""
    loss, _, logs, gradients = step(model, criterion, sample)
    torch.manual_seed(11)
    model.zero_grad()
    expected = expected_loss()
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=tolerance, atol=0)
    assert_gradients_close(gradients, fairseq_tools.gradients(model), tolerance)
    return logs


@pytest.mark.parametrize("passes", [2, 3])
@pytest.mark.parametrize("ce_passes", ["all", "first"])
@pytest.mark.parametrize("kl", ["symmetric", "forward"])
def test_divergence_and_passes_with_cross_entropy(built, kl, ce_passes, passes):
    task, model = built
    sample = fairseq_tools.batch(task)
    criterion = make(task, passes=passes, kl=kl, ce_passes=ce_passes)

    def expected():
        return objective(logits_of(model, sample, passes), sample["target"], kl=kl, ce_passes=ce_passes).sum()

    assert_step_equals(model, criterion, sample, expected)


@pytest.mark.parametrize("flags", [{"kl": "forward"}, {"ce_passes": "first"}], ids=str)
def test_a_variant_without_rdrop_is_refused(built, flags):
    (name,) = flags
    flag = f"--rdrop-{name.replace('_', '-')}"
    with pytest.raises(UserError, match=f"^{flag} does nothing with --rdrop-alpha 0; give .* or leave {flag} out$"):
        make(built[0], alpha=0.0, **flags)
