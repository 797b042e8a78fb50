"""Proposals: density grids, networks and random placement."""
