"""Data-parallel training that may change its number of replicas at any checkpoint (PyTorch, gloo).

The batch of each step is the same whatever the number of replicas: each takes its part of it, and the gradients are
averaged. So the loss goes on exactly where it was. All replicas must leave after the same step: whether one of them has
been asked to is part of what they tell each other at every step. Needs PyTorch and nothing of Flexai: what it says and
hears are two files and a signal.
"""

import json
import os
import signal
import time
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
STEPS, BATCH = int(os.environ.get("STEPS", "2000")), 48
PAUSE = float(os.environ.get("PAUSE", "0"))
"""Seconds between steps, to make a small model last."""
SAVED_EVERY = 100
STATE = Path(os.environ.get("FLEXAI_CHECKPOINT_DIR", ".")) / "training.pt"

leaving = torch.zeros(1)
said = {}


def main():
    signal.signal(signal.SIGUSR1, lambda *_: leaving.fill_(1))
    torch.manual_seed(7)
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=RANK, world_size=WORLD)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step, losses = load(model, optimizer)
    parallel = DistributedDataParallel(model)
    print(f"from step {step} on {WORLD} replicas", flush=True)
    begun, first = time.monotonic(), step
    while step < STEPS:
        losses.append(train(parallel, optimizer, step))
        step += 1
        time.sleep(PAUSE)
        if RANK == 0:
            say(step=step, loss=losses[-1], throughput=(step - first) * BATCH / (time.monotonic() - begun))
        if any_of_us(leaving):
            break
        if step % SAVED_EVERY == 0:
            save(model, optimizer, step, losses)
    save(model, optimizer, step, losses)
    print(f"until step {step}, loss {losses[-1]:.6f}", flush=True)
    distributed.barrier()


def train(model, optimizer, step):
    """One step on this replica's part of the step's batch; the mean loss of all."""
    inputs, wanted = batch(step)
    loss = nn.functional.mse_loss(model(inputs[RANK::WORLD]), wanted[RANK::WORLD])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    told = loss.detach().clone()
    distributed.all_reduce(told)
    return told.item() / WORLD


def batch(step):
    """The same for this step, however many share it."""
    dice = torch.Generator().manual_seed(step)
    inputs = torch.rand(BATCH, 8, generator=dice) * 2 - 1
    return inputs, (inputs[:, :1] * inputs[:, 1:2] + inputs[:, 2:].sum(1, keepdim=True)).sin()


def any_of_us(flag):
    told = flag.clone()
    distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
    return bool(told.item())


def load(model, optimizer):
    if not STATE.exists():
        return 0, []
    found = torch.load(STATE)
    model.load_state_dict(found["model"])
    optimizer.load_state_dict(found["optimizer"])
    return found["step"], found["losses"]


def save(model, optimizer, step, losses):
    """The first replica saves for all; whole or not at all."""
    if RANK > 0:
        return
    say(step=step, checkpoint="saving")
    beside = STATE.with_suffix(".new")
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "losses": losses},
        beside,
    )
    beside.replace(STATE)
    say(checkpoint="saved", checkpoint_step=step, checkpoint_at=time.time())


def say(**words):
    """All that was said so far, as one line of JSON in the file that the platform reads."""
    said.update(words)
    path = os.environ.get("FLEXAI_PROGRESS_FILE")
    if path:
        Path(path).write_text(json.dumps(said) + "\n")


main()
