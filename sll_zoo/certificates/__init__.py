"""Certificates of networks, measurements and audits with them, and attacks that test them."""
