"""What each way to search finds for the same number of force calls."""
