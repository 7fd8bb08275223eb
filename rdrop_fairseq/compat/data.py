"""Flags for the data that fairseq offers and that fail, most of them with a numpy of today."""

import importlib
from types import SimpleNamespace
from typing import Any, Callable

import numpy

from rdrop_fairseq.compat.replacement import replace_once

# The modules with such names that the data of translation, language_modeling and sentence_prediction pass through.
MODULES = ("fairseq.data.data_utils", "fairseq.data.language_pair_dataset", "fairseq.data.token_block_dataset")


class _NumpyWithOldNames:
    """numpy, and what fairseq uses of it that is gone since numpy 2: a module, and an option of a function."""

    compat = SimpleNamespace(long=int)

    @staticmethod
    def percentile(values: Any, percentages: Any, interpolation: str = "linear") -> Any:
        try:
            return numpy.percentile(values, percentages, method=interpolation)
        except TypeError:  # before numpy 1.22
            return numpy.percentile(values, percentages, interpolation=interpolation)

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy, name)


def give_numpy_its_old_names() -> None:
    """Let ``--num-batch-buckets`` and ``--sample-break-mode eos`` work with numpy of today.

    Only modules of fairseq see the old names; numpy itself is not changed. For all three versions.
    """
    for name in MODULES:
        module = importlib.import_module(name)
        if module.np is numpy:
            module.np = _NumpyWithOldNames()


def let_upsampling_be_left_out() -> None:
    """Take ``train``, where there is a ``train1`` beside it, once if ``--upsample-primary`` is not given.

    Its default, -1, made a data set of negative length. For all three versions.
    """
    from fairseq.tasks import translation

    def make(load: Callable) -> Callable:
        def load_langpair_dataset(*args: Any, **options: Any) -> Any:
            if options.get("upsample_primary") == -1:
                options["upsample_primary"] = 1
            return load(*args, **options)

        return load_langpair_dataset

    replace_once(translation, "load_langpair_dataset", make)
