"""The command ``sll-zoo``; a command's function is ``run_`` and its name."""
