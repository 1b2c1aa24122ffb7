"""New processes for tests; they fork from one that has imported everything, so that each starts at once."""

import multiprocessing
import os
from datetime import timedelta

import torch
from torch import distributed

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["sll_zoo.cli.training"])


def on_ranks(world, function, folder, *arguments):
    """Return what ``function(rank, *arguments)`` returns on each of ``world`` processes, joined by gloo through ``folder``."""
    inputs = (world, function, folder, arguments)
    torch.multiprocessing.start_processes(_run, inputs, nprocs=world, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _run(rank, world, function, folder, arguments):
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    limit = timedelta(seconds=300)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world, timeout=limit)
    torch.save(function(rank, *arguments), folder / f"{rank}.pt")
    distributed.destroy_process_group()
