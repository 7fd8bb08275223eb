"""Which option belongs to which step: our own, fairseq-train's, fairseq-generate's, R-Drop's alone, and no step's."""

import argparse
from pathlib import Path
from typing import Collection, Dict, List, Optional, Sequence

from rdrop_fairseq.common.command_line import positive_number, whole_number
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.configuration import Configuration, Setting, is_flag

COMMAND_LINE = "command line"
PRECISIONS = ("fp16", "bf16")

# Flags of fairseq-train that the engine sets itself, and what to do in their place.
_SET_FOR_TRAINING = {
    "--save-dir": "--run-dir chooses the folder",
    "--update-freq": "it follows from --tokens-per-update; change --max-tokens or the number of GPUs",
    "--batch-size": "the global batch is counted in tokens; give --max-tokens",
    "--max-sentences": "the global batch is counted in tokens; give --max-tokens",
    "--user-dir": "it is this plugin; to load another beside it call fairseq-train with a folder that imports both",
    "--restore-file": "a run resumes from its own last checkpoint; start from another model with --finetune-from-model",
    "--no-last-checkpoints": "a run resumes from its last checkpoint; leave it out",
    "--tensorboard-logdir": "give --tensorboard",
    "--log-file": "the log is train.log in the run folder",
    "--log-format": "the log is read again for progress and curves",
}
# What begins so is set by the engine, too.
_DISTRIBUTED = ("--distributed-", "--device-id", "--local_rank", "--nprocs-per-node")
# These stand in a configuration, but on a command line only in another form.
_SET_BY_CONFIGURATION = {
    "--task": "the configuration has that of each variant",
    "--criterion": "the configuration has that of each variant",
}
# These are options of the engine, and no flags for the sections of a training.
_SET_BY_OPTION = {
    "--max-tokens": "put it into the section batch",
    "--source-lang": "put it into the section data",
    "--target-lang": "put it into the section data",
    "--cpu": "give it on the command line",
}
_LEAVING_OUT_TRANSLATIONS = (
    "--quiet",
    "--required-batch-size-multiple",
    "--skip-invalid-size-inputs-valid-test",
    "--num-shards",
    "--shard-id",
)
# Flags of fairseq-generate that are no option beside a RUN, and why.
_REFUSED_IN_GENERATION = {
    "--path": "is set by the script; give --checkpoint FILE",
    "--results-path": "is set by the script; the results are in RUN/evaluation",
    "--gen-subset": "is set by the script, which translates the test set; use fairseq-generate for others",
    "--score-reference": "scores the reference in place of translations; leave it out",
    **dict.fromkeys(
        _LEAVING_OUT_TRANSLATIONS,
        "would leave out translations, but every sentence of the test set is scored; leave it out",
    ),
    **dict.fromkeys(["--task", "--user-dir", "--source-lang", "--target-lang"], "is known from the run; leave it out"),
    **dict.fromkeys(
        ["--system", "--test-set", "--lowercase", "--detokenise", "--metrics", "--significance"],
        "is for translations from elsewhere; give them with --system NAME=FILE, and no RUN",
    ),
    **dict.fromkeys(
        ["--json", "--markdown"],
        "is for translations from elsewhere; the scores of a run are in RUN/evaluation, scores.json and scores.md",
    ),
}
# Flags of the task translation that say how a model reads text, in training and in generation alike.
_OF_THE_TASK = (
    "--left-pad-source",
    "--left-pad-target",
    "--max-source-positions",
    "--max-target-positions",
    "--truncate-source",
    "--required-seq-len-multiple",
    "--dataset-impl",
)
_JOINS_SUBWORDS = ("--bpe", "--post-process", "--remove-bpe")
_BEST_METRIC, _MAXIMISE = "--best-checkpoint-metric", "--maximize-best-checkpoint-metric"
_RDROP = "--rdrop-"
# By their names in fairseq: they change nothing of what is trained, or only how long.
_WITHOUT_INFLUENCE = {
    "max_update", "max_epoch", "stop_time_hours", "log_interval", "num_workers", "data_buffer_size", "save_interval",
    "save_interval_updates", "keep_interval_updates", "keep_last_epochs", "keep_best_checkpoints",
    "no_epoch_checkpoints", "validate_interval", "validate_interval_updates", "empty_cache_freq", "ddp_backend",
    "bucket_cap_mb", "all_gather_list_size", "wandb_project", "fp16", "bf16", "max_tokens_valid",
    "skip_invalid_size_inputs_valid_test",
}  # fmt: skip
# Options of scripts/train.sh that the scripts for both trainings have not, and what to do in their place.
_OF_ONE_TRAINING = dict.fromkeys(("--baseline", "--dry-run"), "this trains the baseline and R-Drop, leave it out")
_OF_THE_RECIPE = {
    "--data": "give --data-dir",
    "--run-dir": "give --runs-dir",
    "--source-lang": "the recipe has its languages, leave it out",
    "--target-lang": "the recipe has its languages, leave it out",
}
_OF_SEVERAL_NODES = dict.fromkeys(
    ("--nnodes", "--node-rank", "--master-addr", "--master-port"), "this trains on one machine, leave it out"
)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """How trainings are run; what a script does not offer has its default for :func:`.training.plan_training`."""
    parser.set_defaults(
        nnodes=1, node_rank=None, master_addr=None, master_port=None, data=None, run_dir=None, source_lang=None,
        target_lang=None, dry_run=False, data_to_come=False, default_gpus=None, place_option="--run-dir", texts={},
        name=None,
    )  # fmt: skip
    parser.add_argument("--max-tokens", type=positive_number, metavar="N", help="tokens of one batch of one process")
    parser.add_argument("--tokens-per-update", type=positive_number, metavar="N", help="tokens of one update")
    parser.add_argument("--gpus", type=positive_number, metavar="N", help="GPUs of this node to use")
    parser.add_argument("--cpu", action="store_true", help="use the CPU")
    parser.add_argument("--processes", type=positive_number, metavar="N", help="with --cpu: processes on this node")
    parser.add_argument("--fp16", action="store_true", help="half precision, on GPUs")
    parser.add_argument("--bf16", action="store_true", help="bfloat16, on GPUs")
    parser.add_argument("--tensorboard", action="store_true", help="write RUN/tensorboard")
    parser.add_argument("--start-over", action="store_true", help="set a run that is there aside, and train anew")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Which training of which configuration is run, and where."""
    parser.add_argument("config", metavar="CONFIG", help="a name in configs/, such as wmt14_en_de, or a path")
    parser.add_argument("--baseline", action="store_true", help="train the baseline, not R-Drop")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of fairseq-preprocess")
    parser.add_argument("--source-lang", metavar="LANG", help="in place of the configuration's")
    parser.add_argument("--target-lang", metavar="LANG", help="in place of the configuration's")
    parser.add_argument("--run-dir", type=Path, metavar="RUN", help="the folder of the run")
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and do nothing")


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """Several nodes, each of which runs the same command."""
    parser.add_argument("--nnodes", type=positive_number, default=1, metavar="N", help="nodes that train together")
    parser.add_argument("--node-rank", type=whole_number, metavar="R", help="number of this node, from 0")
    parser.add_argument("--master-addr", metavar="HOST", help="node 0")
    parser.add_argument("--master-port", type=positive_number, metavar="PORT", help="a free port of node 0")


def check_training_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict one another.

    Raises:
        UserError: two of them do.
    """
    if options.fp16 and options.bf16:
        raise UserError("--fp16 and --bf16 exclude each other; give one")
    if options.cpu and options.gpus is not None:
        raise UserError("--cpu and --gpus exclude each other; give --cpu --processes N or --gpus N")
    if options.processes is not None and not options.cpu:
        raise UserError("--processes is for --cpu; give --gpus N for GPUs")
    wanted = {
        "--node-rank": options.node_rank, "--master-addr": options.master_addr, "--master-port": options.master_port
    }  # fmt: skip
    nodes = options.nnodes
    for flag, value in wanted.items():
        if nodes > 1 and value is None:
            raise UserError(f"--nnodes {nodes} needs {flag}; give it (scripts/slurm/train.sbatch does, on Slurm)")
        if nodes == 1 and value is not None:
            raise UserError(f"{flag} is for several nodes; give --nnodes as well")
    if options.node_rank is not None and options.node_rank >= nodes:
        raise UserError(f"--node-rank is {options.node_rank}; give 0 to {nodes - 1} with --nnodes {nodes}")


def refuse_options_of_train(words: Sequence[str], of_recipe: bool) -> None:
    """Refuse options of scripts/train.sh in the scripts that train both variants.

    Args:
        words: what is left of the command line.
        of_recipe: for scripts/reproduce_*.sh, where the recipe has the languages and the folders other options.

    Raises:
        UserError: one is there; the message says what to give in its place.
    """
    for word in words:
        flag = word.partition("=")[0]
        remedy = _OF_ONE_TRAINING.get(flag) or (_OF_THE_RECIPE.get(flag) if of_recipe else _OF_SEVERAL_NODES.get(flag))
        if remedy:
            raise UserError(f"{flag} is for scripts/train.sh alone; {remedy}")


def settings_of_words(words: Sequence[str], command: str) -> List[Setting]:
    """The options of ``"fairseq-train"`` or ``"fairseq-generate"`` on a command line.

    Raises:
        UserError: a word is no option, and belongs to none; or an option is set by the engine, is known from the run,
            or would leave sentences out.
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
    for setting in settings:
        reason = refusal(setting.flag, command)
        if reason:
            raise UserError(f"{setting.flag} {reason}")
    return settings


def words_of(settings: Sequence[Setting]) -> List[str]:
    """The same as the words of a command line."""
    return [word for setting in settings for word in setting.words]


def refusal(flag: str, command: str, in_configuration: bool = False) -> Optional[str]:
    """Why a flag of ``"fairseq-train"`` or ``"fairseq-generate"`` is refused, and what to do; None where it is not."""
    if command == "fairseq-generate":
        return _REFUSED_IN_GENERATION.get(flag)
    remedies = {**_SET_FOR_TRAINING, **(_SET_BY_OPTION if in_configuration else _SET_BY_CONFIGURATION)}
    remedy = remedies.get(flag)
    if flag.startswith(_DISTRIBUTED):
        remedy = "give --gpus, or --cpu --processes, or --nnodes and what belongs to it"
    return f"is set by the script; {remedy}" if remedy else None


def for_variant(settings: Sequence[Setting], variant: str) -> List[Setting]:
    """The settings for one of two trainings: those of R-Drop are not for the baseline."""
    return [setting for setting in settings if variant == "rdrop" or not setting.flag.startswith(_RDROP)]


def combine(
    configuration: Configuration, variant: str, command_line: Sequence[Setting], precision: Optional[str]
) -> List[Setting]:
    """The flags of fairseq-train that describe the training, each once: those of the command line win.

    Args:
        configuration: the experiment.
        variant: ``"rdrop"`` or ``"baseline"``.
        command_line: what was given there; --arch replaces the whole section model, and another
            --best-checkpoint-metric is minimised unless --maximize-best-checkpoint-metric comes with it.
        precision: ``"fp16"``, ``"bf16"``, or None for float32, in place of the configuration's.

    Raises:
        UserError: the configuration has flags that the engine sets, or a baseline was given options of R-Drop.
    """
    given = {setting.flag for setting in command_line}
    for flag in given:
        if variant == "baseline" and flag.startswith(_RDROP):
            raise UserError(f"{flag} is an option of R-Drop, which a baseline has not; leave it or --baseline out")
    configured = configuration.training(variant, with_model="--arch" not in given)
    for setting in configured:
        reason = refusal(setting.flag, "fairseq-train", in_configuration=True)
        if reason:
            raise UserError(f"{setting.place}: {setting.flag} {reason}")
    settings: Dict[str, Setting] = {}
    for setting in (*configured, *command_line):
        settings.pop(setting.flag, None)
        settings[setting.flag] = setting
    metrics = {setting.value for setting in configured if setting.flag == _BEST_METRIC}
    if _BEST_METRIC in given and settings[_BEST_METRIC].value not in metrics and _MAXIMISE not in given:
        # The switch belongs to the configuration's metric, and fairseq has no flag to take it back.
        settings.pop(_MAXIMISE, None)
    for name in PRECISIONS:
        settings.pop(f"--{name}", None)
    if precision is not None:
        settings[f"--{precision}"] = Setting(f"--{precision}", None, COMMAND_LINE)
    return list(settings.values())


def configured_precision(configuration: Configuration, variant: str) -> Optional[str]:
    """The number format that the configuration asks for on GPUs, None for float32."""
    flags = {setting.flag for setting in configuration.training(variant)}
    return next((name for name in PRECISIONS if f"--{name}" in flags), None)


def describe(settings: Sequence[Setting], destinations: Dict[str, str]) -> Dict[str, Optional[str]]:
    """The flags with an influence on what is trained, with their values, to compare runs by.

    Args:
        settings: flags of fairseq-train.
        destinations: for each flag the name under which fairseq keeps its value.
    """
    return {setting.flag: setting.value for setting in settings if destinations[setting.flag] not in _WITHOUT_INFLUENCE}


def task_words(trained_with: Dict[str, Optional[str]]) -> List[str]:
    """What fairseq-generate has to be told again of a training, of what :func:`describe` noted of it."""
    settings = [Setting(flag, trained_with[flag], COMMAND_LINE) for flag in _OF_THE_TASK if flag in trained_with]
    return words_of(settings)


def joins_subwords(flags: Collection[str]) -> bool:
    """Whether with these flags fairseq-generate gives whole words."""
    return any(flag in flags for flag in _JOINS_SUBWORDS)
