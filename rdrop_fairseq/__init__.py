"""R-Drop for neural machine translation: a fairseq plugin, given to fairseq's commands by ``--user-dir``.

Importing this package registers the criterion ``label_smoothed_cross_entropy_with_rdrop`` and the task
``rdrop_translation`` with fairseq. Without fairseq, :mod:`rdrop_fairseq.losses` is usable on its own.
"""

import importlib.util

__version__ = "0.1.0"

if importlib.util.find_spec("fairseq") is not None:
    from rdrop_fairseq import criterions, tasks  # noqa: F401 (imported because importing registers)
