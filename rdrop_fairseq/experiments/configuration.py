"""Reading an experiment's configuration (``configs/NAME.yaml``), the single source of its hyper-parameters.

A configuration is YAML: sections, and in each the flags of a command without their dashes in front. A switch has the
value ``true``.

    model:       arch and what else describes the architecture; left out when a command line names another --arch
    training:    flags of fairseq-train, for the baseline and for R-Drop
    batch:       max-tokens and tokens-per-update: the global batch, whatever the number of processes
    baseline:    flags of fairseq-train for the baseline alone, among them task and criterion
    rdrop:       the same for R-Drop
    data:        recipe, source-lang, target-lang
    evaluation:  average-checkpoints: K, or checkpoint: best; all else are flags of fairseq-generate

Values are taken as they are written, so that 1e-07 stays what its author wrote, and every one knows its line.
"""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

import yaml

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
CONFIGURATIONS = REPOSITORY / "configs"

VARIANTS = ("rdrop", "baseline")
# The sections, and the flags that each must have.
SECTIONS: Dict[str, Tuple[str, ...]] = {
    "model": ("--arch",),
    "training": (),
    "batch": ("--max-tokens", "--tokens-per-update"),
    "baseline": ("--task", "--criterion"),
    "rdrop": ("--task", "--criterion"),
    "data": ("--recipe", "--source-lang", "--target-lang"),
    "evaluation": (),
}
# The flags in these are ours, and there are no others.
_OWN_SECTIONS = ("batch", "data")
_AVERAGE, _CHECKPOINT = "--average-checkpoints", "--checkpoint"
_FLAG = re.compile(r"--[a-z][\w-]*")


@dataclass(frozen=True)
class Setting:
    """A flag and its value, None for a switch, and where they were given, to be named in a message."""

    flag: str
    value: Optional[str]
    place: str

    @property
    def words(self) -> List[str]:
        """As the words of a command line."""
        return [self.flag] if self.value is None else [self.flag, self.value]


@dataclass(frozen=True)
class Configuration:
    """A configuration as read; flags of fairseq are not checked yet (see :mod:`.fairseq_parsers`)."""

    path: Path
    sections: Dict[str, Tuple[Setting, ...]]

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self.path.stem

    @property
    def recipe(self) -> str:
        """The preparation of data that this experiment trains on."""
        return self._value("data", "--recipe")

    @property
    def source_language(self) -> str:
        return self._value("data", "--source-lang")

    @property
    def target_language(self) -> str:
        return self._value("data", "--target-lang")

    @property
    def max_tokens(self) -> int:
        """Tokens, padding included, of one batch of one process."""
        return self._number("batch", "--max-tokens")

    @property
    def tokens_per_update(self) -> int:
        """Tokens, padding included, of all batches of one update: the global batch."""
        return self._number("batch", "--tokens-per-update")

    @property
    def average(self) -> Optional[int]:
        """How many of the last checkpoints are averaged before generation; None where the best one is used."""
        return self._number("evaluation", _AVERAGE) if self._setting("evaluation", _AVERAGE) else None

    @property
    def generation(self) -> Tuple[Setting, ...]:
        """The flags of fairseq-generate."""
        return tuple(it for it in self.sections["evaluation"] if it.flag not in (_AVERAGE, _CHECKPOINT))

    def training(self, variant: str, with_model: bool = True) -> Tuple[Setting, ...]:
        """The flags of fairseq-train for ``"rdrop"`` or ``"baseline"``, with or without those of ``model``."""
        sections = (["model"] if with_model else []) + ["training", variant]
        return tuple(setting for section in sections for setting in self.sections[section])

    def _setting(self, section: str, flag: str) -> Optional[Setting]:
        return next((setting for setting in self.sections[section] if setting.flag == flag), None)

    def _value(self, section: str, flag: str) -> str:
        return self._setting(section, flag).value

    def _number(self, section: str, flag: str) -> int:
        setting = self._setting(section, flag)
        if not re.fullmatch(r"[1-9]\d*", setting.value):
            raise UserError(f"{setting.place}: {flag} is {setting.value}; give a whole number above 0")
        return int(setting.value)


def find_configuration(name: str) -> Configuration:
    """A configuration by its name in configs/, or by its path.

    Raises:
        UserError: there is none, or it is refused by :func:`read_configuration`.
    """
    if os.sep in name or name.endswith((".yaml", ".yml", ".args")):
        return read_configuration(name)
    path = CONFIGURATIONS / f"{name}.yaml"
    if not path.is_file():
        names = sorted(path.stem for path in CONFIGURATIONS.glob("*.yaml"))
        raise UserError(f"no configuration {name}; {closest(name, names) or 'choose from ' + ', '.join(names)}")
    return read_configuration(path)


def read_configuration(path: PathLike) -> Configuration:
    """Read a configuration.

    Raises:
        UserError: the file is missing or no YAML; a section or a flag of ours is unknown, given twice, missing, or
            without its value. The message names file, line and flag.
    """
    path = Path(path)
    sections: Dict[str, Tuple[Setting, ...]] = {}
    for key, value in entries_of(read_nodes(path, SECTIONS), str(path)):
        name, place = key.value, place_of(path, key)
        if name not in SECTIONS:
            suggestion = closest(name, SECTIONS) or f"the sections are {', '.join(SECTIONS)}"
            raise UserError(f"{place}: unknown section {name}; {suggestion}")
        if name in sections:
            raise UserError(f"{place}: the section {name} is there twice; put its flags together")
        # A section without flags is an empty text.
        entries = entries_of(value, f"{place}: the section {name}") if value.value != "" else []
        sections[name] = tuple(setting_of(flag, of_flag, place_of(path, flag), name) for flag, of_flag in entries)
    configuration = Configuration(path, sections)
    _check(configuration)
    return configuration


def closest(word: str, choices: Iterable[str]) -> str:
    """A suggestion for a misspelt word, such as ``did you mean --lr?``, or nothing where no choice is near."""
    # The dashes, which all flags have in common, say nothing about likeness.
    by_name = {choice.lstrip("-"): choice for choice in choices}
    near = difflib.get_close_matches(word.lstrip("-"), list(by_name), n=1, cutoff=0.7)
    return f"did you mean {by_name[near[0]]}?" if near else ""


def is_flag(word: str) -> bool:
    """Whether a word is of the form ``--flag``."""
    return bool(_FLAG.fullmatch(word))


def read_nodes(path: Path, sections: Iterable[str]) -> yaml.Node:
    """A file as YAML's nodes: unlike loaded values they have line numbers, and their text as it was written.

    Args:
        path: the file.
        sections: what it may have, for the message about an empty one.

    Raises:
        UserError: it is missing, no text, no YAML, or empty.
    """
    if path.suffix == ".args":
        raise UserError(f"{path} is of rdrop_fairseq 0.1; configurations are YAML now, as CHANGELOG.md says")
    try:
        # Some editors begin UTF-8 text with a byte order mark.
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise UserError(f"cannot read configuration {path}: {error.strerror}; give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"configuration {path} is not UTF-8 text; save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{place}: no YAML ({getattr(error, 'problem', None) or error}); correct it") from error
    if root is None:
        raise UserError(f"{path} is empty; the sections are {', '.join(sections)}")
    return root


def entries_of(node: yaml.Node, what: str) -> List[Tuple[yaml.ScalarNode, yaml.Node]]:
    """Keys and values of a mapping, which messages call ``what``; raises a UserError for anything else."""
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{what} holds no flags; write flag: value, one a line")
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{what} has a key that is no word (line {key.start_mark.line + 1}); write flag: value")
    return node.value


def place_of(path: Path, node: yaml.Node) -> str:
    """File and line, for messages."""
    return f"{path}:{node.start_mark.line + 1}"


def setting_of(key: yaml.ScalarNode, node: yaml.Node, place: str, section: str = "training") -> Setting:
    """A flag of a section of a configuration; raises a UserError for a key or a value that cannot be one."""
    flag, known = f"--{key.value}", SECTIONS[section]
    if not is_flag(flag):
        raise UserError(f"{place}: {key.value} is no flag; write it without dashes in front, as in max-tokens: 4096")
    if section in _OWN_SECTIONS and flag not in known:
        suggestion = closest(flag, known) or f"{section} has {', '.join(known)}"
        raise UserError(f"{place}: unknown key {flag} in {section}; {suggestion}")
    if not isinstance(node, yaml.ScalarNode):
        raise UserError(f"{place}: {flag} has a list or a mapping; put its value into quotation marks")
    is_switch = node.tag == "tag:yaml.org,2002:bool"
    if is_switch and node.value.lower() not in ("true", "yes", "on"):
        raise UserError(f"{place}: {flag} is {node.value}; a switch is true, or left out")
    value = None if is_switch else node.value
    if value == "" or (is_switch and (flag in known or flag in (_AVERAGE, _CHECKPOINT))):
        raise UserError(f"{place}: {flag} needs a value; write it behind {key.value}:")
    return Setting(flag, value, place)


def _check(configuration: Configuration) -> None:
    """Refuse sections and flags that are missing or given twice, and values of ours that make no sense."""
    path, sections = configuration.path, configuration.sections
    for name, flags in SECTIONS.items():
        if name not in sections:
            raise UserError(f"{path}: the section {name} is missing; add it")
        for flag in flags:
            if configuration._setting(name, flag) is None:
                raise UserError(f"{path}: {flag} is missing in {name}; add it")
    # A flag counts once in what a run is given, so the sections of a variant must not repeat each other.
    others = [sections[name] for name in (*_OWN_SECTIONS, "evaluation")]
    for settings in (*map(configuration.training, VARIANTS), *others):
        first: Dict[str, Setting] = {}
        for setting in settings:
            earlier = first.setdefault(setting.flag, setting)
            if earlier is not setting:
                raise UserError(
                    f"{setting.place}: {setting.flag} is given twice, first in {earlier.place}; leave one out"
                )
    average, checkpoint = (configuration._setting("evaluation", flag) for flag in (_AVERAGE, _CHECKPOINT))
    if (average is None) == (checkpoint is None):
        raise UserError(f"{path}: evaluation needs one of average-checkpoints: K and checkpoint: best")
    if checkpoint is not None and checkpoint.value != "best":
        raise UserError(f"{checkpoint.place}: {_CHECKPOINT} is {checkpoint.value}; the only choice is best")
    # Each of these refuses what is no number.
    _ = configuration.max_tokens, configuration.tokens_per_update, configuration.average
