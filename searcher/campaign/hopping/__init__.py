"""Grand-canonical basin hopping: Markov chains over a template's terminations."""
