"""The one room that knows about versions of fairseq, torch and numpy."""

from rdrop_fairseq.compat import checkpoints, training
from rdrop_fairseq.compat.checkpoints import allow_safe_checkpoint_loading, load_checkpoint, save_checkpoint

__all__ = [
    "allow_safe_checkpoint_loading",
    "load_checkpoint",
    "prepare_fairseq",
    "release_criterion_name",
    "save_checkpoint",
]


def prepare_fairseq() -> None:
    """Mend what breaks in fairseq on a current torch; called once, when the plugin is imported."""
    allow_safe_checkpoint_loading()
    checkpoints.report_broken_checkpoints()
    checkpoints.write_checkpoints_atomically()
    checkpoints.report_unusable_checkpoint_folder()
    training.report_dropped_sentences()
    training.let_nan_detector_finish()
    training.let_lstm_encoder_take_unsorted_batches()
    training.make_adaptive_softmax_differentiable()
    training.let_bf16_train_on_gpus()
    training.let_processes_share_checkpoints()
    training.count_all_batches_of_an_update()
    training.let_processes_part_in_order()


def release_criterion_name(name: str) -> bool:
    """Take the criterion ``name`` out of fairseq's registry, if fairseq has one; tells whether it had."""
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY

    CRITERION_DATACLASS_REGISTRY.pop(name, None)
    return CRITERION_REGISTRY.pop(name, None) is not None
