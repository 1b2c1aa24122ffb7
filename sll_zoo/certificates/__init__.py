"""What is proved of a network, measured with the proof, and searched for against it."""
