"""How this package puts its own functions in the place of fairseq's: once, and with a mark that says so."""

import functools
import inspect
from typing import Any, Callable

MARK = "_rdrop_fairseq_replacement"
"""The attribute of a function in fairseq's place: the names of the functions of this package that made it."""


def replace_once(owner: Any, name: str, make_replacement: Callable[[Callable], Callable]) -> None:
    """Put ``make_replacement(function)`` in the place of the function ``owner.name``, if that has not been done yet.

    Several replacements of one function lie around each other. The mark is an attribute of our own. ``__wrapped__``
    would not do: any plugin that wraps a function of fairseq with ``functools.wraps`` sets it. A wrapper that another
    plugin lays around ours in that way carries our mark on, and ours within, so it is left alone.

    Args:
        owner: a module or a class. Nothing is done if it lacks the function, as a fork of fairseq may.
        name: the name of a function, method or static method.
        make_replacement: makes the new function; it is given the one that is in place.
    """
    current = getattr(owner, name, None)
    made = getattr(current, MARK, frozenset())
    maker = f"{make_replacement.__module__}.{make_replacement.__qualname__}"
    if current is None or maker in made:
        return
    replacement = functools.wraps(current)(make_replacement(current))
    setattr(replacement, MARK, made | {maker})
    is_static = isinstance(inspect.getattr_static(owner, name), staticmethod)
    setattr(owner, name, staticmethod(replacement) if is_static else replacement)
