"""Experiments as configuration files, and training them with one global batch on any number of processes."""
