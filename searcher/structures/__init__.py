"""Crystals, their terminations, and the templates that a search fills."""
