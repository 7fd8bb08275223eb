"""The fairseq criterion: one plain pass in validation, R-Drop (arXiv 2106.14448) in training."""

import functools
import logging
import math
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from fairseq.tasks.translation import TranslationTask
from torch import Tensor

from rdrop_fairseq import compat
from rdrop_fairseq.batching import PASSES_KEY, ROWS_KEY, Rows, concatenate_passes, mark_passes
from rdrop_fairseq.criterions.flags import LabelSmoothedCrossEntropyWithRDropConfig, RDropFlags, check_rdrop_flags
from rdrop_fairseq.criterions.layer_consistency import LayerConsistency, check_layers
from rdrop_fairseq.criterions.output_projection import plain_output_projection
from rdrop_fairseq.criterions.passes import check_inputs, check_model, loss_of_rows, run_passes
from rdrop_fairseq.losses import RDropLossOutput, chosen_implementation, linear_rdrop_loss, rdrop_loss

logger = logging.getLogger(__name__)

CRITERION_NAME = "label_smoothed_cross_entropy_with_rdrop"
# fairseq-hydra-train fixes the flags of a criterion it knows before it imports a user directory, and newer fairseq
# knows the name above with fewer flags. This one it does not know.
HYDRA_CRITERION_NAME = "rdrop_label_smoothed_cross_entropy"
LossFunction = Callable[..., RDropLossOutput]
# A KL below this, in nats per token, is rounding: two passes under dropout differ by far more.
EQUAL_PASSES_KL = 1e-8


class LabelSmoothedCrossEntropyWithRDropCriterion(LabelSmoothedCrossEntropyCriterion):
    """Label-smoothed cross-entropy of every pass plus alpha times the symmetric KL between the passes.

    In training a sample that is not concatenated yet (see :mod:`rdrop_fairseq.batching`) is concatenated here, so
    the criterion works with any task. In validation, and with ``rdrop_alpha=0``, it is
    ``label_smoothed_cross_entropy`` itself.

    Raises:
        UserError: as :func:`check_rdrop_flags`.
    """

    def __init__(
        self,
        task: FairseqTask,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
        **rdrop_flags: Any,
    ) -> None:
        # fairseq takes a negative prefix for none.
        super().__init__(task, sentence_avg, label_smoothing, max(0, ignore_prefix_size), report_accuracy)
        compat.mend_training()
        self.flags = RDropFlags(**rdrop_flags)
        check_rdrop_flags(self.flags, label_smoothing, getattr(task, "tells_update_number", False))
        self._update = 0
        self._path_said = False
        self._model_checked = False
        self._say_replacement()
        self._passes_compared = False

    @classmethod
    def build_criterion(cls, cfg: Any, task: FairseqTask) -> "LabelSmoothedCrossEntropyWithRDropCriterion":
        """Build it from a configuration; fairseq's own way knows no ``**rdrop_flags``."""
        names = ("sentence_avg", "label_smoothing", "ignore_prefix_size", "report_accuracy")
        return cls(task, *(getattr(cfg, name) for name in names), **vars(RDropFlags.of(cfg)))

    @property
    def training_passes(self) -> int:
        """How many passes a training sample takes: 1 without R-Drop."""
        return self.flags.rdrop_passes if self.flags.rdrop_alpha > 0 else 1

    def begin_update(self, update_num: int) -> None:
        """Be told, before each batch, how many updates have been made: variants depend on it."""
        self._update = update_num

    def with_passes(self, sample: Dict[str, Any]) -> Dict[str, Any]:
        """``sample`` as this update of a training takes it: concatenated with itself, or as it is without R-Drop."""
        passes = self.training_passes
        if passes == 1:
            return sample
        rows = self._rows(sample["target"])
        if self.flags.dropout_rates:
            return mark_passes(sample, passes, rows)  # the passes go one by one
        return concatenate_passes(sample, passes, rows, source_once=self.flags.rdrop_share_encoder)

    def _rows(self, target: Tensor) -> Optional[Rows]:
        """Which of the sentences of target (B, T) have all passes in this update; None for all."""
        size, fraction = target.size(0), self.flags.rdrop_fraction
        if self._update % self.flags.rdrop_interval:
            every = torch.arange(size, device=target.device)
            return Rows(every[:0], every)
        if fraction == 1:
            return None
        # At random, for sentences of a batch may be sorted. fairseq seeds the generator of the CPU in every update.
        order = torch.randperm(size)
        count = math.ceil(fraction * size - 1e-9)  # 0.1 * 30 is more than 3
        return Rows(*(part.sort().values.to(target.device) for part in (order[:count], order[count:])))

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True, net_output: Any = None
    ) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """The loss, its denominator and the values to log, as every fairseq criterion returns them.

        Args:
            model: a fairseq encoder-decoder that predicts each token from those before it.
            sample: a mini-batch, concatenated with itself (then marked by ``rdrop_passes``) or not.
            reduce: False gives one loss per target position, (batch * length, 1), 0 at padding.
            net_output: the model's output for this very sample, where the caller has it already.

        Returns:
            The loss in nats, summed over the target tokens; ``sample_size``, the number of target tokens of one copy
            (of its sentences with ``--sentence-avg``); and the logging output. There ``nll_loss`` and ``n_correct``
            are means over the passes, and ``rdrop_kl_loss`` is the mean KL over the pairs, in nats, summed over the
            ``rdrop_ntokens`` target tokens that went through all passes.

        Raises:
            UserError: the model needs more input than the task gives, as a non-autoregressive one does.
        """
        if not self._model_checked:
            self._model_checked = True
            check_inputs(model, sample["net_input"])
            self.check_model(model)
        if PASSES_KEY not in sample and net_output is None and self.training and model.training:
            sample = self.with_passes(sample)
        if PASSES_KEY not in sample and net_output is None:
            return super().forward(model, sample, reduce=reduce)

        target = sample["target"]  # (B, T), of one copy
        result, of_layers = self._rdrop_loss(model, sample, reduce, net_output)
        sample_size = target.size(0) if self.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": result.loss.detach(),
            "nll_loss": result.nll_loss,
            "ntokens": sample["ntokens"],
            "nsentences": target.size(0),
            "sample_size": sample_size,
        }
        if PASSES_KEY in sample:
            self._warn_of_equal_passes(result.kl_loss, sample)
            # Of the same type in every process: fairseq sums numbers and tensors apart.
            rows = sample.get(ROWS_KEY)
            repeated = sample["ntokens"] if rows is None else target[rows.repeated].ne(self.padding_idx).sum()
            logging_output.update(rdrop_kl_loss=result.kl_loss, rdrop_ntokens=repeated)
            logging_output.update({name: term.detach() for name, term in of_layers.items()})
            if self.flags.has_schedule:
                logging_output["rdrop_alpha"] = self.flags.alpha_at(self._update) * repeated
        if self.report_accuracy:
            logging_output["n_correct"] = result.n_correct
            logging_output["total"] = target[:, self.ignore_prefix_size :].ne(self.padding_idx).sum()
        return result.loss, sample_size, logging_output

    def _rdrop_loss(
        self, model: Any, sample: Dict[str, Any], reduce: bool, net_output: Any
    ) -> Tuple[RDropLossOutput, Dict[str, Tensor]]:
        """Run the model on the concatenated sample, and the loss on its output; beside it, the terms of layers."""
        projection = plain_output_projection(model) if net_output is None else None
        options = {} if projection is None else {"features_only": True}
        layers = LayerConsistency(model, self.flags)

        def values_of(output: Any) -> Tensor:
            if projection is not None:
                return output[0]  # (R, T, D), R = B + (m-1)*K
            # Normalised here, because some models have no logits (adaptive softmax, pointer-generator).
            return model.get_normalized_probs(output, log_probs=True)  # (R, T, V)

        if net_output is None:
            with layers.recording(sample):
                outputs = run_passes(model, sample, self.flags, self.padding_idx, values_of, **options)
        else:
            outputs = [(net_output, values_of(net_output))]
        if projection is not None:
            target = sample["target"]
            loss: LossFunction = functools.partial(linear_rdrop_loss, weight=projection.weight, bias=projection.bias)
        else:
            target = model.get_targets(sample, outputs[0][0])
            loss = rdrop_loss
        rows = outputs[0][1] if len(outputs) == 1 else torch.cat([values for _, values in outputs])
        result = self._loss_of_rows(loss, rows, target, sample, "sum" if reduce else "none")
        source = "the model's log-probabilities" if projection is None else "features and the output projection"
        self._say_path(source, rows, sample.get(PASSES_KEY, 1))
        terms: Dict[str, Tensor] = {}
        if self.flags.layer_weights and net_output is None:
            result, terms = layers.added_to(result, sample, target, self.ignore_prefix_size, self.padding_idx)
        return (result if reduce else result._replace(loss=result.loss.unsqueeze(1))), terms

    def _loss_of_rows(
        self, loss: LossFunction, values: Tensor, target: Tensor, sample: Dict[str, Any], reduction: str
    ) -> RDropLossOutput:
        """The loss of features (R, T, D) or log-probabilities (R, T, V), and target (B, T)."""
        # Tasks other than translation may count otherwise, and ntokens counts the prefix too.
        counts_targets = (
            isinstance(self.task, TranslationTask)
            and self.ignore_prefix_size == 0
            and isinstance(sample["ntokens"], int)
            and target.is_cuda
            and target is sample["target"]
        )

        values, target = values[:, self.ignore_prefix_size :], target[:, self.ignore_prefix_size :]

        def of_part(part: Tensor, target: Tensor, passes: int) -> RDropLossOutput:
            return loss(
                part.reshape(-1, part.size(-1)),
                target=target.reshape(-1),
                alpha=self.flags.alpha_at(self._update),
                passes=passes,
                label_smoothing=self.eps,
                ignore_index=self.padding_idx,
                impl=self.flags.rdrop_impl,
                kl=self.flags.rdrop_kl,
                ce_passes=self.flags.rdrop_ce_passes,
                reduction=reduction,
                num_tokens=sample["ntokens"] if counts_targets and len(target) == len(sample["target"]) else None,
            )

        return loss_of_rows(of_part, values, target, sample, self.flags.num_ce_passes)

    def check_model(self, model: Any) -> None:
        """Refuse a model that has no place for the variants asked for; before training, best.

        Raises:
            UserError: as ``check_model`` and ``check_layers``.
        """
        check_model(model, self.flags)
        check_layers(model, self.flags)

    @staticmethod
    def _say_replacement() -> None:
        """Log once per process that fairseq's criterion of the same name is not the one in use."""
        global _replacement_said
        if _replaces_fairseqs_own and not _replacement_said:
            _replacement_said = True
            logger.info(f"{CRITERION_NAME}: rdrop_fairseq's criterion takes the place of fairseq's own")

    def _say_path(self, source: str, rows: Tensor, passes: int) -> None:
        """Log once how the loss is computed."""
        if not self._path_said:
            self._path_said = True
            implementation = chosen_implementation(self.flags.rdrop_impl, rows.device, rows.dtype, passes)
            logger.info(f"R-Drop loss from {source}, implementation {implementation}")

    def _warn_of_equal_passes(self, kl_loss: Tensor, sample: Dict[str, Any]) -> None:
        """Warn once, at the first training batch whose tokens had all passes, if the passes do not differ."""
        if self._passes_compared or not self.training:
            return
        target, rows = sample["target"][:, self.ignore_prefix_size :], sample.get(ROWS_KEY)
        num_tokens = int((target if rows is None else target[rows.repeated]).ne(self.padding_idx).sum())
        self._passes_compared = num_tokens > 0
        if self._passes_compared and float(kl_loss) / num_tokens < EQUAL_PASSES_KL:
            logger.warning(
                "the passes of R-Drop are equal (KL 0), so it only costs time: all dropout rates seem to be 0; "
                "give --dropout, for example 0.3, or --rdrop-alpha 0"
            )

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Aggregate the logging outputs of the workers; all figures per target token of one copy, in bits."""
        super().reduce_metrics(logging_outputs)
        if any("rdrop_kl_loss" in log for log in logging_outputs):
            kl_loss = sum(log.get("rdrop_kl_loss", 0) for log in logging_outputs)
            ntokens = sum(log.get("rdrop_ntokens", 0) for log in logging_outputs)
            if ntokens > 0:  # none in a plain update
                metrics.log_scalar("rdrop_kl_loss", kl_loss / ntokens / math.log(2), ntokens, round=3)
                for name in ("rdrop_hidden_loss", "rdrop_attention_loss"):
                    if any(name in log for log in logging_outputs):
                        distance = sum(log.get(name, 0) for log in logging_outputs) / ntokens
                        metrics.log_scalar(name, distance, ntokens, round=4)
                if any("rdrop_alpha" in log for log in logging_outputs):
                    alpha = sum(log.get("rdrop_alpha", 0) for log in logging_outputs) / ntokens
                    metrics.log_scalar("rdrop_alpha", alpha, weight=0, round=4)  # the latest


class RDropLabelSmoothedCrossEntropyCriterion(LabelSmoothedCrossEntropyWithRDropCriterion):
    """The same criterion under the name for fairseq-hydra-train."""


compat.prepare_fairseq()
_replaces_fairseqs_own = compat.release_criterion_name(CRITERION_NAME)
_replacement_said = False
for _name, _criterion in (
    (CRITERION_NAME, LabelSmoothedCrossEntropyWithRDropCriterion),
    (HYDRA_CRITERION_NAME, RDropLabelSmoothedCrossEntropyCriterion),
):
    register_criterion(_name, dataclass=LabelSmoothedCrossEntropyWithRDropConfig)(_criterion)
# fairseq wants classes of different names, and then goes by the name of the class to tell whether a run may be resumed.
RDropLabelSmoothedCrossEntropyCriterion.__name__ = LabelSmoothedCrossEntropyWithRDropCriterion.__name__
