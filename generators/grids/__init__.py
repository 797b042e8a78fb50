"""Density grids: atoms to voxels and back."""
