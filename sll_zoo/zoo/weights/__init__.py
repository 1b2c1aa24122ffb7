"""Files of weights: finding, reading, checking, packing and sharding them."""
