"""One training: everything about it is decided and checked first, with nothing changed; then it is trained."""

import argparse
import contextlib
import importlib.util
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Sequence

from rdrop_fairseq.common.bleu import sacrebleu_tokeniser
from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import check_can_grow
from rdrop_fairseq.common.locks import locked_folder
from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state
from rdrop_fairseq.data.binarised_data import check_binarised_data, check_path, fingerprint
from rdrop_fairseq.experiments.configuration import PACKAGE, REPOSITORY, Configuration, Setting
from rdrop_fairseq.experiments.fairseq_parsers import check_flags
from rdrop_fairseq.experiments.options import combine, configured_precision, describe, words_of
from rdrop_fairseq.experiments.placement import Placement, derive_update_freq, place
from rdrop_fairseq.experiments.prerequisites import (
    check_checkpoints_to_evaluate,
    check_lengths,
    check_space_for_checkpoints,
)
from rdrop_fairseq.experiments.resuming import newest_checkpoint
from rdrop_fairseq.experiments.run_folder import LIMITS, RunFolder, RunRecord
from rdrop_fairseq.experiments.training_process import TrainingProcess, full_environment


@dataclass(frozen=True)
class Training:
    """One training of a configuration, ready to run."""

    configuration: Configuration
    folder: RunFolder
    placement: Placement
    record: RunRecord
    values: argparse.Namespace
    """All flags of fairseq-train, defaults included."""
    options: argparse.Namespace

    @property
    def shell_command(self) -> str:
        """The command that trains, for a person with a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.record.environment.items()]
        return " ".join([*variables, shlex.join(self.record.command)])

    @property
    def summary(self) -> str:
        """The global batch, and how it comes about."""
        record = self.record
        return (
            f"{record.config}, {record.variant}, on {self.placement.description}: "
            f"{record.tokens_per_update} tokens per update = {record.max_tokens} (max-tokens) * "
            f"{record.processes} (process{'es' if record.processes > 1 else ''}) * {record.update_freq} (update-freq)"
        )


def plan_training(
    configuration: Configuration, variant: str, options: argparse.Namespace, command_line: Sequence[Setting]
) -> Training:
    """Decide and check everything about a training.

    Args:
        configuration: the experiment.
        variant: ``"rdrop"`` or ``"baseline"``.
        options: those of the engine (see :func:`.options.add_training_options`).
        command_line: those for fairseq-train.

    Raises:
        UserError: something cannot work; the message says what, and what to do.
    """
    source = options.source_lang or configuration.source_language
    target = options.target_lang or configuration.target_language
    placement = place(options)
    precision = _precision(options, configured_precision(configuration, variant), placement)
    flags = combine(configuration, variant, command_line, precision)
    tokens_per_update = options.tokens_per_update or configuration.tokens_per_update
    max_tokens = options.max_tokens or configuration.max_tokens
    update_freq = derive_update_freq(tokens_per_update, max_tokens, placement.processes)
    if options.tensorboard and not _has_tensorboard():
        raise UserError("--tensorboard needs the package tensorboardX; install it: pip install tensorboardX")

    data = (options.data or default_data(configuration, source, target)).resolve()
    check_path(data)
    values, destinations = check_flags(flags, "fairseq-train", data)
    check_flags(configuration.generation, "fairseq-generate", data)
    # What is only printed, or checked ahead, may be meant for data that are yet to be made.
    is_made = data.exists() or not (options.dry_run or options.data_to_come)
    if is_made:
        check_binarised_data(data, source, target, _how_to_prepare(configuration, target))
    if options.run_dir is None:
        changed = (source, target) != (configuration.source_language, configuration.target_language)
        name = f"{configuration.name}-{source}-{target}" if changed else configuration.name
        folder = RunFolder(REPOSITORY / "runs" / f"{name}-{variant}", options.place_option)
    else:
        folder = RunFolder(options.run_dir.resolve(), options.place_option)
    # Evaluation gives fairseq-generate the path of a checkpoint in it.
    check_path(folder.path)
    command = ["fairseq-train", str(data), "--user-dir", str(PACKAGE), "--source-lang", source, "--target-lang", target]
    command += ["--save-dir", str(folder.checkpoints), *words_of(flags), "--max-tokens", str(max_tokens)]
    command += ["--update-freq", str(update_freq), "--log-format", "json"]
    if options.tensorboard:
        command += ["--tensorboard-logdir", str(folder.path / "tensorboard")]
    record = RunRecord(
        config=configuration.name,
        variant=variant,
        data=str(data),
        source_language=source,
        target_language=target,
        tokens_per_update=tokens_per_update,
        max_tokens=max_tokens,
        processes=placement.processes,
        update_freq=update_freq,
        precision=precision or "fp32",
        average=configuration.average,
        checkpoint="best" if configuration.average is None else "average",
        generation=tuple(words_of(configuration.generation)),
        command=(*placement.launcher, *command, *placement.fairseq_flags),
        environment=placement.environment,
        versions=package_versions(),
        commit=plugin_state(),
        device=f"{placement.description}: {hardware()['CPU' if placement.on_cpu else 'GPU']}",
        limits=_limits(values),
        settings={
            "variant": variant,
            "languages": f"{source}-{target}",
            **(fingerprint(data, source, target) if is_made else {}),
            "tokens per update": tokens_per_update,
            "precision": precision or "fp32",
            **describe(flags, destinations),
        },
    )
    return Training(configuration, folder, placement, record, values, options)


def train(training: Training, typed: str, program: str) -> int:
    """Train, or continue, or find that nothing is left to do.

    Args:
        training: what :func:`plan_training` decided.
        typed: the command that asked for it, to be noted.
        program: the name of the script, for what it says.

    Returns:
        The exit status as a shell gives it: 0, or above 128 where a signal ended it.

    Raises:
        UserError: the folder holds another run, another process works in it, or the training failed.
    """
    folder, record, configuration = training.folder, training.record, training.configuration.path
    # Of several nodes, which may share a file system, one alone writes to the folder.
    is_first = training.placement.node_rank == 0
    environment = full_environment(record.environment)
    lock = locked_folder(folder.path, program, f"choose another folder with {training.options.place_option}")
    with lock if is_first else contextlib.nullcontext():
        if training.options.start_over and is_first:
            _set_aside(folder, typed, program)
        # The first node may not yet have set aside what is there, and no other one can tell.
        is_known = is_first or not training.options.start_over
        if is_known:
            folder.check_settings(record.settings)
        if is_known and (folder.is_complete(record.limits) or _reached_its_limit(training, program)):
            say(program, f"{folder.path}: done before; more updates with --max-update or --max-epoch")
            if is_first:
                folder.update_evaluation(record, configuration)
            return 0
        check_prerequisites(training, program)
        log = folder.log if is_first else folder.path / f"train.node{training.placement.node_rank}.log"
        if is_first:
            folder.begin(record, configuration, [typed, training.shell_command])
        log.parent.mkdir(parents=True, exist_ok=True)
        say(program, f"training in {folder.path}; all output is in {log}")
        process = TrainingProcess(record.command, environment, log)
        status = process.follow(training.options.name or record.variant)
        if is_first:
            folder.write_exit_status(status)
    if status > 128:
        say(program, f"ended by signal {status - 128}; the same command continues from the last checkpoint")
    elif status != 0:
        check_can_grow(log)  # on a full disk its last words are missing
        raise UserError(f"training failed with status {status}: {process.last_message()}; the whole log is {log}")
    else:
        say(program, f"done: {folder.checkpoints}")
    return status


def _set_aside(folder: RunFolder, typed: Optional[str], program: str) -> None:
    earlier = folder.set_aside(typed)
    if earlier is not None:
        say(program, f"{folder.path}: what was there is in {earlier} now")


def _reached_its_limit(training: Training, program: str) -> bool:
    """Look at the checkpoint that fairseq-train would continue from, and put it in order for it.

    fairseq-train does another update with a checkpoint that has had all of them.
    """
    is_first = training.placement.node_rank == 0
    try:
        last = newest_checkpoint(training.folder.checkpoints, lambda message: say(program, message))
    except UserError as error:
        # The command that began the run continues it; this one cannot be continued.
        if not (training.options.start_over and is_first):
            raise
        say(program, f"warning: {error.cause}")
        _set_aside(training.folder, None, program)
        return False
    if last is None:
        return False
    record = training.record
    last.check_vocabulary(Path(record.data), *record.languages)
    if 0 < record.limits["max_update"] <= last.updates:
        if is_first:
            # With these limits: the training that was interrupted may have been to go on for longer.
            training.folder.begin(record, training.configuration.path, [])
            training.folder.write_exit_status(0)
        return True
    if is_first:
        last.put_last()
        place = last.continue_with(record.processes, record.max_tokens)
        say(program, f"resuming after update {last.updates}" + (f", {place}" if place else ""))
    return False


def check_prerequisites(training: Training, program: str) -> None:
    """Assert what the training, and the evaluation after it, need; nothing was begun yet."""
    record, values = training.record, training.values
    note = check_lengths(
        Path(record.data), record.languages, values, record.max_tokens, training.options.texts,
        with_test=not training.folder.has_checkpoints(),
    )  # fmt: skip
    if note:
        say(program, note)
    try:
        sacrebleu_tokeniser(record.target_language)
    except UserError as error:
        say(program, f"warning: {error.cause}; evaluation needs it: {error.remedy}")
    average = record.average
    try:
        if average is not None or not training.folder.best_checkpoint.exists():
            check_checkpoints_to_evaluate(values, average, "give a lower --average to scripts/evaluate.sh")
    except UserError as error:
        say(program, f"warning: {error}")
    if training.placement.node_rank == 0:
        check_space_for_checkpoints(values, record, training.folder.checkpoints, training.options.place_option)


def default_data(configuration: Configuration, source: str, target: str) -> Path:
    """data/RECIPE/bin. A recipe of several language pairs, whose name has none, has a folder for each of them."""
    data, recipe = REPOSITORY / "data", configuration.recipe
    if recipe.endswith(f"_{configuration.source_language}_{configuration.target_language}"):
        return data / recipe / "bin"
    # The data of a pair serve both directions.
    folders = [data / f"{recipe}_{pair}" / "bin" for pair in (f"{source}_{target}", f"{target}_{source}")]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _how_to_prepare(configuration: Configuration, target: str) -> str:
    """The remedy for data that cannot be trained on."""
    script = f"scripts/prepare_{configuration.recipe}.sh"
    if not (REPOSITORY / script).is_file():
        return "give another folder with --data"
    if not configuration.recipe.endswith(f"_{configuration.target_language}"):
        script += f" --target-lang {target}"
    return f"prepare it with {script}, or give another folder with --data"


def _limits(values: argparse.Namespace) -> Dict[str, float]:
    """How long to train; 0 stands for no limit."""
    limits = {name: getattr(values, name) or 0 for name in LIMITS}
    for name, limit in limits.items():
        if not (math.isfinite(limit) and limit >= 0):
            raise UserError(f"--{name.replace('_', '-')} is {limit}; give a number above 0, or 0 for no limit")
    return limits


def _precision(options: argparse.Namespace, configured: Optional[str], placement: Placement) -> Optional[str]:
    """The number format: what the command line asks for, else the configuration's; on a CPU always float32."""
    given = "fp16" if options.fp16 else "bf16" if options.bf16 else None
    if placement.on_cpu:
        if given is not None:
            raise UserError(f"--{given} is for GPUs, and on a CPU this trains in float32; leave it out")
        return None
    return given or configured


def _has_tensorboard() -> bool:
    return any(importlib.util.find_spec(name) is not None for name in ("tensorboard", "tensorboardX"))
