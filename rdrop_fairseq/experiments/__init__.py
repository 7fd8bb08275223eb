"""The engine: from a configuration to data, trainings, translations, scores and a report."""
