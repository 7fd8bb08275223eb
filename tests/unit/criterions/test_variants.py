"""The variants of R-Drop: loss and gradients against their formulas, read directly, in float64."""

import copy
import itertools

import fairseq_tools
import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.modules import FairseqDropout, MultiheadAttention
from fairseq.tasks.translation import TranslationTask
from steps import assert_gradients_close, reduced, setup, step
from torch.nn.parallel import DistributedDataParallel

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import LabelSmoothedCrossEntropyWithRDropCriterion
from rdrop_fairseq.criterions.passes import perturbed

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


def rows_drawn(size, count):
    """Which sentences go through all passes, and the others, as the criterion draws them."""
    order = torch.randperm(size)
    return order[:count].sort().values, order[count:].sort().values


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


@pytest.mark.parametrize("flags", [{"kl": "forward"}, {"token_cutoff": 0.05}, {"share_encoder": True}], ids=str)
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
        rows, others = rows_drawn(len(target), count)
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


def decode_twice(model, sample, rows):
    """Logits of the first pass (B, T, V), and of the second, of the sentences rows: the encoder has run once."""
    inputs, every = sample["net_input"], torch.arange(len(sample["target"]))
    encoded = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
    order = torch.cat([every, rows])
    repeated_output = {
        "encoder_out": [encoded["encoder_out"][0][:, order]],
        "encoder_padding_mask": [encoded["encoder_padding_mask"][0][order]],
    }
    logits = model.decoder(inputs["prev_output_tokens"][order], encoder_out=repeated_output)[0]
    return logits[: len(every)], logits[len(every) :]


@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_share_encoder(built, fraction):
    task, model = built
    sample = fairseq_tools.batch(task)
    target = sample["target"]
    criterion = make(task, share_encoder=True, fraction=fraction)
    assert criterion.with_passes(sample)["net_input"]["src_tokens"] is sample["net_input"]["src_tokens"]

    def expected():
        rows, others = torch.arange(len(target)), []
        if fraction < 1:
            rows, others = rows_drawn(len(target), 4)
        first, second = decode_twice(model, sample, rows)
        loss = objective(torch.stack([first[rows], second]), target[rows]).sum()
        return loss + 2 * cross_entropy(first[others], target[others]).sum()

    assert_step_equals(model, criterion, sample, expected)
    assert not model.encoder._forward_hooks


def rates_of(model):
    return [module.p for module in model.modules() if isinstance(module, FairseqDropout)]


@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_dropout_rates(built, fraction):
    """Each pass by itself, with a rate of its own in all modules whose rate is not 0."""
    task, model = built
    model = copy.deepcopy(model)
    model.decoder.layers[0].activation_dropout_module.p = 0.0
    before = rates_of(model)
    assert {0.1, 0.2, 0.3} < set(before) and 0.0 in before
    sample = fairseq_tools.batch(task)
    target, inputs = sample["target"], sample["net_input"]
    criterion = make(task, passes=3, dropout_rates="0.5,0,0.1", fraction=fraction)

    def expected():
        rows, others = torch.arange(len(target)), []
        if fraction < 1:
            rows, others = rows_drawn(len(target), 4)
        logits = []
        for rate in (0.5, 0.0, 0.1):
            for module, previous in zip((it for it in model.modules() if isinstance(it, FairseqDropout)), before):
                module.p = rate if previous else 0.0
            logits.append(model(**(inputs if not logits else {name: it[rows] for name, it in inputs.items()}))[0])
        loss = objective(torch.stack([logits[0][rows], *logits[1:]]), target[rows]).sum()
        return loss + 3 * cross_entropy(logits[0][others], target[others]).sum()

    step(model, criterion, sample)
    assert rates_of(model) == before
    assert_step_equals(model, criterion, sample, expected)


def test_dropout_rates_of_a_recurrent_model(data_bin):
    """The sentences of the later passes may all be shorter than the longest of the batch."""
    size = "--arch lstm --encoder-embed-dim 16 --decoder-embed-dim 16 --dropout 0.3".split()
    task, model, _ = setup(data_bin, task="rdrop_translation", architecture=size)
    sample, criterion = fairseq_tools.batch(task), make(task, passes=3, fraction=0.1, dropout_rates="0,0,0")
    lengths, chosen = sample["net_input"]["src_lengths"], set()
    for seed in range(8):
        torch.manual_seed(seed)
        marked = criterion.with_passes(sample)
        chosen.add(int(lengths[marked["rdrop_rows"].repeated]))
        assert criterion(model, marked)[2]["rdrop_kl_loss"] == pytest.approx(0, abs=1e-5)
    assert min(chosen) < max(lengths)


def test_dropout_rates_of_an_adaptive_softmax(data_bin):
    """Its dropout comes after the model's forward pass, and has the rate of the pass too."""
    adaptive = ("--adaptive-softmax-cutoff", "10,20", "--adaptive-softmax-dropout", "0.4")
    task, model, _ = setup(data_bin, "--dropout", "0.3", *adaptive, task="rdrop_translation")
    sample = fairseq_tools.batch(task)
    assert step(model, make(task, dropout_rates="0,0"), sample)[2]["rdrop_kl_loss"] == 0
    assert step(model, make(task, dropout_rates="0,0.1"), sample)[2]["rdrop_kl_loss"] > 0


def test_dropout_rates_are_restored_after_an_error(built, monkeypatch):
    task, model = built
    before = rates_of(model)
    criterion, sample = make(task, dropout_rates="0.5,0.1"), fairseq_tools.batch(task)
    monkeypatch.setattr(model.decoder.layers[1], "forward", None)
    with pytest.raises(TypeError):
        step(model, criterion, sample)
    assert rates_of(model) == before


class Prepared(torch.nn.Module):
    """Embeddings that were looked up already."""

    def __init__(self, embeddings):
        super().__init__()
        self.embeddings = embeddings

    def forward(self, tokens):
        return self.embeddings


def perturbed_logits(model, sample, cutoff, noise):
    """Logits (2, B, T, V): the second pass with noise on the source and tokens cut on both sides."""
    inputs = repeated(sample["net_input"], 2)
    size = len(sample["target"])
    source = model.encoder.embed_tokens(inputs["src_tokens"])
    if noise:
        uniform = torch.rand(size, *source.shape[1:]) * 2 * noise - noise
        source = torch.cat([source[:size], source[size:] + uniform])
    if cutoff:
        kept = torch.rand(size, source.size(1)) >= cutoff
        kept[:, -1] = True  # as in SimCut's code
        source = torch.cat([source[:size], source[size:] * kept[:, :, None]])
    encoded = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"], token_embeddings=source)
    target = model.decoder.embed_tokens(inputs["prev_output_tokens"])
    if cutoff:
        kept = torch.rand(size, target.size(1)) >= cutoff
        kept[:, 0] = True
        target = torch.cat([target[:size], target[size:] * kept[:, :, None]])
    embed_tokens, model.decoder.embed_tokens = model.decoder.embed_tokens, Prepared(target)
    logits = model.decoder(inputs["prev_output_tokens"], encoder_out=encoded)[0]
    model.decoder.embed_tokens = embed_tokens
    return logits.view(2, size, *logits.shape[1:])


@pytest.mark.parametrize("embeddings", ["shared", "of each side"])
@pytest.mark.parametrize("cutoff, noise", [(0.3, 0.0), (0.0, 0.1), (0.3, 0.1)])
def test_perturbed_passes(built, cutoff, noise, embeddings):
    task, model = built
    if embeddings == "of each side":
        model = copy.deepcopy(model)
        model.decoder.embed_tokens = copy.deepcopy(model.encoder.embed_tokens)
    sample = fairseq_tools.batch(task)
    assert sample["net_input"]["src_tokens"].eq(PAD).any() and sample["target"].eq(PAD).any()
    criterion = make(task, token_cutoff=cutoff, embedding_noise=noise)

    def expected():
        return objective(perturbed_logits(model, sample, cutoff, noise), sample["target"]).sum()

    assert_step_equals(model, criterion, sample, expected)
    assert not model.encoder._forward_hooks and not model.encoder.embed_tokens._forward_hooks


def test_simcut(built):
    """CE(original) + alpha KL(original||cut), arXiv 2206.02368, equation 4 of its published code."""
    task, model = built
    sample = fairseq_tools.batch(task)
    target = sample["target"]
    criterion = make(task, kl="forward", ce_passes="first", token_cutoff=0.05)

    def expected():
        original, cut = perturbed_logits(model, sample, 0.05, 0.0)
        return (cross_entropy(original, target) + ALPHA * divergence(original, cut, target)).sum()

    assert_step_equals(model, criterion, sample, expected)


def test_r3f(built):
    """CE(x) + lambda (KL(x||x+z) + KL(x+z||x)), arXiv 2008.03156: alpha is 2 lambda."""
    task, model = built
    sample = fairseq_tools.batch(task)
    target = sample["target"]
    criterion = make(task, alpha=2 * 0.7, ce_passes="first", embedding_noise=1e-2)

    def expected():
        plain, noised = perturbed_logits(model, sample, 0.0, 1e-2)
        both = divergence(plain, noised, target) + divergence(noised, plain, target)
        return (cross_entropy(plain, target) + 0.7 * both).sum()

    assert_step_equals(model, criterion, sample, expected)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("padding", ["left", "right"])
def test_tokens_that_cutoff_spares(side, padding):
    """The last token of a source sentence, the first of a target one, wherever the padding is; the share is right."""
    real = torch.ones(2000, 6, dtype=torch.bool)
    real[1000:, :2] = False
    if padding == "right":
        real = real.flip(1)
    torch.manual_seed(1)
    zeroed = perturbed(torch.ones(2000, 6, 3), real, side == "source", 0.0, 0.2).eq(0)
    assert torch.equal(zeroed.any(2), zeroed.all(2))
    cut = zeroed.all(2)
    for rows in (slice(0, 1000), slice(1000, 2000)):
        columns = real[rows][0].nonzero().flatten().tolist()
        spared = columns[-1] if side == "source" else columns[0]
        assert not cut[rows, spared].any()
        others = [column for column in columns if column != spared]
        assert cut[rows][:, others].float().mean() == pytest.approx(0.2, abs=0.03)


def attention_matrices(attention, query, key, key_padding_mask, attn_mask):
    """softmax(QK'/sqrt(d)) of each head, (H, R, T, S), from what goes into an attention."""
    heads = [
        states.unflatten(2, (attention.num_heads, -1)).permute(2, 1, 0, 3)  # (H, R, T, D/H)
        for states in (attention.q_proj(query), attention.k_proj(key))
    ]
    scores = heads[0] @ heads[1].transpose(2, 3) / heads[0].size(3) ** 0.5
    if attn_mask is not None:
        scores = scores + attn_mask
    if key_padding_mask is not None:
        scores = scores.masked_fill(key_padding_mask[None, :, None], float("-inf"))
    return scores.softmax(3)


def layers_of_passes(model, monkeypatch, run):
    """What run() has the layers compute: (side, states (T, R, D)) and (side, matrices (H, R, T, S)), in order."""
    states, matrices = [], []

    def noting_states(side, forward):
        def noting(*arguments, **options):
            output = forward(*arguments, **options)
            states.append((side, output[0] if isinstance(output, tuple) else output))
            return output

        return noting

    def noting_matrices(side, attention, forward):
        def noting(query, key, value, key_padding_mask=None, attn_mask=None, **options):
            matrices.append((side, attention_matrices(attention, query, key, key_padding_mask, attn_mask)))
            return forward(query, key, value, key_padding_mask=key_padding_mask, attn_mask=attn_mask, **options)

        return noting

    with monkeypatch.context() as patch:
        for side in ("encoder", "decoder"):
            for layer in getattr(model, side).layers:
                patch.setattr(layer, "forward", noting_states(side, layer.forward))
                attentions = [layer.self_attn] if side == "encoder" else [layer.self_attn, layer.encoder_attn]
                for attention in attentions:
                    patch.setattr(attention, "forward", noting_matrices(side, attention, attention.forward))
        run()
    return states, matrices


@pytest.mark.parametrize(
    "flags",
    [
        {"hidden_weight": 2.0},
        {"attention_weight": 4.0},
        {"hidden_weight": 2.0, "attention_weight": 4.0, "passes": 3, "fraction": 0.4},
        {"hidden_weight": 2.0, "attention_weight": 4.0, "share_encoder": True},
    ],
    ids=lambda flags: ",".join(flags),
)
def test_layer_consistency(built, flags, monkeypatch):
    """LR-Drop: R-Drop's objective and m/2 times the weighted distances of states and matrices, padding left out."""
    task, model = built
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, MultiheadAttention):
            module.dropout_module.p = 0.0  # by which torch's attention and fairseq's own draw other random numbers
    sample = fairseq_tools.batch(task)
    target, passes = sample["target"], flags.get("passes", 2)
    criterion = make(task, **flags)
    terms = {}

    def mean_distance(noted, distance, rows):
        of_layers = []
        for side, values in noted:
            tokens = sample["net_input"]["src_tokens"] if side == "encoder" else target
            first, later = values[:, : len(target)][:, rows], values[:, len(target) :].chunk(passes - 1, dim=1)
            pairs = list(itertools.combinations([first, *later], 2))
            per_token = sum(distance(one, other) for one, other in pairs) / len(pairs)  # (K, T)
            of_layers.append(0.0)
            for number, sentence in enumerate(rows):
                real = tokens[sentence].ne(PAD)
                of_layers[-1] += target[sentence].ne(PAD).sum() * per_token[number][real].mean()
        return sum(of_layers) / len(of_layers)

    def expected():
        rows, others = torch.arange(len(target)), []
        if "fraction" in flags:
            rows, others = rows_drawn(len(target), 4)
        outputs = []

        def run():
            if "share_encoder" in flags:
                outputs.extend(decode_twice(model, sample, rows))
                return
            inputs = sample["net_input"]
            order = torch.cat([torch.arange(len(target)), *[rows] * (passes - 1)])
            logits = model(**{name: tensor[order] for name, tensor in inputs.items()})[0]
            outputs.extend([logits[: len(target)], *logits[len(target) :].chunk(passes - 1)])

        states, matrices = layers_of_passes(model, monkeypatch, run)
        if "share_encoder" in flags:
            states = [it for it in states if it[0] == "decoder"]
            matrices = [it for it in matrices if it[0] == "decoder"]
        loss = objective(torch.stack([outputs[0][rows], *outputs[1:]]), target[rows]).sum()
        loss = loss + passes * cross_entropy(outputs[0][others], target[others]).sum()
        terms["hidden"] = mean_distance(states, lambda a, b: (a - b).pow(2).mean(2).t(), rows)
        terms["attention"] = mean_distance(matrices, lambda a, b: (a - b).pow(2).sum(3).mean(0), rows)
        weighted = sum(flags.get(f"{name}_weight", 0) * term for name, term in terms.items())
        return loss + passes / 2 * weighted

    # fairseq's own attention has its softmax in float32.
    logs = assert_step_equals(model, criterion, sample, expected, tolerance=1e-6)
    for name, term in terms.items():
        key = f"rdrop_{name}_loss"
        assert (key in logs) == (f"{name}_weight" in flags)
        if key in logs:
            assert term > 1e-3 and float(logs[key]) == pytest.approx(float(term), rel=1e-5)
            in_log = reduced(criterion, [logs, logs])[key]
            assert in_log == pytest.approx(float(term) / int(logs["rdrop_ntokens"]), abs=5.1e-5)
    for module in model.modules():
        assert not module._forward_hooks and "forward" not in vars(module)
    rows = step(model, criterion, sample, reduce=False)
    torch.testing.assert_close(rows[0].sum(), step(model, criterion, sample)[0], rtol=1e-7, atol=0)
    assert rows[0][target.flatten().eq(PAD)].abs().max() == 0


def test_a_forward_of_its_own_is_given_back_to_an_attention(built):
    """Such as one that measures time, set on the module itself."""
    task, model = built
    model, calls = copy.deepcopy(model), []
    attention = model.encoder.layers[0].self_attn
    inherited = attention.forward

    def forward(*arguments, **options):
        calls.append(arguments)
        return inherited(*arguments, **options)

    attention.forward = forward
    step(model, make(task, attention_weight=1.0), fairseq_tools.batch(task))
    assert vars(attention)["forward"] is forward and len(calls) == 1


def test_layers_are_not_compared_in_a_plain_update(built):
    task, model = built
    criterion, sample = make(task, hidden_weight=1.0, attention_weight=1.0, interval=2), fairseq_tools.batch(task)
    logs = []
    for update in range(2):
        criterion.begin_update(update)
        logs.append(step(model, criterion, sample)[2])
    assert logs[0].keys() == logs[1].keys()
    assert logs[0]["rdrop_hidden_loss"] > 0 and logs[1]["rdrop_hidden_loss"] == logs[1]["rdrop_attention_loss"] == 0


@pytest.mark.parametrize(
    "flags",
    [
        {"passes": 3, "fraction": 0.5, "token_cutoff": 0.2, "dropout_rates": "0.1,0.2,0.3", "hidden_weight": 1.0},
        {"passes": 3, "fraction": 0.5, "token_cutoff": 0.2, "embedding_noise": 0.1, "ce_passes": "first"},
        {"passes": 3, "fraction": 0.5, "share_encoder": True, "alpha_half_life": 3, "attention_weight": 1.0},
    ],
    ids=lambda flags: ",".join(flags),
)
def test_variants_together(built, flags, monkeypatch):
    """Features and log-probabilities give the same, in bfloat16 too as near as that has it; the sample is untouched."""
    task, model = built
    sample = fairseq_tools.batch(task)
    before = copy.deepcopy(sample)
    results = []
    for path in ("features", "log-probabilities", "autocast"):
        criterion = make(task, **flags)
        criterion.begin_update(2)
        if path == "log-probabilities":
            module = "rdrop_fairseq.criterions.label_smoothed_cross_entropy_with_rdrop"
            monkeypatch.setattr(f"{module}.plain_output_projection", lambda model: None)
        if path == "autocast":
            monkeypatch.undo()
            model = copy.deepcopy(model).float()
            with torch.autocast("cpu", torch.bfloat16):
                results.append(step(model, criterion, sample))
        else:
            results.append(step(model, criterion, sample))
    features, log_probs, autocast = results
    assert float(features[0]) == pytest.approx(float(log_probs[0]), rel=1e-6)  # fairseq normalises in float32
    assert_gradients_close(features[3], log_probs[3], 1e-6)
    assert autocast[0].isfinite() and float(autocast[0]) == pytest.approx(float(features[0]), rel=0.1)
    assert features[2].keys() == log_probs[2].keys()
    fairseq_tools.assert_equal(sample, before)


@pytest.mark.parametrize(
    "flags",
    [
        {"passes": 3, "fraction": 0.5, "token_cutoff": 0.2, "dropout_rates": "0.1,0.2,0.3", "interval": 2},
        {"share_encoder": True, "alpha_warmup_updates": 9},
    ],
    ids=lambda flags: ",".join(flags),
)
def test_validation_is_plain(built, flags):
    task, model = built
    model, sample = copy.deepcopy(model).eval(), fairseq_tools.batch(task, "valid")
    results = []
    for criterion in (LabelSmoothedCrossEntropyCriterion(task, False, EPSILON, 0, True), make(task, **flags)):
        criterion.report_accuracy = True
        criterion.eval()
        results.append(reduced(criterion, [criterion(model, sample)[2]]))
    assert results[0] == results[1]


REFUSED = {
    "--rdrop-interval is 0; give a whole number from 1": {"interval": 0},
    "--rdrop-alpha-warmup-updates is -1; give a whole number from 0": {"alpha_warmup_updates": -1},
    "--rdrop-fraction is 0.0; give a number above 0 and up to 1": {"fraction": 0.0},
    "--rdrop-fraction is nan; give": {"fraction": float("nan")},
    "--rdrop-dropout-rates is 0.3,high; give numbers with commas": {"dropout_rates": "0.3,high"},
    "--rdrop-dropout-rates is 0.3; give as many numbers .* as --rdrop-passes has, 2": {"dropout_rates": "0.3"},
    "--rdrop-dropout-rates is 0.3,1; give as many numbers from 0 to below 1": {"dropout_rates": "0.3,1"},
    "--rdrop-token-cutoff is 1.0; give a number from 0 to below 1": {"token_cutoff": 1.0},
    "--rdrop-embedding-noise is inf; give a finite number >= 0": {"embedding_noise": float("inf")},
    "--rdrop-hidden-weight is -1.0; give a finite number >= 0": {"hidden_weight": -1.0},
    "--rdrop-token-cutoff changes the encoder .*; leave one": {"share_encoder": True, "token_cutoff": 0.1},
    "--rdrop-embedding-noise changes the encoder": {"share_encoder": True, "embedding_noise": 0.1},
    "--rdrop-dropout-rates changes the encoder": {"share_encoder": True, "dropout_rates": "0.1,0.2"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_values_and_combinations_are_refused(built, message):
    with pytest.raises(UserError, match=f"^{message}"):
        make(built[0], **REFUSED[message])


@pytest.mark.parametrize(
    "architecture, flags, message",
    [
        ("lstm", {"dropout_rates": "0.1,0.2"}, "--rdrop-dropout-rates changes the rates above 0 and there is none"),
        ("transformer", {"dropout_rates": "0.1,0.2"}, "--rdrop-dropout-rates does not work with --checkpoint-act"),
        ("quant noise", {"dropout_rates": "0.1,0.2"}, "--rdrop-dropout-rates does not work with --quant-noise-pq, wh"),
        ("lstm", {"hidden_weight": 1.0}, "--rdrop-hidden-weight compares .* which LSTMModel is not; leave it out, or"),
        ("transformer", {"attention_weight": 1.0}, "--rdrop-attention-weight does not work with --checkpoint-act"),
        (
            "layerdrop",
            {"attention_weight": 1.0},
            "--rdrop-attention-weight needs all layers in every pass; leave --enc",
        ),
        ("fconv_lm", {"share_encoder": True}, "FConvLanguageModel has no encoder whose output can be repeated; leave"),
        ("fconv_lm", {"token_cutoff": 0.1}, "FConvLanguageModel has no token embeddings on both sides; leave --rdrop-"),
    ],
)
def test_models_without_place_for_a_variant_are_refused(data_bin, built, architecture, flags, message):
    """Before the first update: when the task begins an epoch."""
    size = "--encoder-embed-dim 16 --decoder-embed-dim 16".split()
    more = {
        "lstm": [*size, "--dropout", "0"],
        "transformer": [*fairseq_tools.TINY_TRANSFORMER[2:], "--checkpoint-activations"],
    }
    more["layerdrop"] = [*fairseq_tools.TINY_TRANSFORMER[2:], "--decoder-layerdrop", "0.2"]
    more["quant noise"] = [*fairseq_tools.TINY_TRANSFORMER[2:], "--quant-noise-pq", "0.1"]
    name = "transformer" if architecture in ("layerdrop", "quant noise") else architecture
    words = ("--arch", name, *more.get(architecture, []))
    task, model, _ = setup(data_bin, task="rdrop_translation", architecture=words)
    task._criterion = make(built[0], **flags)
    with pytest.raises(UserError, match=message):
        task.begin_epoch(1, model)


def test_layers_left_out_in_passes_one_by_one(data_bin):
    """Refused in torch's DistributedDataParallel alone, which then waits for gradients of layers that were left out."""
    task, model, _ = setup(data_bin, "--dropout", "0.3", "--encoder-layerdrop", "0.5", task="rdrop_translation")
    criterion = make(task, dropout_rates="0.1,0.2")
    criterion.check_model(model)
    parallel = DistributedDataParallel.__new__(DistributedDataParallel)  # a whole one needs a group of processes
    torch.nn.Module.__init__(parallel)
    parallel.module = model
    with pytest.raises(UserError, match="^--rdrop-dropout-rates with LayerDrop .*; give --ddp-backend legacy_ddp"):
        criterion.check_model(parallel)


@pytest.mark.parametrize("flags", [{"interval": 2}, {"alpha_warmup_updates": 2}, {"alpha_half_life": 2}], ids=str)
def test_what_needs_the_update_is_refused_where_nobody_tells_it(built, flags):
    (name,) = flags
    task = TranslationTask(built[0].cfg, built[0].source_dictionary, built[0].target_dictionary)
    with pytest.raises(
        UserError, match=f"^--rdrop-{name.replace('_', '-')} needs the number of the update; give --task"
    ):
        make(task, **flags)
