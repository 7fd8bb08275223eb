"""The criterion in fairseq: equal to the plain one where it must be, and to fairseq's own R-Drop elsewhere."""

import copy
import logging
import math

import fairseq_tools
import pytest
import torch
from fairseq.logging import metrics
from steps import PLAIN, RDROP, assert_gradients_close, reduced, setup, step

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.criterions.output_projection import plain_output_projection


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "flags",
    [(), ("--sentence-avg",), ("--report-accuracy",), ("--ignore-prefix-size", "1", "--report-accuracy")],
    ids=" ".join,
)
def test_alpha_zero_is_the_plain_criterion(data_bin, flags, training):
    """Loss, gradients and metrics to the last bit, in training and in validation."""
    results = []
    for name, extra in ((PLAIN, ()), (RDROP, ("--rdrop-alpha", "0"))):
        task, model, criterion = setup(data_bin, *flags, *extra, criterion=name)
        model.train(training)
        criterion.train(training)
        sample = fairseq_tools.batch(task)
        loss, sample_size, logs, gradients = step(model, criterion, sample)
        results.append((loss, sample_size, gradients, reduced(criterion, [logs])))
    (loss, size, gradients, values), (own_loss, own_size, own_gradients, own_values) = results
    assert torch.equal(loss, own_loss) and size == own_size and values == own_values
    assert gradients.keys() == own_gradients.keys()
    assert all(torch.equal(gradients[name], own_gradients[name]) for name in gradients)


def test_validation_with_alpha_is_plain(data_bin):
    """In validation there is one pass and no KL, whatever alpha."""
    values = []
    for name, extra in ((PLAIN, ()), (RDROP, ("--rdrop-alpha", "5"))):
        task, model, criterion = setup(data_bin, "--report-accuracy", *extra, criterion=name)
        model.eval()
        criterion.eval()
        _, _, logs = criterion(model, fairseq_tools.batch(task, "valid"))
        values.append(reduced(criterion, [logs]))
    assert values[0] == values[1]
    assert "rdrop_kl_loss" not in values[1]


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_agrees_with_fairseqs_own(data_bin, impl):
    """The same parameters and dropout masks: loss and gradients within float32 rounding (1e-6 of the largest)."""
    own = pytest.importorskip("fairseq.criterions.label_smoothed_cross_entropy_with_rdrop")
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5", "--rdrop-impl", impl)
    sample = fairseq_tools.batch(task)
    fairseqs = own.RdropLabelSmoothedCrossEntropyCriterion(task, False, 0.1, rdrop_alpha=5.0)
    expected = step(model, fairseqs, copy.deepcopy(sample), upstream=3.0)
    actual = step(model, criterion, sample, upstream=3.0)
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-6, atol=0)
    assert_gradients_close(actual[3], expected[3], tolerance=1e-6)
    assert actual[1] == expected[1]
    # fairseq's own sums nll over both copies; ours is the mean over the passes.
    torch.testing.assert_close(2 * actual[2]["nll_loss"], expected[2]["nll_loss"], rtol=1e-6, atol=0)
    assert float(actual[2]["rdrop_kl_loss"]) == pytest.approx(expected[2]["rdrop_kl_loss"], rel=1e-5)


@pytest.mark.parametrize("passes", ["2", "3"])
@pytest.mark.parametrize(
    "flags",
    [(), ("--sentence-avg",), ("--ignore-prefix-size", "2", "--report-accuracy")],
    ids=" ".join,
)
@pytest.mark.parametrize("projection", [(), ("--share-all-embeddings",)], ids=["unshared", "shared"])
def test_features_and_logits_give_the_same(data_bin, monkeypatch, passes, flags, projection):
    """The path from features equals the path from log-probabilities: loss, log and every gradient."""
    results = []
    for from_features in (True, False):
        task, model, criterion = setup(data_bin, "--rdrop-alpha", "4", "--rdrop-passes", passes, *flags, *projection)
        assert plain_output_projection(model) is model.decoder.output_projection
        if not from_features:
            module = "rdrop_fairseq.criterions.label_smoothed_cross_entropy_with_rdrop"
            monkeypatch.setattr(f"{module}.plain_output_projection", lambda model: None)
        results.append(step(model, criterion, fairseq_tools.batch(task), upstream=0.5))
    features, logits = results
    torch.testing.assert_close(features[0], logits[0], rtol=1e-6, atol=0)
    assert_gradients_close(features[3], logits[3], tolerance=1e-6)
    assert features[1] == logits[1] and features[2].keys() == logits[2].keys()
    for key, value in logits[2].items():
        assert float(features[2][key]) == pytest.approx(float(value), rel=1e-5), key


def test_task_and_criterion_concatenate_once(data_bin):
    """--task rdrop_translation and --task translation give the same step, and leave the sample alone."""
    results = []
    for task_name in ("translation", "rdrop_translation"):
        task, model, criterion = setup(data_bin, "--rdrop-alpha", "5", task=task_name)
        sample = fairseq_tools.batch(task)
        before = copy.deepcopy(sample)
        torch.manual_seed(11)

        class Optimizer:
            def backward(self, loss):
                loss.backward()

        loss, sample_size, logs = task.train_step(sample, model, criterion, Optimizer(), update_num=0)
        assert "rdrop_passes" not in sample and logs["nsentences"] == 9
        for name, tensor in before["net_input"].items():
            assert torch.equal(sample["net_input"][name], tensor)
        results.append((loss.detach(), sample_size, fairseq_tools.gradients(model)))
    assert torch.equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]
    assert all(torch.equal(results[0][2][name], results[1][2][name]) for name in results[0][2])


def test_unreduced_loss_has_one_entry_per_target(data_bin):
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5")
    sample = fairseq_tools.batch(task)
    reduced_loss, _, _, reduced_gradients = step(model, criterion, sample)
    rows, _, _, gradients = step(model, criterion, sample, reduce=False)
    assert rows.shape == (sample["target"].numel(), 1)
    torch.testing.assert_close(rows.sum(), reduced_loss, rtol=1e-6, atol=0)
    assert rows[sample["target"].view(-1).eq(criterion.padding_idx)].abs().max() == 0
    assert_gradients_close(gradients, reduced_gradients, tolerance=1e-6)


def test_given_output_is_used(data_bin):
    """A model output that the caller has already is not computed again, and may be of one pass or of several."""
    from rdrop_fairseq.batching import concatenate_passes

    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5")
    sample = fairseq_tools.batch(task)
    expected = step(model, criterion, sample)[0]
    torch.manual_seed(11)
    doubled = concatenate_passes(sample, 2)
    loss, _, logs = criterion(model, doubled, net_output=model(**doubled["net_input"]))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    model.eval()
    plain, _, logs = criterion(model, sample, net_output=model(**sample["net_input"]))
    assert "rdrop_kl_loss" not in logs
    criterion.eval()
    torch.testing.assert_close(plain, criterion(model, sample)[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("sentence_avg", [(), ("--sentence-avg",)], ids=["tokens", "sentences"])
def test_kl_is_logged_in_bits_per_target_token(data_bin, sentence_avg):
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5", *sentence_avg)
    samples = [fairseq_tools.batch(task, size=size) for size in (9, 4)]
    logs = [step(model, criterion, sample)[2] for sample in samples]
    values = reduced(criterion, logs)
    tokens = sum(int(sample["target"].ne(criterion.padding_idx).sum()) for sample in samples)
    nats = sum(float(log["rdrop_kl_loss"]) for log in logs)
    assert nats > 0
    assert values["rdrop_kl_loss"] == pytest.approx(nats / tokens / math.log(2), abs=5.1e-4)
    assert values["nll_loss"] == pytest.approx(
        sum(float(log["nll_loss"]) for log in logs) / tokens / math.log(2), abs=5.1e-4
    )
    assert logs[0].keys() == logs[1].keys()


OTHER_ARCHITECTURES = {
    "transformer_align": "--arch transformer_align " + " ".join(fairseq_tools.TINY_TRANSFORMER[2:]),
    "lightconv": (
        "--arch lightconv --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
        "--encoder-conv-dim 16 --decoder-conv-dim 16 --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 "
        "--encoder-attention-heads 2 --decoder-attention-heads 2 "
        "--encoder-kernel-size-list [3] --decoder-kernel-size-list [3]"
    ),
    "fconv": (
        "--arch fconv --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-layers [(16,3)] "
        "--decoder-layers [(16,3)] --decoder-out-embed-dim 16"
    ),
    "lstm": (
        "--arch lstm --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-hidden-size 16 "
        "--decoder-hidden-size 16 --decoder-out-embed-dim 16"
    ),
    "pointer-generator": "--arch transformer_pointer_generator --source-position-markers 0 "
    + " ".join(fairseq_tools.TINY_TRANSFORMER[2:]),
    "adaptive-softmax": " ".join(fairseq_tools.TINY_TRANSFORMER) + " --adaptive-softmax-cutoff 10",
}


@pytest.mark.parametrize("architecture", OTHER_ARCHITECTURES)
def test_every_encoder_decoder(data_bin, architecture):
    """Models whose log-probabilities are more than a projection: fused equals reference, and the KL is not 0."""
    if architecture == "pointer-generator":
        pytest.importorskip("fairseq.examples.pointer_generator.pointer_generator_src")
    results = []
    for impl in ("reference", "fused"):
        task, model, criterion = setup(
            data_bin, "--rdrop-alpha", "5", "--rdrop-impl", impl, "--dropout", "0.2",
            architecture=OTHER_ARCHITECTURES[architecture].split(),
        )  # fmt: skip
        assert plain_output_projection(model) is None
        results.append(step(model, criterion, fairseq_tools.batch(task)))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-6, atol=0)
    assert_gradients_close(results[1][3], results[0][3], tolerance=1e-6)
    assert float(results[1][2]["rdrop_kl_loss"]) > 0


@pytest.mark.parametrize("alpha", ["0", "5"])
@pytest.mark.parametrize("architecture", ["nonautoregressive_transformer", "insertion_transformer"])
def test_a_model_that_needs_more_than_a_translation_is_refused(data_bin, architecture, alpha):
    small = fairseq_tools.TINY_TRANSFORMER[2:]
    task, model, criterion = setup(data_bin, "--rdrop-alpha", alpha, architecture=("--arch", architecture, *small))
    with pytest.raises(UserError, match=r"it needs tgt_tokens beside.*choose an --arch.*--criterion nat_loss"):
        criterion(model, fairseq_tools.batch(task))


OVERRIDES = ["decoder forward", "output layer", "probabilities", "projection", "subclass", "wrapper"]


@pytest.mark.parametrize("what", OVERRIDES)
def test_anything_overridden_goes_by_the_logits(data_bin, what):
    """A model that does more than a plain projection must not be bypassed."""
    _, model, _ = setup(data_bin)
    decoder = model.decoder
    if what == "decoder forward":

        class Decoder(type(decoder)):
            def forward(self, *arguments, **options):
                return super().forward(*arguments, **options)

        decoder.__class__ = Decoder
    elif what == "output layer":
        decoder.output_layer = lambda features: 2 * decoder.output_projection(features)
    elif what == "probabilities":
        model.get_normalized_probs = lambda *arguments, **options: None
    elif what == "projection":
        decoder.output_projection.forward = lambda features: 2 * features
    elif what == "subclass":

        class Linear(torch.nn.Linear):
            pass

        decoder.output_projection.__class__ = Linear
    else:
        model = torch.nn.DataParallel(model)
    assert plain_output_projection(model) is None


@pytest.mark.parametrize("place", ["model", "decoder", "projection", "everywhere"])
@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward_pre", "full_backward"])
def test_anything_hooked_goes_by_the_logits(data_bin, place, kind):
    _, model, _ = setup(data_bin)
    if place == "everywhere":
        register = getattr(torch.nn.modules.module, f"register_module_{kind}_hook")
    else:
        module = {"model": model, "decoder": model.decoder, "projection": model.decoder.output_projection}[place]
        register = getattr(module, f"register_{kind}_hook")
    handle = register(lambda *arguments: None)
    try:
        assert plain_output_projection(model) is None
    finally:
        handle.remove()
    assert plain_output_projection(model) is not None


def test_equal_passes_warn_once(data_bin, caplog):
    for dropout, expected in (("0.0", 1), ("0.1", 0)):
        caplog.clear()
        task, model, criterion = setup(data_bin, "--rdrop-alpha", "5", "--dropout", dropout, "--attention-dropout", "0")
        with caplog.at_level(logging.WARNING):
            for size in (9, 4):
                step(model, criterion, fairseq_tools.batch(task, size=size))
        assert sum("passes of R-Drop are equal" in record.message for record in caplog.records) == expected


def test_a_prefix_longer_than_every_target_is_no_sign_of_equal_passes(data_bin, caplog):
    flags = ("--rdrop-alpha", "5", "--dropout", "0.1", "--ignore-prefix-size", "30")
    task, model, criterion = setup(data_bin, *flags)
    with caplog.at_level(logging.WARNING):
        loss = step(model, criterion, fairseq_tools.batch(task))[0]
    assert float(loss) == 0 and "passes of R-Drop are equal" not in caplog.text


class OnDevice(torch.Tensor):
    """A tensor on the CPU that says that it is on a CUDA device, where the loss believes the number of tokens."""

    is_cuda = property(lambda self: True)


def on_device(sample) -> dict:
    return {**sample, "target": sample["target"].as_subclass(OnDevice)}


@pytest.mark.parametrize("flags", [(), ("--ignore-prefix-size", "2")], ids=["all targets", "without prefix"])
def test_the_number_of_tokens_of_a_translation_is_handed_on(data_bin, flags):
    """It saves waiting for the device. Without the first targets of each sentence it is another number."""
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5", *flags)
    sample = fairseq_tools.batch(task)
    expected, actual = (step(model, criterion, it) for it in (sample, on_device(sample)))
    torch.testing.assert_close(torch.as_tensor(actual[0]), expected[0], rtol=1e-6, atol=0)
    assert_gradients_close(actual[3], expected[3], tolerance=1e-6)
    if not flags:
        # It is used: another number is noticed on the device.
        with pytest.raises(RuntimeError):
            step(model, criterion, on_device({**sample, "ntokens": sample["ntokens"] // 2}))


@pytest.mark.parametrize("count", [1, 10**6, torch.tensor(3)], ids=["too few", "too many", "tensor"])
@pytest.mark.parametrize("place", [dict, on_device], ids=["CPU", "device"])
def test_tasks_may_count_other_tokens(data_bin, place, count):
    """ntokens, which in some tasks counts source tokens, is the denominator in the log and nothing else."""
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5")
    sample = fairseq_tools.batch(task)
    expected = step(model, criterion, sample)
    if not torch.is_tensor(count):
        criterion.task = object()  # of a kind that the criterion knows nothing of
    actual = step(model, criterion, place({**sample, "ntokens": count}))
    torch.testing.assert_close(torch.as_tensor(actual[0]), expected[0], rtol=1e-6, atol=0)
    assert_gradients_close(actual[3], expected[3], tolerance=1e-6)
    assert actual[1] == count and actual[2]["ntokens"] == count


@pytest.mark.parametrize(
    "flags",
    [(), ("--sentence-avg",), ("--report-accuracy", "--ignore-prefix-size", "1")],
    ids=" ".join,
)
def test_without_dropout_two_passes_are_twice_the_plain_one(data_bin, flags):
    """Loss and gradients; the denominator and all that is logged but the loss are those of one copy."""
    dropout = ("--dropout", "0", "--attention-dropout", "0", "--activation-dropout", "0")
    results = []
    for name, extra in ((PLAIN, ()), (RDROP, ("--rdrop-alpha", "5"))):
        task, model, criterion = setup(data_bin, *dropout, *flags, *extra, criterion=name)
        sample = fairseq_tools.batch(task)
        # A confident model, so that some targets are hit and others are not.
        model.decoder.output_projection.weight.data[sample["target"][0, 1]] *= 30
        results.append(step(model, criterion, sample))
    plain, twice = results
    torch.testing.assert_close(twice[0], 2 * plain[0], rtol=1e-6, atol=0)
    assert_gradients_close(twice[3], {name: 2 * gradient for name, gradient in plain[3].items()}, tolerance=1e-6)
    assert twice[1] == plain[1] == (9 if "--sentence-avg" in flags else sample["ntokens"])
    assert twice[2].keys() == plain[2].keys() | {"rdrop_kl_loss", "rdrop_ntokens"}
    for key in plain[2].keys() - {"loss"}:
        assert float(twice[2][key]) == pytest.approx(float(plain[2][key]), rel=1e-6), key
    if "--report-accuracy" in flags:
        assert 0 < float(plain[2]["n_correct"]) < float(plain[2]["total"])


def test_a_negative_prefix_is_none(data_bin):
    losses = []
    for size in ("0", "-2"):
        task, model, criterion = setup(data_bin, "--rdrop-alpha", "5", "--ignore-prefix-size", size)
        losses.append(step(model, criterion, fairseq_tools.batch(task))[0])
    assert torch.equal(losses[0], losses[1])


def test_a_model_in_evaluation_has_one_pass(data_bin):
    """Also where the criterion is in training: without dropout the passes would be equal."""
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5")
    model.eval()
    sample = fairseq_tools.batch(task)
    loss, _, logs, _ = step(model, criterion, sample)
    assert "rdrop_kl_loss" not in logs
    criterion.eval()
    assert torch.equal(loss, step(model, criterion, sample)[0])


def test_targets_are_those_of_the_model(data_bin):
    """A model may give other ones than the sample; then the loss goes by its logits and its targets."""
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5")
    sample = fairseq_tools.batch(task)
    shorter = sample["target"].clone()
    shorter[:, 1:] = criterion.padding_idx
    expected = step(model, criterion, {**sample, "target": shorter})[0]
    model.get_targets = lambda sample, net_output: shorter
    # On a CUDA device, where the loss is told how many tokens the sample has, it is not told of other targets.
    on_device = type("OnDevice", (torch.Tensor,), {"is_cuda": True})
    for target in (sample["target"], sample["target"].as_subclass(on_device)):
        actual = step(model, criterion, {**sample, "target": target})[0]
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)


def test_label_smoothing_of_training_without_rdrop_is_fairseqs_affair(data_bin):
    """It takes any number; with R-Drop one that is no share is refused."""
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "0", "--label-smoothing", "1.5")
    assert step(model, criterion, fairseq_tools.batch(task))[0].isfinite()
    for value in ("1.5", "1", "-0.1"):
        with pytest.raises(ValueError, match=f"--label-smoothing is {float(value)}; give a number from 0"):
            setup(data_bin, "--rdrop-alpha", "5", "--label-smoothing", value)
    setup(data_bin, "--rdrop-alpha", "5", "--label-smoothing", "0")


def test_logs_of_unequal_updates_are_weighted_by_their_tokens(data_bin):
    """As an average over several updates has it, which sums over the updates one by one."""
    task, model, criterion = setup(data_bin, "--rdrop-alpha", "5")
    logs = [step(model, criterion, fairseq_tools.batch(task, size=size))[2] for size in (9, 1)]
    with metrics.aggregate(new_root=True) as aggregator:
        for log in logs:
            type(criterion).reduce_metrics([log])
    tokens = sum(log["ntokens"] for log in logs)
    expected = sum(float(log["rdrop_kl_loss"]) for log in logs) / tokens / math.log(2)
    assert aggregator["rdrop_kl_loss"].avg == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("alpha", ["-1", "nan", "inf"])
def test_bad_alpha_is_refused(data_bin, alpha):
    with pytest.raises(ValueError, match=f"--rdrop-alpha is {float(alpha)}"):
        setup(data_bin, "--rdrop-alpha", alpha)


def test_fewer_than_two_passes_are_refused(data_bin):
    with pytest.raises(ValueError, match="--rdrop-passes is 1"):
        setup(data_bin, "--rdrop-alpha", "5", "--rdrop-passes", "1")


@pytest.mark.parametrize("find_unused_parameters", [False, True])
def test_distributed_data_parallel(data_bin, tmp_path, find_unused_parameters):
    """Its search for unused parameters takes the projection for one if that is used outside forward."""
    _, model, _ = setup(data_bin)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=find_unused_parameters)
        expected = None if find_unused_parameters else model.decoder.output_projection
        assert plain_output_projection(wrapped) is expected
    finally:
        torch.distributed.destroy_process_group()


def test_sharded_parameters_go_by_the_logits(data_bin, tmp_path):
    """A parameter of which this process holds a part cannot be multiplied with outside its module."""
    tensor = pytest.importorskip("torch.distributed.tensor")
    from torch.distributed.device_mesh import init_device_mesh

    _, model, _ = setup(data_bin)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        projection = model.decoder.output_projection
        mesh = init_device_mesh("cpu", (1,))
        shard = tensor.distribute_tensor(projection.weight.detach(), mesh, [tensor.Shard(0)])
        projection.weight = torch.nn.Parameter(shard)
        assert plain_output_projection(model) is None
    finally:
        torch.distributed.destroy_process_group()
