"""Reading an experiment's configuration (``configs/NAME.args``), the single source of its hyper-parameters.

A configuration is text: ``#`` begins a comment, ``[section]`` a section, and every other line is a flag, followed by
its value unless it is a switch. A value reaches to the end of its line, blanks and quotes included.

    [model]       --arch and what else describes the architecture; left out when a command line names another --arch
    [training]    flags of fairseq-train, for the baseline and for R-Drop
    [batch]       --max-tokens and --tokens-per-update: the global batch, whatever the number of processes
    [baseline]    flags of fairseq-train for the baseline alone, among them --task and --criterion
    [rdrop]       the same for R-Drop
    [data]        --recipe, --source-lang, --target-lang
    [evaluation]  --average-checkpoints K or --checkpoint best; all else are flags of fairseq-generate


"""

import argparse
import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

from rdrop_fairseq.common.errors import UserError

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
AVERAGE_FLAG = "--average-checkpoints"
CHECKPOINT_FLAG = "--checkpoint"
_COMMENT = re.compile(r"(^|\s)#.*")
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
    """A configuration file as read; flags of fairseq are not checked yet (see :mod:`.fairseq_flags`)."""

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
        return _positive_number(self._setting("batch", "--max-tokens"))

    @property
    def tokens_per_update(self) -> int:
        """Tokens, padding included, of all batches of one update: the global batch."""
        return _positive_number(self._setting("batch", "--tokens-per-update"))

    @property
    def average(self) -> Optional[int]:
        """How many of the last checkpoints are averaged before generation; None where the best one is used."""
        setting = self._setting("evaluation", AVERAGE_FLAG)
        return None if setting is None else _positive_number(setting)

    @property
    def generation(self) -> Tuple[Setting, ...]:
        """The flags of fairseq-generate."""
        own = (AVERAGE_FLAG, CHECKPOINT_FLAG)
        return tuple(setting for setting in self.sections["evaluation"] if setting.flag not in own)

    def training(self, variant: str, with_model: bool = True) -> Tuple[Setting, ...]:
        """The flags of fairseq-train for ``"rdrop"`` or ``"baseline"``, with or without those of [model]."""
        sections = (["model"] if with_model else []) + ["training", variant]
        return tuple(setting for section in sections for setting in self.sections[section])

    def _setting(self, section: str, flag: str) -> Optional[Setting]:
        return next((setting for setting in self.sections[section] if setting.flag == flag), None)

    def _value(self, section: str, flag: str) -> str:
        return self._setting(section, flag).value


def read_configuration(path: Union[str, Path]) -> Configuration:
    """Read a configuration.

    Raises:
        UserError: the file is missing or no text; a section or a flag of ours is unknown, given twice, missing, or
            without its value. The message names file, line and flag.
    """
    path = Path(path)
    try:
        # Some editors begin UTF-8 text with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"cannot read configuration {path}: {error.strerror}; give a path of an .args file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"configuration {path} is not UTF-8 text; save it as UTF-8") from error
    sections: Dict[str, List[Setting]] = {}
    current = None
    for number, line in enumerate(lines, start=1):
        line = _COMMENT.sub("", line).strip()
        place = f"{path}:{number}"
        if line.startswith("["):
            current = _section(line, place, sections)
            sections[current] = []
        elif line:
            if current is None:
                raise UserError(f"{place}: {line.split()[0]} stands before the first section; begin with [model]")
            sections[current].append(_setting(line, place, current, sections))
    configuration = Configuration(path, {name: tuple(settings) for name, settings in sections.items()})
    _check_complete(configuration)
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


def _section(line: str, place: str, sections: Dict[str, List[Setting]]) -> str:
    name = line[1:-1] if line.endswith("]") else line
    if name not in SECTIONS:
        suggestion = closest(name, SECTIONS) or f"the sections are {', '.join(SECTIONS)}"
        raise UserError(f"{place}: unknown section {line}; {suggestion}")
    if name in sections:
        raise UserError(f"{place}: the section [{name}] is there twice; put its flags together")
    return name


def _setting(line: str, place: str, section: str, sections: Dict[str, List[Setting]]) -> Setting:
    flag, *value = line.split(None, 1)
    if not is_flag(flag):
        raise UserError(f"{place}: {flag} is no flag; write --flag, or --flag VALUE, one a line")
    setting = Setting(flag, value[0] if value else None, place)
    known = SECTIONS[section]
    if section in _OWN_SECTIONS and flag not in known:
        suggestion = closest(flag, known) or f"[{section}] has {', '.join(known)}"
        raise UserError(f"{place}: unknown key {flag} in [{section}]; {suggestion}")
    # A flag counts once in what a run is given, so the sections of a variant must not repeat each other.
    for other in _combined_with(section):
        for earlier in sections.get(other, []):
            if earlier.flag == flag:
                raise UserError(f"{place}: {flag} is given twice, first in {earlier.place}; leave one out")
    if setting.value is None and (flag in known or flag in (AVERAGE_FLAG, CHECKPOINT_FLAG)):
        raise UserError(f"{place}: {flag} needs a value; write it behind {flag}")
    return setting


def _combined_with(section: str) -> Sequence[str]:
    """The sections whose flags reach one command line together with those of this one."""
    if section in ("model", "training"):
        return ("model", "training", *VARIANTS)
    if section in VARIANTS:
        return ("model", "training", section)
    return (section,)


def _check_complete(configuration: Configuration) -> None:
    path, sections = configuration.path, configuration.sections
    for name, flags in SECTIONS.items():
        if name not in sections:
            raise UserError(f"{path}: the section [{name}] is missing; add it")
        present = {setting.flag for setting in sections[name]}
        for flag in flags:
            if flag not in present:
                raise UserError(f"{path}: {flag} is missing in [{name}]; add it")
    _positive_number(configuration._setting("batch", "--max-tokens"))
    _positive_number(configuration._setting("batch", "--tokens-per-update"))
    average = configuration._setting("evaluation", AVERAGE_FLAG)
    checkpoint = configuration._setting("evaluation", CHECKPOINT_FLAG)
    if (average is None) == (checkpoint is None):
        raise UserError(f"{path}: [evaluation] needs one of {AVERAGE_FLAG} K and {CHECKPOINT_FLAG} best")
    if average is not None:
        _positive_number(average)
    elif checkpoint.value != "best":
        raise UserError(f"{checkpoint.place}: {CHECKPOINT_FLAG} is {checkpoint.value}; the only choice is best")


def _positive_number(setting: Setting) -> int:
    if not re.fullmatch(r"[1-9]\d*", setting.value):
        raise UserError(f"{setting.place}: {setting.flag} is {setting.value}; give a whole number above 0")
    return int(setting.value)


def main(argv: Optional[List[str]] = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq.experiments.configuration",
        description="Print the flags and values of sections of a configuration, one a line.",
    )
    parser.add_argument("file", help="a configuration, such as configs/quickstart.args")
    parser.add_argument("section", nargs="+", choices=list(SECTIONS), help="which sections, in this order")
    options = parser.parse_args(argv)
    configuration = read_configuration(options.file)
    for section in options.section:
        for setting in configuration.sections[section]:
            print(*setting.words, sep="\n")


if __name__ == "__main__":
    main()
