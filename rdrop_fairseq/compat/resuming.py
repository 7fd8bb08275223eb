"""A training that was interrupted goes on as if it had not been: the same batches, figures and decisions.

fairseq itself stores parameters, optimiser, learning rate and the place in the data, and seeds dropout by the number of
the update. This module mends what else would differ after an interruption.
"""

import sys
from typing import Any, Callable, Dict, Optional

from rdrop_fairseq.compat.replacement import replace_once

# What fairseq, or an older version of this package, writes into a checkpoint for a criterion whose place this package's
# criterion takes -> the name of the class that takes it.
CRITERIA_REPLACED = {
    "RdropLabelSmoothedCrossEntropyCriterion": "LabelSmoothedCrossEntropyWithRDropCriterion",
    "RDropLabelSmoothedCrossEntropyCriterion": "LabelSmoothedCrossEntropyWithRDropCriterion",
}
_EARLY_STOPPING = "early_stopping"


def resume_with_the_batches_of_the_run() -> None:
    """Have a resumed training make its batches as the run made them in its first epoch.

    fairseq puts sentences into batches once, with the seed of the first epoch, and afterwards changes only the order
    of the batches. A training resumed in epoch N made them with the seed of epoch N: its place in the data was one in
    other batches, and some sentences of the epoch were read twice, others never. Where a run makes batches anew for
    each epoch (several data folders, ``--update-epoch-batch-itr``, datasets that ask for it), fairseq resumes with the
    right ones, and is left alone. For fairseq-fixed and main; 0.12.2 has the defect with
    ``--update-ordered-indices-seed`` only.
    """
    from fairseq.tasks import FairseqTask
    from fairseq.trainer import Trainer

    def make(get_train_iterator: Callable) -> Callable:
        def get_train_iterator_of_the_run(self: Any, epoch: int, *args: Any, **options: Any) -> Any:
            made_each_epoch = (
                options.get("disable_iterator_cache", False)
                or self.task.has_sharded_data("train")
                or getattr(self.cfg.dataset, "update_epoch_batch_itr", False)
                or getattr(self.task.cfg, "rebuild_batches", False)
                # Such a task has rules of its own.
                or type(self.task).get_batch_iterator is not FairseqTask.get_batch_iterator
            )
            if epoch == 1 or made_each_epoch or not options.get("load_dataset", True):
                return get_train_iterator(self, epoch, *args, **options)
            iterator = get_train_iterator(self, 1, *args, **options)
            dataset = self.task.dataset(self.cfg.dataset.train_subset)
            if not self.task.can_reuse_epoch_itr(dataset):
                return get_train_iterator(self, epoch, *args, **{**options, "load_dataset": False})
            dataset.set_epoch(epoch)  # for what else depends on it
            return iterator

        return get_train_iterator_of_the_run

    replace_once(Trainer, "get_train_iterator", make)


def resume_figures_and_early_stopping() -> None:
    """Keep what ``--log-interval`` has gathered and what ``--patience`` has counted across an interruption.

    At the end of an epoch fairseq forgets all figures, also those of updates that belong to the next line of the log.
    How long validation has brought nothing better is in no checkpoint: every interruption began to count anew. For all
    three versions.
    """
    from fairseq.trainer import Trainer

    def make_save(save_checkpoint: Callable) -> Callable:
        def save_checkpoint_with_early_stopping(self: Any, filename: str, extra_state: Dict[str, Any]) -> Any:
            return save_checkpoint(self, filename, {**extra_state, _EARLY_STOPPING: dict(_early_stopping_count())})

        return save_checkpoint_with_early_stopping

    def make_load(load_checkpoint: Callable) -> Callable:
        def load_checkpoint_with_figures(
            self: Any,
            filename: str,
            reset_optimizer: bool = False,
            reset_lr_scheduler: bool = False,
            optimizer_overrides: Optional[Dict[str, Any]] = None,
            reset_meters: bool = False,
        ) -> Optional[Dict[str, Any]]:
            extra_state = load_checkpoint(
                self, filename, reset_optimizer, reset_lr_scheduler, optimizer_overrides, reset_meters
            )
            if extra_state is not None and not reset_meters:
                _restore_figures(extra_state)
                if not reset_optimizer:  # otherwise fairseq forgets the best figure, too
                    _early_stopping_count().update(extra_state.get(_EARLY_STOPPING, {}))
            return extra_state

        return load_checkpoint_with_figures

    replace_once(Trainer, "save_checkpoint", make_save)
    replace_once(Trainer, "load_checkpoint", make_load)


def _restore_figures(extra_state: Dict[str, Any]) -> None:
    """The figures of a checkpoint between two epochs, but for those of the epoch that is complete."""
    from fairseq.logging import meters, metrics

    if "metrics" not in extra_state or extra_state["train_iterator"].get("iterations_in_epoch") != 0:
        return  # fairseq has restored them
    metrics.load_state_dict(extra_state["metrics"])
    metrics.reset_meters("train")
    for meter in metrics.get_meters("default") or []:
        if isinstance(meter, meters.TimeMeter):
            meter.reset()


def _early_stopping_count() -> Dict[str, Any]:
    """The attributes of fairseq-train's function, where it keeps its count; in another program none that lasts."""
    for name in ("__main__", "fairseq_cli.train"):
        function = getattr(sys.modules.get(name), "should_stop_early", None)
        if function is not None:
            return vars(function)
    return {}


def resume_what_the_criterion_replaces() -> None:
    """Let this package's criterion continue a run of fairseq's own R-Drop, and of its own other name for Hydra.

    fairseq resumes only where the class of the criterion has the name that the checkpoint gives. For all three
    versions.
    """
    from fairseq import checkpoint_utils

    def make(load: Callable) -> Callable:
        def load_checkpoint_to_cpu(*args: Any, **kwargs: Any) -> Dict[str, Any]:
            state = load(*args, **kwargs)
            for entry in state.get("optimizer_history") or []:
                if entry.get("criterion_name") in CRITERIA_REPLACED:
                    entry["criterion_name"] = CRITERIA_REPLACED[entry["criterion_name"]]
            return state

        return load_checkpoint_to_cpu

    replace_once(checkpoint_utils, "load_checkpoint_to_cpu", make)
