"""Judging a structure: validity, novelty, surface energy, class, verdict."""
