"""What comes after training: averaging checkpoints, scoring translations, reading logs, and the report with its plots.

Every module is a library of public functions. Three of them are command lines too: ``python -m
rdrop_fairseq.evaluation.average``, ``.score`` and ``.report``.
"""
