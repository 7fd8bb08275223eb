"""Defects of fairseq that training meets: sentences left out in silence, NaN, bf16, several processes."""

import contextlib
import importlib.util
import logging
import os
from typing import Any, Callable, Iterator, Optional

import torch

from rdrop_fairseq.compat.preemption import ToldToEnd
from rdrop_fairseq.compat.replacement import replace_once
from rdrop_fairseq.compat.versions import torch_version

logger = logging.getLogger(__name__)

mended = False
"""Whether this process has asked for the mends of training; see :func:`rdrop_fairseq.compat.mend_training`."""


def report_dropped_sentences() -> None:
    """Say when fairseq leaves out the last batch, in training, validation or generation.

    For fairseq-fixed and main; 0.12.2 leaves none out, so that nothing is said there.
    """
    from fairseq.data import data_utils

    def make(batch_by_size: Callable) -> Callable:
        def reporting_batch_by_size(indices: Any, *args: Any, **kwargs: Any) -> Any:
            batches = batch_by_size(indices, *args, **kwargs)
            if hasattr(indices, "__len__"):
                dropped = len(indices) - sum(len(batch) for batch in batches)
                if dropped > 0:
                    logger.warning(
                        f"fairseq leaves out {dropped} of {len(indices)} sentences: its last batch is no multiple of "
                        "--required-batch-size-multiple (8 unless given); to use all give 1"
                    )
            return batches

        return reporting_batch_by_size

    replace_once(data_utils, "batch_by_size", make)


def let_nan_detector_finish() -> None:
    """Keep fairseq's search for the origin of a NaN from failing, which hid the error that it was to explain.

    torch cannot hook the backward pass of a module whose output holds lists of tensors, as that of an encoder does;
    "gradients are Nan/Inf" and fp16's "Minimum loss scale reached" ended in a StopIteration. For all three versions.
    """
    from fairseq.models import FairseqEncoder
    from fairseq.nan_detector import NanDetector

    def make(add_hooks: Callable) -> Callable:
        def add_possible_hooks(self: Any, module: torch.nn.Module) -> None:
            if isinstance(module, FairseqEncoder):
                self.fhooks.append(module.register_forward_hook(self.fhook_fn))
            else:
                add_hooks(self, module)

        return add_possible_hooks

    replace_once(NanDetector, "add_hooks", make)


def let_bf16_train_on_gpus() -> None:
    """Keep ``--bf16`` from asking for a TPU where there is no torch_xla to drive one.

    fairseq's parser takes the one to imply the other, and the training then ends at an object that is not there. For
    all three versions, without torch_xla.
    """
    from fairseq import options

    if importlib.util.find_spec("torch_xla") is not None:
        return

    def make(parse: Callable) -> Callable:
        def parse_args_and_arch(*args: Any, **kwargs: Any) -> Any:
            result = parse(*args, **kwargs)
            (result[0] if isinstance(result, tuple) else result).tpu = False
            return result

        return parse_args_and_arch

    replace_once(options, "parse_args_and_arch", make)


def let_processes_share_checkpoints() -> None:
    """Let a training in several processes resume: its first process sends the others the checkpoint that it has read.

    fairseq sends its own configuration objects along, which ``torch.load`` refuses since torch 2.6. What arrives comes
    from a process of this very training, so it may be loaded; files are still loaded safely. For all three versions
    (main asks for unrestricted loading of files, but not here), with torch 2.6 or newer.
    """
    from fairseq.distributed import utils

    if torch_version() < (2, 6):
        return

    def make(broadcast: Callable) -> Callable:
        def broadcast_object(*args: Any, **kwargs: Any) -> Any:
            with _environment_variable("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1"):
                return broadcast(*args, **kwargs)

        return broadcast_object

    replace_once(utils, "_broadcast_object_slow", make)


def count_all_batches_of_an_update() -> None:
    """Have several processes divide the gradient of an update by all its tokens.

    With ``--update-freq`` above 1, fairseq takes a process whose last batch is empty, as at the end of an epoch, for
    one without any: its tokens are not counted, though its gradients are. Empty batches that stand beside others are
    left out here. Fully sharded parameters need them, as every process has to make the same number of passes. For all
    three versions.
    """
    from fairseq.trainer import Trainer

    def make(train_step: Callable) -> Callable:
        def train_step_without_empty_batches(self: Any, samples: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.is_fsdp:
                samples = [sample for sample in samples if sample] or samples[:1]
            return train_step(self, samples, *args, **kwargs)

        return train_step_without_empty_batches

    replace_once(Trainer, "train_step", make)


def let_processes_part_in_order() -> None:
    """Have each process of a training, or of a generation, take its process groups down once it is done.

    fairseq leaves them to the end of the interpreter. A thread of gloo that then still holds a tensor aborts the
    process ("terminate called without an active exception", https://github.com/pytorch/pytorch/issues/190489): now
    and then a training that was complete ended with a failure. A training that was told to end takes them down too.
    After an error they are left alone, as taking them down may wait for a process that is gone. For all three
    versions, and only in a process that has called :func:`rdrop_fairseq.compat.mend_training` by then.
    """
    from fairseq.distributed import utils

    def make(distributed_main: Callable) -> Callable:
        def distributed_main_to_the_end(*args: Any, **kwargs: Any) -> None:
            told: Optional[ToldToEnd] = None
            try:
                distributed_main(*args, **kwargs)
            except ToldToEnd as end:
                told = end.with_traceback(None)  # its frames hold the model, which holds the groups
            if mended and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            if told is not None:
                raise told

        return distributed_main_to_the_end

    replace_once(utils, "distributed_main", make)


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
