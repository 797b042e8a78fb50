"""Reference energies, forces and virials for the structures that a potential is fitted to."""
