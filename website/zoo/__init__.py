"""The zoo's pages: a table of all networks and a page for each, made of the records and of what lies beside the weights."""
