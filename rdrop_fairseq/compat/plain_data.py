"""What fairseq's checkpoints hold besides tensors, allowed by name: so that loading one never runs code.

torch has ``torch.load(weights_only=True)`` for that, and since 2.4 it can be told of further types. Earlier ones cannot
and refuse every checkpoint of fairseq. There this module takes the place of ``torch._weights_only_unpickler``: Python's
own unpickler, with the same types allowed and no others.
"""

import argparse
import codecs
import functools
import importlib
import pickle
import sys
from typing import Any, BinaryIO, Callable, Dict

import numpy
import torch


def allow_safe_checkpoint_loading() -> None:
    """Let ``torch.load(weights_only=True)``, the default since torch 2.6, read fairseq's checkpoints.

    Loading stays safe: what is allowed is plain data, and no code is run. For 0.12.2 and fairseq-fixed; main loads its
    own checkpoints unsafely and needs it for :func:`rdrop_fairseq.compat.load_checkpoint` alone, as all do before torch
    2.6.
    """
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals(list(_allowed().values()))
    else:
        torch.serialization._weights_only_unpickler = sys.modules[__name__]


@functools.lru_cache(maxsize=None)
def _allowed() -> Dict[str, Any]:
    """Full name in a file -> class or function, for what torch does not allow by itself.

    fairseq writes an ``argparse.Namespace`` and, after a run with ``--eval-bleu``, numpy's arrays and scalars. These
    hold bytes, which a pickle of torch has as text; torch allows their encoding by itself since 2.5.
    """
    classes = [argparse.Namespace, numpy.ndarray, numpy.dtype]
    classes += sorted({type(numpy.dtype(code)) for code in "?bBhHiIlLqQefd"}, key=lambda kind: kind.__name__)
    allowed: Dict[str, Any] = {f"{kind.__module__}.{kind.__name__}": kind for kind in (*classes, codecs.encode)}
    # numpy 2 renamed numpy.core to numpy._core, of which numpy 1.26 has a stub. A file carries the name of the version
    # that wrote it.
    package = "numpy._core" if int(numpy.__version__.split(".")[0]) >= 2 else "numpy.core"
    multiarray = importlib.import_module(f"{package}.multiarray")
    for package in ("numpy.core", "numpy._core"):
        for name in ("_reconstruct", "scalar"):
            allowed[f"{package}.multiarray.{name}"] = _named(getattr(multiarray, name), f"{package}.multiarray", name)
    return allowed


def _named(function: Callable, module: str, name: str) -> Callable:
    """``function`` under another name, because torch 2.4 and 2.5 ask what is allowed for its name."""

    def renamed(*arguments: Any) -> Any:
        return function(*arguments)

    renamed.__module__, renamed.__name__, renamed.__qualname__ = module, name, name
    return renamed


@functools.lru_cache(maxsize=None)
def _allowed_before_torch_2_4() -> Dict[str, Any]:
    """The same, with what torch allows by itself, and what it does since 2.4."""
    from torch._weights_only_unpickler import _get_allowed_globals

    later = {"torch.uint8": torch.uint8, "torch.bool": torch.bool}
    return {**_get_allowed_globals(), **later, **_allowed()}


class Unpickler(pickle._Unpickler):
    """Python's unpickler, for what torch allows by itself and what fairseq's checkpoints hold."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of that name.

        Raises:
            pickle.UnpicklingError: it is not allowed.
        """
        try:
            return _allowed_before_torch_2_4()[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not allowed") from None

    def load_build(self) -> None:
        """Give an object its state; but none to a class or a function, which would then do something else."""
        kind = type(self.stack[-2])
        if kind not in _allowed_before_torch_2_4().values():
            raise pickle.UnpicklingError(f"GLOBAL {kind.__module__}.{kind.__name__} is not allowed a state")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load(file: BinaryIO, **options: Any) -> Any:
    """What ``pickle.load`` does, with :class:`Unpickler`: torch's older file format needs it."""
    return Unpickler(file, **options).load()
