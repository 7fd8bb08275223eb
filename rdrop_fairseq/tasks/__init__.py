"""Importing this package registers the task with fairseq."""

from rdrop_fairseq.tasks import rdrop_translation  # noqa: F401
