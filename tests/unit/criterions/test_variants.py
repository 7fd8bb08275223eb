"""The variants of R-Drop: loss and gradients against their formulas, read directly, in float64."""

import itertools

import fairseq_tools
import pytest
import torch
from fairseq.tasks.translation import TranslationTask
from steps import assert_gradients_close, reduced, setup, step

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


class Optimizer:
    """What a task needs of an optimiser."""

    def backward(self, loss):
        loss.backward()


@pytest.mark.parametrize("ce_passes", ["all", "first"])
def test_interval(built, ce_passes):
    """Updates 0 and 3 of interval 3 are R-Drop; in the others one pass counts as much as all would."""
    task, model = built
    sample = fairseq_tools.batch(task)
    target = sample["target"]
    criterion = make(task, passes=3, interval=3, ce_passes=ce_passes)
    logs = []
    for update in range(4):
        criterion.begin_update(update)
        assert criterion.with_passes(sample)["rdrop_passes"] == 3

        def expected(update=update):
            if update % 3 == 0:
                return objective(logits_of(model, sample, 3), target, ce_passes=ce_passes).sum()
            weight = 1 if ce_passes == "first" else 3
            return weight * cross_entropy(logits_of(model, sample, 1)[0], target).sum()

        logs.append(assert_step_equals(model, criterion, sample, expected))
    assert [log.keys() for log in logs[1:]] == [logs[0].keys()] * 3
    assert [float(log["rdrop_ntokens"]) for log in logs] == [sample["ntokens"], 0, 0, sample["ntokens"]]
    # In the log: the mean over the tokens that went through all passes, and nothing where none did.
    assert "rdrop_kl_loss" not in reduced(criterion, logs[1:3])
    assert reduced(criterion, logs[:3])["rdrop_kl_loss"] == reduced(criterion, logs[:1])["rdrop_kl_loss"] > 0


def test_the_task_tells_the_number_of_the_update(built):
    task, model = built
    sample = fairseq_tools.batch(task)
    criterion = make(task, interval=2)
    tokens = [
        float(task.train_step(sample, model, criterion, Optimizer(), update_num=update)[2]["rdrop_ntokens"])
        for update in (0, 1, 2, 2, 5)
    ]
    assert tokens == [sample["ntokens"], 0, sample["ntokens"], sample["ntokens"], 0]


@pytest.mark.parametrize(
    "flags, expected",
    [
        ({"alpha_warmup_updates": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"alpha_half_life": 2}, [1, 0.5**0.5, 0.5, 0.5**1.5, 0.25, 0.5**2.5]),
        ({"alpha_warmup_updates": 3, "alpha_half_life": 1}, [1 / 3, 2 / 3, 1, 0.5, 0.25, 0.125]),
        ({"alpha_warmup_updates": 1, "alpha_half_life": 1}, [1, 0.5, 0.25, 0.125, 1 / 16, 1 / 32]),
    ],
    ids=str,
)
def test_schedule_of_alpha(built, flags, expected):
    task, model = built
    sample = fairseq_tools.batch(task, size=3)
    criterion = make(task, **flags)
    for update, factor in enumerate(expected):
        criterion.begin_update(update)
        assert criterion.flags.alpha_at(update) == pytest.approx(ALPHA * factor, rel=1e-12)
        if update in (0, 3):

            def loss(factor=factor):
                return objective(logits_of(model, sample, 2), sample["target"], alpha=ALPHA * factor).sum()

            logs = assert_step_equals(model, criterion, sample, loss)
            # Whatever the number of batches and processes.
            assert reduced(criterion, [logs, logs])["rdrop_alpha"] == pytest.approx(ALPHA * factor, abs=5.1e-5)
    assert "rdrop_alpha" not in step(model, make(task), sample)[2]


@pytest.mark.parametrize("sentences", ["some", "one"])
@pytest.mark.parametrize("reduce", [True, False])
@pytest.mark.parametrize("passes", [2, 3])
def test_fraction(built, passes, reduce, sentences):
    """A random part of the sentences has the objective, the others as many times their cross-entropy."""
    task, model = built
    sample = fairseq_tools.batch(task)
    target = sample["target"]
    criterion = make(task, passes=passes, fraction=0.4 if sentences == "some" else 0.01)
    count = 4 if sentences == "some" else 1
    chosen = []

    def expected():
        order = torch.randperm(len(target))
        rows, others = order[:count].sort().values, order[count:]
        chosen.append(rows.tolist())
        inputs = {
            name: torch.cat([tensor, *[tensor[rows]] * (passes - 1)]) for name, tensor in sample["net_input"].items()
        }
        logits = model(**inputs)[0]
        first, later = logits[: len(target)], logits[len(target) :].view(passes - 1, count, *logits.shape[1:])
        loss = torch.zeros(target.shape, dtype=logits.dtype)
        loss[rows] = objective(torch.cat([first[rows][None], later]), target[rows])
        loss[others] = passes * cross_entropy(first[others], target[others])
        return loss.sum() if reduce else loss.view(-1, 1)

    if reduce:
        logs = assert_step_equals(model, criterion, sample, expected)
        assert logs["rdrop_ntokens"] == target[chosen[0]].ne(PAD).sum() < sample["ntokens"]
    else:
        loss = step(model, criterion, sample, reduce=False)[0]
        torch.manual_seed(11)
        torch.testing.assert_close(loss, expected(), rtol=1e-12, atol=1e-12)


def test_fraction_draws_anew(built):
    task, _ = built
    criterion, sample = make(task, fraction=0.5), fairseq_tools.batch(task)
    torch.manual_seed(1)
    drawn = [tuple(criterion.with_passes(sample)["rdrop_rows"].repeated.tolist()) for _ in range(8)]
    assert len(set(drawn)) > 4 and all(len(rows) == 5 for rows in drawn)
    # Also where it is the whole batch the log has the same types, which processes sum.
    whole = step(built[1], criterion, fairseq_tools.batch(task, size=1))[2]
    assert torch.is_tensor(whole["rdrop_ntokens"]) and whole["rdrop_ntokens"] > 0


REFUSED = {
    "--rdrop-interval is 0; give a whole number from 1": {"interval": 0},
    "--rdrop-alpha-warmup-updates is -1; give a whole number from 0": {"alpha_warmup_updates": -1},
    "--rdrop-fraction is 0.0; give a number above 0 and up to 1": {"fraction": 0.0},
    "--rdrop-fraction is nan; give": {"fraction": float("nan")},
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_values_and_combinations_are_refused(built, message):
    with pytest.raises(UserError, match=f"^{message}"):
        make(built[0], **REFUSED[message])


@pytest.mark.parametrize("flags", [{"interval": 2}, {"alpha_warmup_updates": 2}, {"alpha_half_life": 2}], ids=str)
def test_what_needs_the_update_is_refused_where_nobody_tells_it(built, flags):
    (name,) = flags
    task = TranslationTask(built[0].cfg, built[0].source_dictionary, built[0].target_dictionary)
    with pytest.raises(
        UserError, match=f"^--rdrop-{name.replace('_', '-')} needs the number of the update; give --task"
    ):
        make(task, **flags)
