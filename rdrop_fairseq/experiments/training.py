"""Planning one training: everything about it decided and checked, nothing changed yet."""

import argparse
import importlib.util
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state
from rdrop_fairseq.data.binarised_data import check_binarised_data, check_path, fingerprint
from rdrop_fairseq.experiments import placement as placements
from rdrop_fairseq.experiments.configuration import Configuration, Setting, closest, read_configuration
from rdrop_fairseq.experiments.fairseq_flags import CheckedFlags, check_generation_flags, check_training_flags
from rdrop_fairseq.experiments.global_batch import derive_update_freq
from rdrop_fairseq.experiments.placement import Placement
from rdrop_fairseq.experiments.run_folder import LIMITS, RunFolder
from rdrop_fairseq.experiments.training_flags import combine, configured_precision, describe

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent


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
    settings: Dict[str, Any]
    """All that decides what is trained; a run folder belongs to one set of these."""
    limits: Dict[str, float]
    tensorboard: bool

    @property
    def words(self) -> List[str]:
        """fairseq-train and its arguments."""
        source, target = self.languages
        words = ["fairseq-train", str(self.data), "--user-dir", str(PACKAGE)]
        words += ["--source-lang", source, "--target-lang", target, "--save-dir", str(self.folder.checkpoints)]
        words += [word for setting in self.flags for word in setting.words]
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

    def record(self) -> Dict[str, Any]:
        """What run.json holds: how it is trained, with what, and how it is to be evaluated."""
        source, target = self.languages
        machine = hardware()
        return {
            "config": self.configuration.name,
            "variant": self.variant,
            "data": str(self.data),
            "source_language": source,
            "target_language": target,
            "tokens_per_update": self.tokens_per_update,
            "max_tokens": self.max_tokens,
            "processes": self.placement.processes,
            "update_freq": self.update_freq,
            "precision": self.precision or "fp32",
            "average": self.configuration.average,
            "checkpoint": "best" if self.configuration.average is None else "average",
            "generation": [word for setting in self.configuration.generation for word in setting.words],
            "command": self.command,
            "environment": self.placement.environment,
            "versions": package_versions(),
            "commit": plugin_state(),
            "device": f"{self.placement.description}: {machine['CPU' if self.placement.on_cpu else 'GPU']}",
            "limits": self.limits,
            "settings": self.settings,
        }


def plan_training(options: argparse.Namespace, command_line: Sequence[Setting]) -> Training:
    """Decide and check everything about a training.

    Args:
        options: those of the script (see :mod:`.options`).
        command_line: those for fairseq-train.

    Raises:
        UserError: something cannot work; the message says what, and what to do.
    """
    configuration = find_configuration(options.config)
    variant = "baseline" if options.baseline else "rdrop"
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

    data = (options.data or _default_data(configuration, source, target)).resolve()
    check_path(data)
    checked = check_training_flags(flags, data)
    limits = _limits(checked)
    check_generation_flags(configuration.generation, data)
    # What is only printed may be meant for data that are yet to be made.
    is_made = not options.dry_run or data.exists()
    if is_made:
        check_binarised_data(data, source, target, _how_to_prepare(configuration, target))
    settings = {
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


def find_configuration(name: str) -> Configuration:
    """A configuration by its name in configs/, or by its path.

    Raises:
        UserError: there is none.
    """
    folder = REPOSITORY / "configs"
    if os.sep in name or name.endswith(".args"):
        return read_configuration(name)
    path = folder / f"{name}.args"
    if not path.is_file():
        names = sorted(path.stem for path in folder.glob("*.args"))
        raise UserError(f"no configuration {name}; {closest(name, names) or 'choose from ' + ', '.join(names)}")
    return read_configuration(path)


def _default_data(configuration: Configuration, source: str, target: str) -> Path:
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
        gpus = gpus or visible
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
