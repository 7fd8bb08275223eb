"""What comes after training: averaging checkpoints, scoring translations, reading logs, plots and the report.

Every module is a library of public functions with a thin command line: ``python -m
rdrop_fairseq.evaluation.average``, ``.score`` and ``.report``.
"""
