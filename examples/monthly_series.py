"""Train, score and forecast a monthly series with a season.

Monthly passengers of international airlines, thousands, 1949 to 1960 (Box and Jenkins, *Time Series
Analysis*, 1970, series G). The last fifth of the months is the test part; each forecast of the next
month sees all earlier actual values. The model is compared with persistence, the naive forecast
that repeats the last month, under several seeds.
"""

import sys
from pathlib import Path

import numpy as np

import legato

FILE = Path(__file__).with_name("passengers.csv")
seeds = range(int(sys.argv[1]) if sys.argv[1:] else 3)

errors = []
for seed in seeds:
    trained = legato.train(FILE, time="month", horizon=1, seed=seed, verbose=0)
    scores = trained.scores
    errors.append(scores["model"]["mae"])
    print(f"seed {seed}: {scores['verdict']}")

persistence = scores["baselines"]["persistence"]["mae"]
mean, deviation = np.mean(errors), np.std(errors, ddof=1)
print(f"mean error {mean:.1f} ± {deviation:.1f}, persistence {persistence:.1f}")
print("every seed beats persistence:", max(errors) < persistence)

year = legato.train(FILE, time="month", horizon=12, verbose=0).forecast(FILE)
(low, high), months = year.ends[0, :, 0, :, 0], year.times[0].astype("M8[M]")
print("the next year, with 80 % intervals:")
for month, number, least, most in zip(months, year.values[0, :, 0], low, high, strict=True):
    print(f"{month} {number:5.0f}  ({least:.0f} to {most:.0f})")
