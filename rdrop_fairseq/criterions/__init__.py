"""Importing this package registers the criterion with fairseq."""

from rdrop_fairseq.criterions import label_smoothed_cross_entropy_with_rdrop  # noqa: F401
