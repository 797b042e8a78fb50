"""A GAP of pair terms and `soap_turbo` environments, evaluated in machine code.

quippy spends most of a force call on reading its own arguments and on arrays of descriptor derivatives. Here the slope
of the energy is carried back through the descriptor instead, and a kernel of power two over all sparse points is one
quadratic form. What the descriptor's basis functions are is asked from quippy itself; `relax.gap` compares both
whenever a GAP is built.
"""
