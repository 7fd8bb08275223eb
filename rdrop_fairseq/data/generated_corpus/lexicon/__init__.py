"""The words: nouns, compounds, adjectives, verbs, names, places and adverbials, as tables."""
