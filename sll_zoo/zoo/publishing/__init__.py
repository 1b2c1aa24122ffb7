"""The ways of weights: saved, measured again, shipped with the checkout, sent to the Hub and fetched from it."""
