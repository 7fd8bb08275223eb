"""Checking flags with fairseq's own parsers before anything is started, so that a mistake costs seconds, not days."""

import argparse
import re
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Union

from rdrop_fairseq.errors import UserError
from rdrop_fairseq.recipes.configuration import Setting, closest

# How argparse begins a complaint about one option, all of whose names it gives.
_COMPLAINT = re.compile(r"argument (?P<flags>\S+): (?P<reason>.*)", re.DOTALL)
_INVALID_CHOICE = re.compile(r"invalid choice: .* \(choose from (?P<choices>.*)\)", re.DOTALL)


class CheckedFlags(NamedTuple):
    """Flags that fairseq understands."""

    destinations: Dict[str, str]
    """Flag -> the name under which fairseq keeps its value; flags with one meaning share it."""
    values: argparse.Namespace
    """The values of all of fairseq's flags, defaults included."""


def check_training_flags(settings: Sequence[Setting], data: Union[str, Path]) -> CheckedFlags:
    """Parse the flags of fairseq-train as it would.

    Raises:
        UserError: a flag is unknown to fairseq, lacks its value, has one too many, or one of the wrong kind; the
            message begins with the place of the flag.
    """
    return _check(settings, "fairseq-train", [str(data)])


def check_generation_flags(settings: Sequence[Setting], data: Union[str, Path]) -> CheckedFlags:
    """The same for fairseq-generate."""
    return _check(settings, "fairseq-generate", [str(data), "--path", "checkpoint.pt"])


class _RefusedError(Exception):
    """What fairseq's parser says in place of ending the process."""


def _refuse(message: str) -> None:
    raise _RefusedError(message)


def _check(settings: Sequence[Setting], command: str, words: List[str]) -> CheckedFlags:
    # Not at the top: this takes seconds, which reading a configuration need not.
    from fairseq import options

    from rdrop_fairseq import criterions, tasks  # noqa: F401 (registers what configurations name)

    words = words + [word for setting in settings for word in setting.words]
    # The first parsers that fairseq makes read the command line of the process.
    previous, sys.argv = sys.argv, [command]
    try:
        parser = options.get_training_parser() if command == "fairseq-train" else options.get_generation_parser()
        parser.error = _refuse
        values, _ = options.parse_args_and_arch(parser, input_args=words, parse_known=True)
    except _RefusedError as error:
        raise _translated(str(error), settings, command) from None
    finally:
        sys.argv = previous
    # What is chosen by name (--arch, --optimizer, ...) has flags of its own; by now the parser knows all of them.
    actions = parser._option_string_actions  # argparse has no public way to ask for these
    for setting in settings:
        action = actions.get(setting.flag)
        if action is None:
            suggestion = closest(setting.flag, (flag for flag in actions if flag.startswith("--")))
            raise UserError(f"{setting.place}: {setting.flag} is no flag of {command}; {suggestion or 'leave it out'}")
        if action.nargs == 0 and setting.value is not None:
            raise UserError(f"{setting.place}: {setting.flag} is a switch; leave {setting.value} out")
    return CheckedFlags({setting.flag: actions[setting.flag].dest for setting in settings}, values)


def _translated(complaint: str, settings: Sequence[Setting], command: str) -> UserError:
    """argparse's complaint in one line that begins with the place of the flag."""
    match = _COMPLAINT.fullmatch(complaint)
    setting = match and _named(match["flags"].split("/"), settings)
    if not setting:
        return UserError(f"{command} refuses its flags: {complaint}; correct them")
    if setting.value is None:
        return UserError(f"{setting.place}: {setting.flag} needs a value; write it behind {setting.flag}")
    choice = _INVALID_CHOICE.fullmatch(match["reason"])
    if choice:
        choices = re.findall(r"'([^']+)'", choice["choices"]) or choice["choices"].split(", ")
        suggestion = closest(setting.value, choices) or f"choose from {', '.join(choices[:8])}"
        return UserError(f"{setting.place}: {setting.flag} {setting.value} does not exist; {suggestion}")
    return UserError(f"{setting.place}: {setting.flag} {setting.value}: {match['reason']}; correct it")


def _named(flags: Sequence[str], settings: Sequence[Setting]) -> Optional[Setting]:
    """The last setting of a flag, which is the one that counts."""
    return next((setting for setting in reversed(settings) if setting.flag in flags), None)
