"""Several processes on this machine that can reach one another, as Lightning's strategies want them."""

import os
from datetime import timedelta

import torch
from torch import distributed


def act(rank, world, what, folder):
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    limit = timedelta(seconds=300)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world, timeout=limit)
    torch.save(what(rank, folder), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def on_processes(world, what, folder):
    """Return what a function of the process's rank and a folder returns on each."""
    torch.multiprocessing.start_processes(act, (world, what, folder), nprocs=world, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]
