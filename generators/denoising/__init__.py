"""A voxel denoiser: noisy grids to clean ones, and samples by taking noise away step by step."""
