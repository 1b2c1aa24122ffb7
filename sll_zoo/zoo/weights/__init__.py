"""Files of weights: found, read, checked, packed, divided."""
