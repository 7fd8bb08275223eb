"""One training: everything about it is decided and checked first, with nothing changed; then it is trained."""

import argparse
import contextlib
import importlib.util
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state
from rdrop_fairseq.data.binarised_data import check_binarised_data, check_path, fingerprint
from rdrop_fairseq.experiments import placement as placements
from rdrop_fairseq.experiments.configuration import PACKAGE, REPOSITORY, Configuration, Setting
from rdrop_fairseq.experiments.fairseq_parsers import CheckedFlags, check_flags
from rdrop_fairseq.experiments.options import combine, configured_precision, describe, words_of
from rdrop_fairseq.experiments.placement import Placement, derive_update_freq
from rdrop_fairseq.experiments.resuming import read_last_checkpoint
from rdrop_fairseq.experiments.run_folder import LIMITS, RunFolder, RunRecord, Settings
from rdrop_fairseq.experiments.training_process import TrainingProcess, full_environment


@dataclass(frozen=True)
class Training:
    """One training of a configuration, ready to run."""

    configuration: Configuration
    variant: str
    data: Path
    languages: Tuple[str, str]
    folder: RunFolder
    placement: Placement
    precision: Optional[str]
    tokens_per_update: int
    max_tokens: int
    update_freq: int
    flags: Tuple[Setting, ...]
    """Those of fairseq-train that are not set here."""
    settings: Settings
    """All that decides what is trained; a run folder belongs to one set of these."""
    limits: Dict[str, float]
    tensorboard: bool

    @property
    def words(self) -> List[str]:
        """fairseq-train and its arguments."""
        source, target = self.languages
        words = ["fairseq-train", str(self.data), "--user-dir", str(PACKAGE)]
        words += ["--source-lang", source, "--target-lang", target, "--save-dir", str(self.folder.checkpoints)]
        words += words_of(self.flags)
        words += ["--max-tokens", str(self.max_tokens), "--update-freq", str(self.update_freq)]
        words += ["--log-format", "json"]
        if self.tensorboard:
            words += ["--tensorboard-logdir", str(self.folder.path / "tensorboard")]
        return words + self.placement.fairseq_flags

    @property
    def command(self) -> List[str]:
        """All words, with what starts the processes."""
        return [*self.placement.launcher, *self.words]

    @property
    def shell_command(self) -> str:
        """The same for a person with a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.placement.environment.items()]
        return " ".join([*variables, shlex.join(self.command)])

    @property
    def summary(self) -> str:
        """The global batch, and how it comes about."""
        processes = self.placement.processes
        return (
            f"{self.configuration.name}, {self.variant}, on {self.placement.description}: "
            f"{self.tokens_per_update} tokens per update = {self.max_tokens} (max-tokens) * "
            f"{processes} (process{'es' if processes > 1 else ''}) * {self.update_freq} (update-freq)"
        )

    def record(self) -> RunRecord:
        """How it is trained, with what, and how it is to be evaluated."""
        average = self.configuration.average
        device = hardware()["CPU" if self.placement.on_cpu else "GPU"]
        return RunRecord(
            config=self.configuration.name,
            variant=self.variant,
            data=str(self.data),
            source_language=self.languages[0],
            target_language=self.languages[1],
            tokens_per_update=self.tokens_per_update,
            max_tokens=self.max_tokens,
            processes=self.placement.processes,
            update_freq=self.update_freq,
            precision=self.precision or "fp32",
            average=average,
            checkpoint="best" if average is None else "average",
            generation=tuple(words_of(self.configuration.generation)),
            command=tuple(self.command),
            environment=self.placement.environment,
            versions=package_versions(),
            commit=plugin_state(),
            device=f"{self.placement.description}: {device}",
            limits=self.limits,
            settings=self.settings,
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
    placement = _place(options)
    precision = _precision(options, configured_precision(configuration, variant), placement)
    flags = combine(configuration, variant, command_line, precision)
    tokens_per_update = options.tokens_per_update or configuration.tokens_per_update
    max_tokens = options.max_tokens or configuration.max_tokens
    update_freq = derive_update_freq(tokens_per_update, max_tokens, placement.processes)
    if options.tensorboard and not _has_tensorboard():
        raise UserError("--tensorboard needs the package tensorboardX; install it: pip install tensorboardX")

    data = (options.data or default_data(configuration, source, target)).resolve()
    check_path(data)
    checked = check_flags(flags, "fairseq-train", data)
    limits = _limits(checked)
    check_flags(configuration.generation, "fairseq-generate", data)
    # What is only printed, or checked ahead, may be meant for data that are yet to be made.
    is_made = data.exists() or not (options.dry_run or options.data_to_come)
    if is_made:
        check_binarised_data(data, source, target, _how_to_prepare(configuration, target))
    settings: Settings = {
        "variant": variant,
        "languages": f"{source}-{target}",
        **(fingerprint(data, source, target) if is_made else {}),
        "tokens per update": tokens_per_update,
        "precision": precision or "fp32",
        **describe(flags, checked.destinations),
    }
    if options.run_dir is None:
        changed = (source, target) != (configuration.source_language, configuration.target_language)
        name = f"{configuration.name}-{source}-{target}" if changed else configuration.name
        run_directory = REPOSITORY / "runs" / f"{name}-{variant}"
    else:
        run_directory = options.run_dir.resolve()
    # Evaluation gives fairseq-generate the path of a checkpoint in it.
    check_path(run_directory)
    return Training(
        configuration=configuration, variant=variant, data=data, languages=(source, target),
        folder=RunFolder(run_directory), placement=placement, precision=precision,
        tokens_per_update=tokens_per_update, max_tokens=max_tokens, update_freq=update_freq, flags=tuple(flags),
        settings=settings, limits=limits, tensorboard=options.tensorboard,
    )  # fmt: skip


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
    folder = training.folder
    # Of several nodes, which may share a file system, one alone writes to the folder.
    is_first = training.placement.node_rank == 0
    environment = full_environment(training.placement.environment)
    with folder.locked() if is_first else contextlib.nullcontext():
        folder.check_settings(training.settings)
        if folder.is_complete(training.limits) or _reached_its_limit(training, program):
            say(program, f"{folder.path}: done before; more updates with --max-update or --max-epoch")
            if is_first:
                folder.update_evaluation(training.record(), training.configuration.path)
            return 0
        log = folder.log if is_first else folder.path / f"train.node{training.placement.node_rank}.log"
        if is_first:
            folder.begin(training.record(), training.configuration.path, [typed, training.shell_command])
        log.parent.mkdir(parents=True, exist_ok=True)
        say(program, f"training in {folder.path}; all output is in {log}")
        process = TrainingProcess(training.command, environment, log)
        status = process.follow(training.variant)
        if is_first:
            folder.write_exit_status(status)
    if status > 128:
        say(program, f"ended by signal {status - 128}; the same command continues from the last checkpoint")
    elif status != 0:
        raise UserError(f"training failed with status {status}: {process.last_message()}; the whole log is {log}")
    else:
        say(program, f"done: {folder.checkpoints}")
    return status


def _reached_its_limit(training: Training, program: str) -> bool:
    """Look at the checkpoint that fairseq-train would continue from, and put it in order for it.

    fairseq-train does another update with a checkpoint that has had all of them.
    """
    last = read_last_checkpoint(training.folder.last_checkpoint)
    if last is None:
        return False
    last.check_vocabulary(training.data, *training.languages)
    is_first = training.placement.node_rank == 0
    if 0 < training.limits["max_update"] <= last.updates:
        if is_first:
            training.folder.write_exit_status(0)
        return True
    if is_first:
        place = last.continue_with(training.placement.processes, training.max_tokens)
        say(program, f"resuming after update {last.updates}" + (f", {place}" if place else ""))
    return False


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


def _limits(checked: CheckedFlags) -> Dict[str, float]:
    """How long to train; 0 stands for no limit."""
    limits = {name: getattr(checked.values, name) or 0 for name in LIMITS}
    for name, limit in limits.items():
        if limit < 0:
            raise UserError(f"--{name.replace('_', '-')} is {limit}; give a number above 0, or 0 for no limit")
    return limits


def _place(options: argparse.Namespace) -> Placement:
    """Where to train: on the GPUs asked for, else on all there are, else on the CPU."""
    nodes = {
        "nodes": options.nnodes, "node_rank": options.node_rank or 0,
        "master_address": options.master_addr, "master_port": options.master_port,
    }  # fmt: skip
    if options.cpu:
        return Placement(on_cpu=True, processes_per_node=options.processes or 1, **nodes)
    gpus = options.gpus
    # What is only printed may be meant for another machine.
    if gpus is None or not options.dry_run:
        visible = placements.visible_gpus()
        if gpus is not None and gpus > visible:
            raise UserError(f"--gpus {gpus}, but torch sees {visible} on this machine; ask for fewer, or give --cpu")
        gpus = gpus or min(visible, options.default_gpus or visible)
    return Placement(on_cpu=gpus == 0, processes_per_node=max(1, gpus), **nodes)


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
