"""Checking flags with fairseq's own parsers before anything is started, so that a mistake costs seconds, not days."""

import argparse
import ast
import json
import re
import sys
from typing import Any, Callable, Dict, Sequence, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike
from rdrop_fairseq.experiments.configuration import Setting, closest
from rdrop_fairseq.experiments.options import refusal, words_of

# How argparse begins a complaint about one option, all of whose names it gives.
_COMPLAINT = re.compile(r"argument (?P<flags>\S+): (?P<reason>.*)", re.DOTALL)
_INVALID_CHOICE = re.compile(r"invalid choice: .* \(choose from (?P<choices>.*)\)", re.DOTALL)


def check_flags(settings: Sequence[Setting], command: str, data: PathLike) -> Tuple[argparse.Namespace, Dict[str, str]]:
    """Parse flags as ``"fairseq-train"`` or ``"fairseq-generate"`` would.

    Returns:
        The values of all of fairseq's flags, defaults included; and for each flag given the name under which fairseq
        keeps its value, which flags with one meaning share.

    Raises:
        UserError: a flag is unknown to fairseq, lacks its value, has one too many, or one of the wrong kind; the
            message begins with the place of the flag.
    """
    for setting in settings:
        if setting.value == "":
            raise _without_value(setting)
    # Not at the top: this takes seconds, which reading a configuration need not.
    from fairseq import options
    from fairseq.tasks import TASK_REGISTRY

    # This registers what configurations name.
    from rdrop_fairseq.criterions.flags import RDropFlags, check_rdrop_flags
    from rdrop_fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import CRITERION_NAME
    from rdrop_fairseq.tasks import rdrop_translation  # noqa: F401 (importing it registers the task)

    words = [str(data), *words_of(settings)]
    # The first parsers that fairseq makes read the command line of the process.
    previous, sys.argv = sys.argv, [command]
    try:
        if command == "fairseq-train":
            parser = options.get_training_parser()
        else:
            parser, words = options.get_generation_parser(), [*words, "--path", "checkpoint.pt"]
        parser.error = _refuse
        parser._get_value = _complaining(parser._get_value)  # argparse has no public way to convert a value
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
            known = (flag for flag in actions if flag[:2] == "--" and not refusal(flag, command))
            suggestion = closest(setting.flag, known) or "leave it out"
            raise UserError(f"{setting.place}: {setting.flag} is no flag of {command}; {suggestion}")
        if action.nargs == 0 and setting.value is not None:
            raise UserError(f"{setting.place}: {setting.flag} is a switch; leave {setting.value} out")
        _check_value(setting, action.dest)
    if getattr(values, "criterion", None) == CRITERION_NAME:
        tells_update_number = getattr(TASK_REGISTRY[values.task], "tells_update_number", False)
        check_rdrop_flags(RDropFlags.of(values), values.label_smoothing, tells_update_number)
    return values, {setting.flag: actions[setting.flag].dest for setting in settings}


class _RefusedError(Exception):
    """What fairseq's parser says in place of ending the process."""


def _refuse(message: str) -> None:
    raise _RefusedError(message)


def _complaining(convert: Callable[[argparse.Action, str], Any]) -> Callable[[argparse.Action, str], Any]:
    """argparse's conversion of a value, which complains of every value that fairseq's own conversion fails at."""

    def get_value(action: argparse.Action, text: str) -> Any:
        try:
            return convert(action, text)
        except argparse.ArgumentError as error:
            if "<lambda>" not in error.message:
                raise
        except Exception:  # fairseq has Python evaluate lists such as that of --lr
            pass
        raise argparse.ArgumentError(action, "fairseq cannot read this value")

    return get_value


def _is_pair_of_betas(text: str) -> bool:
    betas = ast.literal_eval(text)
    return len(betas) == 2 and all(0 <= beta < 1 for beta in betas)


# By their names in fairseq: text that fairseq reads as something else only when the training or generation has begun,
# and what it has to be.
_READ_LATER = {
    "adam_betas": (_is_pair_of_betas, "(0.9, 0.98), say"),
    "eval_bleu_args": (lambda text: isinstance(json.loads(text), dict), 'JSON such as {"beam": 5}'),
    "eval_bleu_detok_args": (lambda text: isinstance(json.loads(text), dict), 'JSON such as {"target_lang": "de"}'),
    "max_tokens_valid": (lambda text: int(text) > 0, "a whole number above 0"),
    "batch_size_valid": (lambda text: int(text) > 0, "a whole number above 0"),
    "model_overrides": (lambda text: isinstance(ast.literal_eval(text), dict), "{'dropout': 0.1}, say"),
}


def _check_value(setting: Setting, destination: str) -> None:
    if setting.value is None or destination not in _READ_LATER:
        return
    is_right, example = _READ_LATER[destination]
    try:
        right = is_right(setting.value)
    except (SyntaxError, TypeError, ValueError):
        right = False
    if not right:
        raise UserError(f"{setting.place}: fairseq cannot read {setting.flag} {setting.value}; give {example}")


def _without_value(setting: Setting) -> UserError:
    return UserError(f"{setting.place}: {setting.flag} needs a value; write it behind {setting.flag}")


def _translated(complaint: str, settings: Sequence[Setting], command: str) -> UserError:
    """argparse's complaint in one line that begins with the place of the flag."""
    match = _COMPLAINT.fullmatch(complaint)
    flags = match["flags"].split("/") if match else []
    # The last setting of a flag is the one that counts.
    setting = next((setting for setting in reversed(settings) if setting.flag in flags), None)
    if match is None or setting is None:
        return UserError(f"{command} refuses its flags: {complaint}; correct them")
    if setting.value is None:
        return _without_value(setting)
    choice = _INVALID_CHOICE.fullmatch(match["reason"])
    if choice:
        choices = re.findall(r"'([^']+)'", choice["choices"]) or choice["choices"].split(", ")
        suggestion = closest(setting.value, choices) or f"choose from {', '.join(choices[:8])}"
        return UserError(f"{setting.place}: {setting.flag} {setting.value} does not exist; {suggestion}")
    return UserError(f"{setting.place}: {setting.flag} {setting.value}: {match['reason']}; correct it")
