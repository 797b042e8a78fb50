"""Proposals relaxed in a surrogate potential, taught by the campaign, before a force call is spent on them."""
