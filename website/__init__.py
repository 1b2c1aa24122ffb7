"""What the site is built with: hooks of MkDocs, and pictures. Nothing here is part of the installed package."""
