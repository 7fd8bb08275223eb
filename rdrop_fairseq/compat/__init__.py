"""The one room that knows about versions of fairseq, torch and numpy.

What it replaces in fairseq was written for three versions: fairseq 0.12.2, fairseq-fixed 0.12.3.1, and the last commit
of fairseq's main branch, 3d262bb2. Each replacement says in its docstring which of them it is for.
"""

import os
from typing import Callable, Tuple

from rdrop_fairseq.compat import checkpoints, data, models, preemption, resuming, training, validation, versions
from rdrop_fairseq.compat.checkpoints import load_checkpoint, save_checkpoint
from rdrop_fairseq.compat.plain_data import allow_safe_checkpoint_loading

__all__ = [
    "MEND_TRAINING",
    "allow_safe_checkpoint_loading",
    "load_checkpoint",
    "mend_training",
    "prepare_fairseq",
    "release_criterion_name",
    "save_checkpoint",
]

MEND_TRAINING = "RDROP_FAIRSEQ_MEND_TRAINING"
"""The environment variable that, set to 1, asks for :func:`mend_training` whatever is trained."""

# For every command with the plugin: what must be in place before a task or a criterion is built.
AT_REGISTRATION: Tuple[Callable[[], None], ...] = (
    versions.warn_of_untested_versions,  # says it in time
    allow_safe_checkpoint_loading,  # fairseq-generate and resuming cannot read a checkpoint without it
    checkpoints.report_loading,  # says how a checkpoint was loaded, and changes the message of a failure
    models.keep_encoder_off_fast_path,  # generation and validation fail without it
    checkpoints.report_unusable_checkpoint_folder,  # changes a message only; --save-dir is checked before all else
    training.let_bf16_train_on_gpus,  # --bf16 fails without it, and the arguments are parsed before the task is built
    training.let_processes_part_in_order,  # waits for mend_training, but wraps what calls the training
)

# For trainings with R-Drop, and for generation with its task.
IN_TRAINING: Tuple[Callable[[], None], ...] = (
    models.let_encoders_pack_unsorted_batches,  # R-Drop cannot train such a model without it
    models.make_adaptive_softmax_differentiable,  # the same
    checkpoints.name_what_plain_fairseq_knows,  # only R-Drop has other names
    checkpoints.write_checkpoints_atomically,  # a general defect: a kill leaves half a file
    training.let_processes_share_checkpoints,  # a general defect: several processes cannot resume
    training.count_all_batches_of_an_update,  # a general defect: it changes the gradients, of any criterion
    training.report_dropped_sentences,  # a general defect: sentences are missing in silence
    training.let_nan_detector_finish,  # a general defect: the search for a NaN fails
    preemption.save_when_told_to_end,  # a general lack: the updates since the last checkpoint are lost
    resuming.resume_with_the_batches_of_the_run,  # a general defect: a resumed run reads sentences twice or never
    resuming.resume_figures_and_early_stopping,  # a general defect: a resumed run logs and stops otherwise
    resuming.resume_what_the_criterion_replaces,  # only R-Drop takes the place of another criterion
    validation.score_validation_like_translations,  # a general defect: BLEU without blanks between words says nothing
    validation.log_bleu_of_empty_translations,  # a general defect: such a validation ends the training
    data.give_numpy_its_old_names,  # flags fail without it
    data.let_upsampling_be_left_out,  # the same
)


def prepare_fairseq() -> None:
    """Make fairseq ready for the plugin; called when the criterion and the task are registered."""
    for replace in AT_REGISTRATION:
        replace()
    if os.environ.get(MEND_TRAINING) == "1":
        mend_training()


def mend_training() -> None:
    """Mend what R-Drop's trainings meet in fairseq; called when an R-Drop criterion or task is built.

    A training without R-Drop is as fairseq has it, unless the environment variable RDROP_FAIRSEQ_MEND_TRAINING is 1:
    so a baseline can be trained by the same rules.
    """
    for replace in IN_TRAINING:
        replace()
    training.mended = True


def release_criterion_name(name: str) -> bool:
    """Take the criterion ``name`` out of fairseq's registry, if fairseq has one; tells whether it had.

    fairseq-fixed and main have an R-Drop criterion of that name, 0.12.2 has none.
    """
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY

    CRITERION_DATACLASS_REGISTRY.pop(name, None)
    return CRITERION_REGISTRY.pop(name, None) is not None
