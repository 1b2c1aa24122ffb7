"""Records of all sets of weights, and the model cards and tables made from them."""
