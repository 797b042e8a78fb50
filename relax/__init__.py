"""From a structure to an energy one can trust: potentials, relaxation, labelling and fitting."""
