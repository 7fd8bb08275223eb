"""Reading the JSON files that this package writes, with the type of every value checked.

People edit such files, and other programs write similar ones. What does not fit is refused here, by its place in the
file, so that no other code has to doubt what it was given.
"""

import dataclasses
import json
import math
from typing import Any, Dict, List, Type, TypeVar, Union, get_args, get_origin, get_type_hints

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike
from rdrop_fairseq.common.text import read_lines

Record = TypeVar("Record")
_IN_JSON = {str: "a text", int: "a whole number", float: "a finite number", bool: "true or false", dict: "an object"}


def read_record(
    path: PathLike, kind: Type[Record], writer: str, remedy: str = "make it anew", partial: bool = False
) -> Record:
    """A dataclass from a JSON file.

    Entries must have the types of the dataclass' annotations (str, int, float, bool, Optional, Union, Dict[str, ...],
    Tuple[..., ...], NamedTuple, other dataclasses). Those with a default may be missing; unknown ones are refused.

    Args:
        path: the file.
        kind: the dataclass; its ``__post_init__`` may refuse values with a ValueError.
        writer: the program that writes such files, for messages.
        remedy: what to do about a file that does not fit, for messages.
        partial: the dataclass has a part of the entries; others are not looked at.

    Raises:
        UserError: the file is missing, no JSON, or does not fit; the message names the entry.
    """
    text = "\n".join(read_lines(path))
    try:
        content = json.loads(text)
        if partial and isinstance(content, dict):
            content = {name: content[name] for name in get_type_hints(kind) if name in content}
        return _checked(kind, content, "")
    except (ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is not what {writer} writes ({error}); {remedy}") from error


def _checked(kind: Any, value: Any, place: str) -> Any:
    """``value``, of JSON, as ``kind``; ``place`` says where in the file it stands."""
    arguments, origin = get_args(kind), get_origin(kind) or kind
    if origin is Union:
        choices = [choice for choice in arguments if choice is not type(None)]
        if value is None and len(choices) < len(arguments):
            return None
        exact = next((choice for choice in choices if choice is type(value)), choices[0])
        return _checked(exact, value, place)
    if origin is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if origin in (str, int, bool) and type(value) is origin:
        return value
    if origin is dict and isinstance(value, dict):
        return {name: _checked(arguments[1], entry, f"{place}.{name}") for name, entry in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_checked(arguments[0], entry, f"{place}[{index}]") for index, entry in enumerate(value))
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return kind(**_checked_fields(kind, value, place))
    names: List[str] = list(getattr(kind, "_fields", ()))  # a NamedTuple, which JSON has as a list
    if names and isinstance(value, list) and len(value) == len(names):
        return kind(**_checked_fields(kind, dict(zip(names, value)), place))
    wanted = _IN_JSON.get(origin) or ("a list" if issubclass(origin, tuple) else _IN_JSON[dict])
    raise ValueError(f"{place.lstrip('.') or 'the whole'} is {json.dumps(value)[:40]}, not {wanted}")


def _checked_fields(kind: Any, values: Dict[str, Any], place: str) -> Dict[str, Any]:
    hints = get_type_hints(kind)
    unknown = next((name for name in values if name not in hints), None)
    if unknown is not None:
        raise ValueError(f"it has an unknown entry {f'{place}.{unknown}'.lstrip('.')[:80]}")
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        if field.name not in values and field.default is dataclasses.MISSING:
            raise ValueError(f"it lacks {f'{place}.{field.name}'.lstrip('.')}")
    return {name: _checked(hints[name], value, f"{place}.{name}") for name, value in values.items()}
