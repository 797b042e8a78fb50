"""A generator trained and sampled on files, without a campaign."""
