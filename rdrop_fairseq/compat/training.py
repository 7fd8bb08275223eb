"""Defects of fairseq that training meets: sentences left out in silence, models, NaN, bf16, several processes."""

import contextlib
import functools
import importlib.util
import logging
import os
from typing import Iterator

import torch

logger = logging.getLogger(__name__)


def report_dropped_sentences() -> None:
    """Say when fairseq leaves out the last batch, in training, validation or generation, as newer versions do."""
    from fairseq.data import data_utils

    batch_by_size = data_utils.batch_by_size
    if hasattr(batch_by_size, "__wrapped__"):
        return

    @functools.wraps(batch_by_size)
    def reporting_batch_by_size(indices, *args, **kwargs):
        batches = batch_by_size(indices, *args, **kwargs)
        if hasattr(indices, "__len__"):
            dropped = len(indices) - sum(len(batch) for batch in batches)
            if dropped > 0:
                logger.warning(
                    f"fairseq leaves out {dropped} of {len(indices)} sentences: its last batch is no multiple of "
                    "--required-batch-size-multiple (8 unless given); to use all give 1"
                )
        return batches

    data_utils.batch_by_size = reporting_batch_by_size


def let_nan_detector_finish() -> None:
    """Keep fairseq's search for the origin of a NaN from failing, which hid the error that it was to explain.

    torch cannot hook the backward pass of a module whose output holds lists of tensors, as that of an encoder does;
    "gradients are Nan/Inf" and fp16's "Minimum loss scale reached" ended in a StopIteration.
    """
    from fairseq.models import FairseqEncoder
    from fairseq.nan_detector import NanDetector

    add_hooks = NanDetector.add_hooks
    if hasattr(add_hooks, "__wrapped__"):
        return

    @functools.wraps(add_hooks)
    def add_possible_hooks(self, module):
        if isinstance(module, FairseqEncoder):
            self.fhooks.append(module.register_forward_hook(self.fhook_fn))
        else:
            add_hooks(self, module)

    NanDetector.add_hooks = add_possible_hooks


def let_lstm_encoder_take_unsorted_batches() -> None:
    """Have fairseq's LSTM encoder accept a batch concatenated with itself, whose lengths do not decrease.

    It has a parameter for that, but its model does not hand it down. A batch in order goes the old way.
    """
    from fairseq.models.lstm import LSTMEncoder

    forward = LSTMEncoder.forward
    if hasattr(forward, "__wrapped__"):
        return

    @functools.wraps(forward)
    def forward_in_any_order(self, src_tokens, src_lengths, enforce_sorted=None):
        if enforce_sorted is None:
            enforce_sorted = bool((src_lengths[:-1] >= src_lengths[1:]).all())
        return forward(self, src_tokens, src_lengths, enforce_sorted=enforce_sorted)

    LSTMEncoder.forward = forward_in_any_order


def make_adaptive_softmax_differentiable() -> None:
    """Replace an addition in place that keeps fairseq's full adaptive softmax from being differentiated.

    ``get_log_prob`` without a target overwrites the output of a log-softmax, which autograd refuses, so that no
    criterion on full log-probabilities, fairseq's own included, can train such a model.
    """
    from fairseq.modules import AdaptiveSoftmax

    get_log_prob = AdaptiveSoftmax.get_log_prob
    if hasattr(get_log_prob, "__wrapped__"):
        return

    @functools.wraps(get_log_prob)
    def differentiable_get_log_prob(self, input, target):
        if target is not None or not torch.is_grad_enabled():
            return get_log_prob(self, input, target)
        rows = input.reshape(-1, input.size(-1))  # (B*T, D)
        head = self.lsm(self.head(rows))  # (B*T, cutoff[0] + clusters)
        parts = [head[:, : self.cutoff[0]]]
        for number, tail in enumerate(self.tail):
            cluster = head[:, self.cutoff[0] + number].unsqueeze(1)  # log-probability of the whole cluster
            parts.append(self.lsm(tail(rows)) + cluster)
        return torch.cat(parts, dim=1).view(*input.shape[:-1], -1)  # (B, T, V)

    AdaptiveSoftmax.get_log_prob = differentiable_get_log_prob


def let_bf16_train_on_gpus() -> None:
    """Keep ``--bf16`` from asking for a TPU where there is no torch_xla to drive one.

    fairseq's parser takes the one to imply the other, and the training then ends at an object that is not there.
    """
    from fairseq import options

    parse = options.parse_args_and_arch
    if hasattr(parse, "__wrapped__") or importlib.util.find_spec("torch_xla") is not None:
        return

    @functools.wraps(parse)
    def parse_args_and_arch(*args, **kwargs):
        result = parse(*args, **kwargs)
        (result[0] if isinstance(result, tuple) else result).tpu = False
        return result

    options.parse_args_and_arch = parse_args_and_arch


def let_processes_share_checkpoints() -> None:
    """Let a training in several processes resume: its first process sends the others the checkpoint that it has read.

    fairseq sends its own configuration objects along, which ``torch.load`` refuses since torch 2.6. What arrives comes
    from a process of this very training, so it may be loaded; files are still loaded safely.
    """
    from fairseq.distributed import utils

    broadcast = utils._broadcast_object_slow
    if hasattr(broadcast, "__wrapped__"):
        return

    @functools.wraps(broadcast)
    def broadcast_object(*args, **kwargs):
        with _environment_variable("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1"):
            return broadcast(*args, **kwargs)

    utils._broadcast_object_slow = broadcast_object


def count_all_batches_of_an_update() -> None:
    """Have several processes divide the gradient of an update by all its tokens.

    With ``--update-freq`` above 1, fairseq takes a process whose last batch is empty, as at the end of an epoch, for
    one without any: its tokens are not counted, though its gradients are. Empty batches that stand beside others are
    left out here. Fully sharded parameters need them, as every process has to make the same number of passes.
    """
    from fairseq.trainer import Trainer

    # fairseq has wrapped it itself, so that is no sign of an earlier call; leaving out twice does no harm.
    train_step = Trainer.train_step

    @functools.wraps(train_step)
    def train_step_without_empty_batches(self, samples, *args, **kwargs):
        if not self.is_fsdp:
            samples = [sample for sample in samples if sample] or samples[:1]
        return train_step(self, samples, *args, **kwargs)

    Trainer.train_step = train_step_without_empty_batches


def let_processes_part_in_order() -> None:
    """Have each process of a training, or of a generation, take its process groups down once it is done.

    fairseq leaves them to the end of the interpreter. A thread of gloo that then still holds a tensor aborts the
    process ("terminate called without an active exception", https://github.com/pytorch/pytorch/issues/190489): now
    and then a training that was complete ended with a failure. After an error they are left alone, as taking them
    down may wait for a process that is gone.
    """
    from fairseq.distributed import utils

    distributed_main = utils.distributed_main
    if hasattr(distributed_main, "__wrapped__"):
        return

    @functools.wraps(distributed_main)
    def distributed_main_to_the_end(*args, **kwargs):
        distributed_main(*args, **kwargs)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    utils.distributed_main = distributed_main_to_the_end


@contextlib.contextmanager
def _environment_variable(name: str, value: str) -> Iterator[None]:
    previous = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if previous is None:
            del os.environ[name]
        else:
            os.environ[name] = previous
