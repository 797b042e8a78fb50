"""Scores and phase diagrams of structures from files, without a campaign."""
