"""A Gaussian approximation potential from labelled frames."""
