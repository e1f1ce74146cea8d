"""Very many submits by 64 producers under each policy of back-pressure, in flat memory: million.py POLICY COUNT.

Each producer is a thread with a loop of its own; more is submitted at a time than may be in flight.
"""

import asyncio
import os
import sys
import threading

import offloop

PRODUCERS = 64
BURST = 50
MAX_PENDING = 256
GROWTH_KIB = 16 * 1024  # 64 stacks and loops breathe; one operation kept for each of 100,000 submits would be 40 MB

PAYLOAD = bytearray(range(256))
EXPECTED = offloop.compute_sha256(PAYLOAD)


def resident_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Totals:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.right = self.refused = self.wrong = 0
        self.most_in_flight = self.most_parked = 0

    def add(self, right: int, refused: int, wrong: int) -> None:
        stats = offloop.stats()
        with self.lock:
            self.right += right
            self.refused += refused
            self.wrong += wrong
            self.most_in_flight = max(self.most_in_flight, stats["in_flight"])
            self.most_parked = max(self.most_parked, stats["parked"])


async def produce(bursts: int, totals: Totals) -> None:
    for _ in range(bursts):
        operations = []
        refused = 0
        for _ in range(BURST):
            try:
                operations.append(offloop.sha256(PAYLOAD))
            except offloop.PoolSaturatedError:
                refused += 1
        right = sum([await operation == EXPECTED for operation in operations])
        totals.add(right, refused, len(operations) - right)
        if refused:
            await asyncio.sleep(0)


def run(count: int, totals: Totals) -> None:
    bursts = count // PRODUCERS // BURST
    threads = [threading.Thread(target=asyncio.run, args=(produce(bursts, totals),)) for _ in range(PRODUCERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(policy: str, count: int) -> None:
    offloop.configure(max_pending=MAX_PENDING, when_full=policy)  # type: ignore[arg-type]
    run(max(count // 5, PRODUCERS * BURST), Totals())  # warm-up
    before = resident_kib()
    totals = Totals()
    run(count, totals)
    submitted = count // PRODUCERS // BURST * PRODUCERS * BURST
    assert totals.wrong == 0, totals.wrong
    assert totals.right + totals.refused == submitted, (totals.right, totals.refused, submitted)
    # A loop that has nothing in flight always gets a slot: nothing else would wake it.
    assert totals.most_in_flight <= MAX_PENDING + PRODUCERS, totals.most_in_flight
    if policy != "raise":
        assert totals.refused == 0, totals.refused
    if policy != "wait":
        assert totals.most_parked == 0, totals.most_parked
    grown = resident_kib() - before
    assert grown < GROWTH_KIB, f"grew by {grown} KiB over {submitted} submits"
    stats = offloop.stats()
    assert (stats["in_flight"], stats["parked"]) == (0, 0), stats


main(sys.argv[1], int(sys.argv[2]))
print("ok")
