"""Corpora: the generated sample corpus, and the preparation of real text."""
