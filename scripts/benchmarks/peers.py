"""What this package's loss is measured against: fairseq's own R-Drop criterion, torch's chunked cross-entropy as a
criterion, and the floor, the matrix products that no loss of all the logits can do without."""

from types import SimpleNamespace
from typing import Any, Dict, Tuple

import torch
import torch.nn.functional as functional
from fairseq import utils
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import RdropLabelSmoothedCrossEntropyCriterion
from torch import Tensor, nn

from rdrop_fairseq.batching import concatenate_passes

ALPHA, LABEL_SMOOTHING = 5.0, 0.1
HAS_CHUNKED_CROSS_ENTROPY = hasattr(functional, "linear_cross_entropy")  # torch 2.13 and newer


def fairseqs_own_criterion(task: Any) -> RdropLabelSmoothedCrossEntropyCriterion:
    """The class of fairseq, which is not registered under its name any more where this package is imported."""
    return RdropLabelSmoothedCrossEntropyCriterion(task, False, LABEL_SMOOTHING, rdrop_alpha=ALPHA)


def fairseqs_own_loss(logits: Tensor, target: Tensor, padding: int) -> Tensor:
    """Loss of fairseq's criterion for logits (2*N, V) and target (N,), as for a batch of one sentence."""
    task = SimpleNamespace(target_dictionary=SimpleNamespace(pad=lambda: padding))
    output = (logits.view(2, target.size(0), -1),)
    return fairseqs_own_criterion(task).compute_loss(_Model, output, {"target": target.view(1, -1)})[0]


class _Model:
    """What fairseq's criterion asks of a model: probabilities from logits, in float32 as fairseq makes them."""

    @staticmethod
    def get_normalized_probs(net_output, log_probs):
        return (utils.log_softmax if log_probs else utils.softmax)(net_output[0], dim=-1)

    @staticmethod
    def get_targets(sample, net_output):
        return sample["target"]


class ChunkedCrossEntropyCriterion(LabelSmoothedCrossEntropyCriterion):
    """``label_smoothed_cross_entropy`` by torch's chunked ``linear_cross_entropy``; logs the loss alone."""

    def forward(self, model: nn.Module, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, int, dict]:
        weight = model.decoder.output_projection.weight
        features = model(**sample["net_input"], features_only=True)[0]
        vocabulary_size = weight.size(0)
        loss = functional.linear_cross_entropy(
            features.flatten(0, 1),
            weight,
            sample["target"].flatten(),
            reduction="sum",
            ignore_index=self.padding_idx,
            # torch spreads its share over all V classes, fairseq over the V - 1 wrong ones.
            label_smoothing=self.eps * vocabulary_size / (vocabulary_size - 1),
            options=nn.LinearCrossEntropyOptions(),
        )
        counts = {"ntokens": sample["ntokens"], "nsentences": sample["target"].size(0)}
        logging_output = {"loss": loss.detach(), "nll_loss": loss.detach(), "sample_size": sample["ntokens"], **counts}
        return loss, sample["ntokens"], logging_output


def three_products(features: Tensor, weight: Tensor) -> Tuple[Tensor, Tensor]:
    """Logits (2*N, V), then the products that would turn their gradient into those of features and weight."""
    logits = torch.mm(features, weight.t())
    return torch.mm(logits, weight), torch.mm(logits.t(), features)


class _ProductsOnly(torch.autograd.Function):
    """A loss of 0 at the price of its matrix products."""

    @staticmethod
    def forward(ctx, features, weight):
        ctx.save_for_backward(*three_products(features, weight))
        return features.new_zeros(())

    @staticmethod
    def backward(ctx, grad_loss):
        # Of the right size in memory, and nothing for the optimiser to follow.
        return tuple(gradient.mul_(grad_loss * 1e-9) for gradient in ctx.saved_tensors)


class ProductsOnlyCriterion(LabelSmoothedCrossEntropyCriterion):
    """Two passes through the model and the three products of the loss layer, without the loss."""

    def forward(self, model: nn.Module, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, int, dict]:
        doubled = concatenate_passes(sample, 2)
        features = model(**doubled["net_input"], features_only=True)[0]
        kept = doubled["target"].ne(self.padding_idx).repeat(2, 1)
        loss = _ProductsOnly.apply(features[kept], model.decoder.output_projection.weight)
        counts = {"ntokens": sample["ntokens"], "nsentences": sample["target"].size(0)}
        logging_output = {"loss": loss.detach(), "nll_loss": loss.detach(), "sample_size": sample["ntokens"], **counts}
        return loss, sample["ntokens"], logging_output
