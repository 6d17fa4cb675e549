"""Train the 25-Gaussians DDGAN from fresh seeds: one JSON object per seed, CPU seconds included.

python benchmarks/gaussians.py --seeds 5
"""

import argparse
import json
import time

import torch

from ddgan_lite import results
from ddgan_lite.data import gaussian_grid
from ddgan_lite.metrics import mixture_scores
from ddgan_lite.model import DDGAN
from ddgan_lite.networks import MLPConfig
from ddgan_lite.training import TrainSettings, train

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--seeds", type=int, default=5, help="number of runs")
parser.add_argument("--first", type=int, default=0, help="the first seed")
parser.add_argument("--steps", type=int, default=TrainSettings.steps)
parser.add_argument("--samples", type=int, default=10_000)
parser.add_argument("--store", action="store_true", help="keep them in book/results")
arguments = parser.parse_args()

torch.set_num_threads(1)  # networks this small run fastest on one thread
torch.set_flush_denormal(True)  # Adam's averages of idle units decay into slow, tiny numbers
data = gaussian_grid()
# The first optimiser of a process imports torch's compiler, some seconds that are no training.
next(train(DDGAN(MLPConfig()), data, TrainSettings(steps=1)))
rows = []
for seed in range(arguments.first, arguments.first + arguments.seeds):
    torch.manual_seed(seed)
    model = DDGAN(MLPConfig(), step_weights=(11, 3, 3, 3))
    begin = time.process_time()
    for _ in train(model, data, TrainSettings(steps=arguments.steps, seed=seed)):
        pass
    seconds = time.process_time() - begin
    samples = model.sample(arguments.samples, rng=torch.Generator().manual_seed(10_000 + seed))
    scores = mixture_scores(samples, data)
    rows.append({"seed": seed, **scores, "cpu_seconds": round(seconds, 1)})
    print(json.dumps(rows[-1]), flush=True)
if arguments.store:
    command = f"python benchmarks/gaussians.py --seeds {arguments.seeds} --store"
    results.store("bench_gaussians", command, {"steps": arguments.steps, "rows": rows})
