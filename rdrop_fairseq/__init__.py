"""R-Drop for neural machine translation: a fairseq plugin, given to fairseq's commands by ``--user-dir``.

Importing this package registers the criterion ``label_smoothed_cross_entropy_with_rdrop`` and the task
``rdrop_translation`` with fairseq. Without fairseq, :mod:`rdrop_fairseq.losses` is usable on its own.
"""

import importlib.util
import sys

__version__ = "0.1.0"

# While Python looks for the module of `python -m rdrop_fairseq....`, argv[0] is "-m". Those commands train nothing,
# and importing fairseq takes seconds.
_is_own_command = sys.argv[:1] == ["-m"]

if not _is_own_command and importlib.util.find_spec("fairseq") is not None:
    from rdrop_fairseq import criterions, tasks  # noqa: F401 (imported because importing registers)
