"""Pure functions of tensors: the algebra of the paper, without modules and without I/O."""
