"""Data-parallel training over a ring: each replica has its share of the data; gradients go over TCP.

The platform gives every replica RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun does.
"""

import os
import socket
import struct
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one chip is one core here

import numpy as np

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
MASTER = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
ROWS, COLUMNS, STEPS, RATE = 60_000, 64, 600, 0.1
PATIENCE_SECONDS = 60


def main():
    ring = Ring()
    random = np.random.default_rng(11)
    truth = random.normal(size=COLUMNS)
    everything = random.normal(size=(ROWS, COLUMNS))
    answers = everything @ truth + random.normal(scale=0.1, size=ROWS)
    mine, wanted = everything[RANK::WORLD], answers[RANK::WORLD]
    weights = np.zeros(COLUMNS)
    print(f"replica {RANK} of {WORLD} has {len(mine)} of {ROWS} rows", flush=True)
    for step in range(1, STEPS + 1):
        error = mine @ weights - wanted
        slope = ring.sum(mine.T @ error) / ROWS
        loss = ring.sum(np.array([error @ error]))[0] / ROWS
        weights -= RATE * slope
        if step % 100 == 0 or step == 1:
            print(f"step {step:3d}/{STEPS}  loss over all replicas {loss:.4f}", flush=True)
    apart = ring.sum(weights) / WORLD - weights
    print(
        f"replicas agree to {np.abs(apart).max():.1e}; off the truth by {np.abs(weights - truth).max():.4f}"
    )
    print(f"replica {RANK} sent {ring.sent:,} bytes to its neighbour")
    if np.abs(apart).max() > 1e-9 or loss > 0.02:
        raise SystemExit("the replicas did not learn the same thing")


class Ring:
    """Replica i sends to i + 1 and hears from i − 1."""

    def __init__(self):
        self.sent = 0
        listener = socket.create_server(("", 0))
        listener.settimeout(PATIENCE_SECONDS)
        addresses = self._meet(listener.getsockname()[1])
        self._next = connect(addresses[(RANK + 1) % WORLD])
        self._previous = listener.accept()[0]
        self._previous.settimeout(PATIENCE_SECONDS)

    def _meet(self, port):
        """Everybody tells replica 0 where it listens; replica 0 tells everybody."""
        if RANK > 0:
            master = connect(MASTER)
            send(master, f"{RANK} {master.getsockname()[0]} {port}".encode())
            told = receive(master).decode().split(";")
            return [(host, int(number)) for host, number in (entry.rsplit(" ", 1) for entry in told)]
        listener = socket.create_server(("", MASTER[1]), backlog=WORLD)
        listener.settimeout(PATIENCE_SECONDS)
        guests = [listener.accept()[0] for _ in range(WORLD - 1)]
        addresses = [(MASTER[0], port)] + [("", 0)] * (WORLD - 1)
        for guest in guests:
            rank, host, number = receive(guest).decode().split(" ")
            addresses[int(rank)] = (host, int(number))
        for guest in guests:
            send(guest, ";".join(f"{host} {number}" for host, number in addresses).encode())
        return addresses

    def sum(self, values):
        """The sum over all replicas: what arrives is added and passed on, WORLD − 1 times."""
        total, travelling = values.astype(float).copy(), values.astype(float)
        for _ in range(WORLD - 1):
            data = travelling.tobytes()
            send(self._next, data)
            self.sent += len(data)
            travelling = np.frombuffer(receive(self._previous))
            total += travelling
        return total


def connect(address):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return socket.create_connection(address, timeout=PATIENCE_SECONDS)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def send(stream, data):
    stream.sendall(struct.pack("<I", len(data)) + data)


def receive(stream):
    (length,) = struct.unpack("<I", exactly(stream, 4))
    return exactly(stream, length)


def exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise SystemExit("the neighbour has gone")
        data += piece
    return data


main()
