"""Multiply matrices for some seconds as fast as the chip lets us, and say how much of it that was."""

import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

SECONDS = 6

matrix = np.random.default_rng(3).normal(size=(200, 200))
began, used, products = time.monotonic(), time.process_time(), 0
while time.monotonic() - began < SECONDS:
    for _ in range(20):
        matrix = np.tanh(matrix @ matrix)
    products += 20
    if products % 400 == 0:
        share = (time.process_time() - used) / (time.monotonic() - began)
        print(f"{products:6d} products, {share:.0%} of a core", flush=True)
share = (time.process_time() - used) / (time.monotonic() - began)
print(f"did {products} products with {share:.0%} of a core on core(s) {sorted(os.sched_getaffinity(0))}")
