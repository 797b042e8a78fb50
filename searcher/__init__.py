"""An autonomous searcher for surface terminations of rutile oxides."""
