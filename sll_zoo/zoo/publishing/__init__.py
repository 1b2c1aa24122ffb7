"""Saving weights, measuring them again, shipping them with the checkout, sending them to the Hub and fetching them."""
