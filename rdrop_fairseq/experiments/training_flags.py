"""The flags of one training: those of the configuration, those of its command line, and those that follow from both."""

from typing import Dict, List, Optional, Sequence

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.configuration import Configuration, Setting, is_flag

COMMAND_LINE = "command line"
# Flags of fairseq-train that scripts/train.sh sets itself, and what to do in their place.
_SET_BY_SCRIPT = {
    "--save-dir": "--run-dir chooses the folder",
    "--update-freq": "it follows from --tokens-per-update; change --max-tokens or the number of GPUs",
    "--batch-size": "the global batch is counted in tokens; give --max-tokens",
    "--max-sentences": "the global batch is counted in tokens; give --max-tokens",
    "--user-dir": "it is this plugin; to load another beside it call fairseq-train with a folder that imports both",
    "--restore-file": "a run resumes from its own last checkpoint; start from another model with --finetune-from-model",
    "--tensorboard-logdir": "give --tensorboard",
    "--log-file": "the log is train.log in the run folder",
    "--log-format": "the log is read again for progress and curves",
    "--device-id": "give --gpus",
    "--local_rank": "give --gpus",
    "--nprocs-per-node": "give --gpus",
}
# These stand in a configuration, but on a command line only in another form.
_SET_BY_CONFIGURATION = {
    "--task": "--baseline chooses between the two trainings of the configuration",
    "--criterion": "--baseline chooses between the two trainings of the configuration",
}
# These are options of the script, and no flags for [training] or its like.
_SET_BY_OPTION = {
    "--max-tokens": "put it into [batch]",
    "--source-lang": "put it into [data]",
    "--target-lang": "put it into [data]",
    "--cpu": "give it on the command line",
}
# What begins so is set by the script too.
_DISTRIBUTED = "--distributed-"
_BEST_METRIC, _MAXIMISE = "--best-checkpoint-metric", "--maximize-best-checkpoint-metric"
PRECISIONS = {"fp16": "--fp16", "bf16": "--bf16"}
# By their names in fairseq: they change nothing of what is trained, or only how long.
_WITHOUT_INFLUENCE = {
    "max_update", "max_epoch", "stop_time_hours", "log_interval", "num_workers", "data_buffer_size", "save_interval",
    "save_interval_updates", "keep_interval_updates", "keep_last_epochs", "keep_best_checkpoints",
    "no_epoch_checkpoints", "validate_interval", "validate_interval_updates", "empty_cache_freq", "ddp_backend",
    "bucket_cap_mb", "all_gather_list_size", "wandb_project", "fp16", "bf16",
}  # fmt: skip


def settings_of_words(words: Sequence[str]) -> List[Setting]:
    """The options of fairseq-train, or of another of its commands, on a command line.

    Raises:
        UserError: a word is no option, and belongs to none.
    """
    settings: List[Setting] = []
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            if not is_flag(flag):
                raise UserError(f"{word} is no option; write --option VALUE, long options only")
            settings.append(Setting(flag, value if equals else None, COMMAND_LINE))
        elif settings and settings[-1].value is None:
            settings[-1] = Setting(settings[-1].flag, word, COMMAND_LINE)
        else:
            raise UserError(f"{word} belongs to no option; write --option VALUE, long options only")
    return settings


def refuse_on_command_line(settings: Sequence[Setting]) -> None:
    """Assert that none of these is an option that scripts/train.sh sets; else raise a ``UserError``."""
    for setting in settings:
        _refuse(setting, {**_SET_BY_SCRIPT, **_SET_BY_CONFIGURATION})


def is_set_by_script(flag: str) -> bool:
    """Whether this flag of fairseq-train is one that scripts/train.sh sets, and refuses on its command line."""
    return flag in _SET_BY_SCRIPT or flag in _SET_BY_CONFIGURATION or flag.startswith(_DISTRIBUTED)


def combine(
    configuration: Configuration, variant: str, command_line: Sequence[Setting], precision: Optional[str]
) -> List[Setting]:
    """The flags of fairseq-train that describe the training, each once: those of the command line win.

    Args:
        configuration: the experiment.
        variant: ``"rdrop"`` or ``"baseline"``.
        command_line: what was given there; --arch replaces the whole section [model], and another
            --best-checkpoint-metric is minimised unless --maximize-best-checkpoint-metric comes with it.
        precision: ``"fp16"``, ``"bf16"``, or None for float32, in place of the configuration's.

    Raises:
        UserError: the configuration has flags that the script sets, or a baseline was given options of R-Drop.
    """
    given = {setting.flag for setting in command_line}
    for flag in given:
        if variant == "baseline" and flag.startswith("--rdrop-"):
            raise UserError(f"{flag} is an option of R-Drop, which a baseline has not; leave it or --baseline out")
    configured = configuration.training(variant, with_model="--arch" not in given)
    for setting in configured:
        _refuse(setting, {**_SET_BY_SCRIPT, **_SET_BY_OPTION})
    settings: Dict[str, Setting] = {}
    for setting in (*configured, *command_line):
        settings.pop(setting.flag, None)
        settings[setting.flag] = setting
    metrics = {setting.value for setting in configured if setting.flag == _BEST_METRIC}
    if _BEST_METRIC in given and settings[_BEST_METRIC].value not in metrics and _MAXIMISE not in given:
        # The switch belongs to the configuration's metric, and fairseq has no flag to take it back.
        settings.pop(_MAXIMISE, None)
    for flag in PRECISIONS.values():
        settings.pop(flag, None)
    if precision is not None:
        settings[PRECISIONS[precision]] = Setting(PRECISIONS[precision], None, COMMAND_LINE)
    return list(settings.values())


def configured_precision(configuration: Configuration, variant: str) -> Optional[str]:
    """The number format that the configuration asks for on GPUs, None for float32."""
    flags = {setting.flag for setting in configuration.training(variant)}
    return next((name for name, flag in PRECISIONS.items() if flag in flags), None)


def _refuse(setting: Setting, remedies: Dict[str, str]) -> None:
    remedy = remedies.get(setting.flag)
    if remedy is None and setting.flag.startswith(_DISTRIBUTED):
        remedy = "give --gpus, or --cpu --processes, or --nnodes and what belongs to it"
    if remedy is not None:
        place = "" if setting.place == COMMAND_LINE else f"{setting.place}: "
        raise UserError(f"{place}{setting.flag} is set by scripts/train.sh; {remedy}")


def describe(settings: Sequence[Setting], destinations: Dict[str, str]) -> Dict[str, Optional[str]]:
    """The flags with an influence on what is trained, with their values, to compare runs by."""
    return {setting.flag: setting.value for setting in settings if destinations[setting.flag] not in _WITHOUT_INFLUENCE}
