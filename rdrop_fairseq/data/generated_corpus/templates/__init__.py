"""Sentence templates: functions that write one English sentence and its German translation."""
