"""Simulate rows on thousands of workers: how fast a driver commits, what it holds, and what is done twice.

    python -m tests.simulate_cluster [--rows N] [--workers N]

Time is simulated: an event for each batch that ends and each worker that dies. A driver plans ahead and
commits in order, as `llmkit.records.processing.pipeline` does; its costs are fields of `Cluster`. The last
table cuts the rows into shards with a driver each.
"""

import argparse
import heapq
import math
import random
from dataclasses import dataclass


@dataclass
class Cluster:
    """A cluster and its work.

    Attributes:
        rows: rows in all.
        workers: GPUs.
        batch: rows of a batch.
        seconds: mean time of a batch on a worker of mean speed.
        spread: standard deviation of the logarithm of the workers' speeds, and of the batches' times.
        straggler, slower: share of batches that are slower, and by how much.
        deaths: deaths of a worker in an hour.
        restart: seconds until a dead worker computes again.
        driver: seconds of the driver's CPU for a row: tokenize, send, receive, write.
        sync: seconds of one fsync, which a group of batches shares.
        ahead: batches that are planned for each worker.
    """

    rows: int
    workers: int
    batch: int = 64
    seconds: float = 8.0
    spread: float = 0.15
    straggler: float = 0.001
    slower: float = 10.0
    deaths: float = 0.02
    restart: float = 180.0
    driver: float = 120e-6
    sync: float = 0.004
    ahead: int = 8


@dataclass
class Found:
    """What a simulation found.

    Attributes:
        hours: time of the run.
        busy: share of the workers' time in which they computed rows that were kept.
        redone: share of the batches that ran again, because their worker died.
        held: most batches that had an answer and waited for an earlier one.
        driver: share of the time in which the driver was busy.
        rate: rows that were committed in a second.
    """

    hours: float
    busy: float
    redone: float
    held: int
    driver: float
    rate: float


def simulate(cluster, seed=0):
    """Run the events of one driver and its workers."""
    rng = random.Random(seed)
    speeds = [rng.lognormvariate(0, cluster.spread) for _ in range(cluster.workers)]
    batches = math.ceil(cluster.rows / cluster.batch)
    limit = cluster.ahead * cluster.workers
    events, idle = [], list(range(cluster.workers))
    again, done = [], set()
    planned = committed = redone = held = 0
    useful = now = free = driver = 0.0

    while committed < batches:
        # The driver sends batches as long as the plan has room.
        while idle and (again or (planned < batches and planned - committed < limit)):
            number = again.pop() if again else planned
            planned += number == planned
            worker = idle.pop()
            cost = cluster.driver * cluster.batch
            free = max(free, now) + cost
            driver += cost
            time = cluster.seconds / speeds[worker] * rng.lognormvariate(0, cluster.spread)
            time *= cluster.slower if rng.random() < cluster.straggler else 1.0
            dies = rng.expovariate(cluster.deaths / 3600)
            heapq.heappush(events, (free + min(time, dies), worker, number, time if dies > time else None))
        now, worker, number, time = heapq.heappop(events)
        if number is None:  # a worker is there again
            idle.append(worker)
            continue
        if time is None:
            redone += 1
            again.append(number)
            heapq.heappush(events, (now + cluster.restart, worker, None, None))
            continue
        useful += time
        idle.append(worker)
        done.add(number)
        before = committed
        while committed in done:
            done.remove(committed)
            committed += 1
        if committed > before:
            free = max(free, now) + cluster.sync
            driver += cluster.sync
        held = max(held, len(done))
    end = max(now, free)
    return Found(
        end / 3600,
        useful / (end * cluster.workers),
        redone / batches,
        held,
        driver / end,
        cluster.rows / end,
    )


def line(label, cluster, found):
    rows = found.held * cluster.batch
    print(
        f"| {label} | {found.rate:,.0f} | {found.busy:.1%} | {found.driver:.0%} | {found.redone:.2%} |"
        f" {rows:,} ({rows * 2 / 1024:,.0f} MiB) |",
        flush=True,
    )


HEAD = (
    "| {} | rows/s | workers busy | driver busy | batches run again | most rows held (2 KiB each) |\n"
    "|---|---|---|---|---|---|"
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=30, help="batches of each worker")
    told = parser.parse_args()

    def cluster(workers, **more):
        batch = more.get("batch", 64)
        return Cluster(rows=workers * told.batches * batch, workers=workers, **more)

    print("One driver, by workers\n")
    print(HEAD.format("workers"))
    for workers in (8, 64, 256, 1000, 4000, 10_000):
        one = cluster(workers)
        line(f"{workers:,}", one, simulate(one))
    print("\n256 workers of one driver, by what goes wrong\n")
    print(HEAD.format("case"))
    for label, more in (
        ("as above", {}),
        ("1 % of batches take 3 times as long", {"straggler": 0.01, "slower": 3.0}),
        ("1 % of batches take 10 times as long", {"straggler": 0.01}),
        ("the same, 4 batches planned for each worker", {"straggler": 0.01, "ahead": 4}),
        ("the same, 16 batches planned for each worker", {"straggler": 0.01, "ahead": 16}),
        ("a worker dies each hour", {"deaths": 1.0}),
        ("a worker dies each ten minutes", {"deaths": 6.0}),
        ("speeds differ by 50 %", {"spread": 0.5}),
    ):
        one = cluster(256, **more)
        line(label, one, simulate(one))
    print("\n100 billion rows on 10,000 workers, in shards with a driver each\n")
    print(
        "| drivers | workers of each | rows/s in all | hours | workers busy | driver busy |\n"
        "|---|---|---|---|---|---|"
    )
    for drivers in (1, 10, 40, 100):
        one = cluster(10_000 // drivers)
        found = simulate(one)
        rate = found.rate * drivers
        print(
            f"| {drivers} | {one.workers:,} | {rate:,.0f} | {1e11 / rate / 3600:,.0f} | {found.busy:.1%} |"
            f" {found.driver:.0%} |"
        )


if __name__ == "__main__":
    main()
