"""A page on which a browser classifies and certifies images itself, and the files that it needs."""

from sll_zoo.deployment.browser.folder import write_exported, write_network, write_page
from sll_zoo.deployment.browser.serving import server_of

__all__ = ["server_of", "write_exported", "write_network", "write_page"]
