"""What is known of each set of weights, and the pages that are made of it."""
