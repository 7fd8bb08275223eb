"""R-Drop for neural machine translation: a fairseq plugin, given to fairseq's commands by ``--user-dir``.

Importing this package registers the criterion ``label_smoothed_cross_entropy_with_rdrop`` and the task
``rdrop_translation`` with fairseq: at once if fairseq has been imported, as it has when it imports its user directory,
and otherwise as soon as it is. This package itself does not import fairseq, so that :mod:`rdrop_fairseq.losses` can be
used without it.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Optional, Sequence

__version__ = "0.2.0"


def _register() -> None:
    """Register the criterion and the task with fairseq, which must have been imported."""
    from rdrop_fairseq import criterions, tasks  # noqa: F401 (imported because importing registers)


class _RegisterAfterFairseq:
    """A finder of modules that has the plugin registered as soon as fairseq has been imported, and then goes.

    Without it, a program that imports this package first and fairseq later would train with fairseq's own criterion of
    the same name, and say nothing.
    """

    _searching = False

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """What the other finders know of fairseq, with a loader that also registers; None for other modules."""
        if name != "fairseq" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None and hasattr(spec.loader, "exec_module"):
            loader: Any = spec.loader  # made for this module alone
            execute = loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                # Not when it is found: many a program looks for a module only to know whether it is installed.
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                _register()

            loader.exec_module = execute_and_register
        return spec


if sys.modules.get("fairseq") is not None:
    _register()
else:
    sys.meta_path.insert(0, _RegisterAfterFairseq())
