"""A task, a model and a criterion on the tiny corpus, and steps with them."""

import fairseq_tools
import torch
from fairseq.logging import metrics

RDROP = "label_smoothed_cross_entropy_with_rdrop"
PLAIN = "label_smoothed_cross_entropy"


def setup(data_bin, *arguments, criterion=RDROP, task="translation", architecture=fairseq_tools.TINY_TRANSFORMER):
    """Task, model in training mode, and criterion."""
    config = fairseq_tools.training_config(
        data_bin, "--task", task, "--criterion", criterion, "--label-smoothing", "0.1", *architecture, *arguments
    )
    task, model, criterion = fairseq_tools.build(config)
    model.train()
    criterion.train()
    return task, model, criterion


def step(model, criterion, sample, upstream=1.0, **options):
    """Loss, sample size, logging output and gradients of one step under fixed dropout masks."""
    torch.manual_seed(11)
    model.zero_grad()
    loss, sample_size, logging_output = criterion(model, sample, **options)
    (loss.sum() * upstream).backward()
    return loss.detach(), sample_size, logging_output, fairseq_tools.gradients(model)


def assert_gradients_close(actual, expected, tolerance):
    """Every gradient within ``tolerance`` of the largest entry of all gradients."""
    assert actual.keys() == expected.keys()
    scale = max(gradient.abs().max().item() for gradient in expected.values())
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=tolerance * scale, msg=name)


def reduced(criterion, logs):
    with metrics.aggregate(new_root=True) as aggregator:
        type(criterion).reduce_metrics(logs)
    return aggregator.get_smoothed_values()
