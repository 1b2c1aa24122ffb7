"""The zoo's own commands: each file adds some to the parser, with the function that runs them."""
