"""Generator and critic, their layers, conditions and losses."""
