"""Documents that are read and not written: their prose with its places, for summaries and answers."""
