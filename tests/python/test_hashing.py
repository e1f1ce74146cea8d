"""offloop.hashing gives hashlib's digests: of every algorithm, size and kind of file, on every kernel this CPU has."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from bridge_helpers import DATA, DIGEST, Gate, assert_clean, run_program, settings, sha256, until

import offloop
from offloop import _core, hashing

ALGORITHMS = sorted(hashing.algorithms_available())

# Around the block of SHA-256 (64), the end of a padded block (55, 56), the quantum and the chunk (64 KiB, 256 KiB).
EDGES = sorted(
    {0, 1, 3, 55, 56, 57, 63, 64, 65, 111, 112, 119, 120, 127, 128, 129, 1000, 4096}
    | {edge + offset for edge in (65536, 131072, 262144) for offset in (-64, -9, -8, -1, 0, 1, 55, 56, 64)}
)


def reference(data: bytes, algorithm: str) -> bytes:
    """hashlib's digest. Skips the test where this Python's OpenSSL does not have the algorithm."""
    try:
        return hashlib.new(algorithm, data).digest()
    except ValueError:
        pytest.skip(f"hashlib has no {algorithm} here")


def pattern(size: int, seed: int = 1) -> bytes:
    return random.Random(seed * 1_000_003 + size).randbytes(size)


# ---- messages --------------------------------------------------------------------------------------------------------


def test_the_algorithms_that_hashlib_guarantees_are_available() -> None:
    fixed_size = {name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")}
    assert fixed_size <= hashing.algorithms_available()
    assert isinstance(hashing.algorithms_available(), frozenset)


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_agrees_with_hashlib(algorithm: str) -> None:
    for data in (b"", b"abc", DATA, pattern(3_000_001)):
        expected = reference(data, algorithm)
        assert await hashing.digest(data, algorithm) == expected
        assert await hashing.hexdigest(data, algorithm=algorithm) == expected.hex()


async def test_sha256_is_the_default_and_the_shortcut() -> None:
    assert offloop.sha256 is hashing.sha256
    assert await hashing.sha256(DATA) == DIGEST
    assert await hashing.digest(DATA) == bytes.fromhex(DIGEST)
    assert await hashing.hexdigest(DATA) == DIGEST
    assert await hashing.digest(data=DATA, algorithm="sha256") == bytes.fromhex(DIGEST)


async def test_sha256_takes_its_argument_by_name_and_no_other() -> None:
    assert await offloop.sha256(data=b"abc") == hashlib.sha256(b"abc").hexdigest()
    for arguments, named in (((), {}), ((b"a", b"b"), {}), ((b"a",), {"data": b"b"}), ((), {"algorithm": "md5"})):
        with pytest.raises(TypeError, match="takes one argument, data"):
            offloop.sha256(*arguments, **named)  # type: ignore[call-overload]


async def test_every_size_around_the_edges_agrees_with_hashlib() -> None:
    for size in EDGES:
        data = pattern(size)
        assert await offloop.sha256(data) == sha256(data), size
        # Not exactly bytes: never hashed inline, always by the pool's kernels.
        assert await offloop.sha256(bytearray(data)) == sha256(data), size


@pytest.mark.loops("asyncio", "uvloop")
async def test_every_size_up_to_three_blocks_agrees_in_lanes() -> None:
    messages = [pattern(size) for size in range(200)]
    results = await asyncio.gather(*(offloop.sha256(bytearray(message)) for message in messages))
    assert results == [sha256(message) for message in messages]


@pytest.mark.loops("asyncio", "uvloop")
@pytest.mark.parametrize("seed", range(3))
async def test_mixed_sizes_side_by_side_agree_with_hashlib(seed: int) -> None:
    random_sizes = random.Random(seed)
    messages = [pattern(int(2 ** random_sizes.uniform(0, 20)), n) for n in range(200)]
    messages += [pattern(size) for size in EDGES]
    random_sizes.shuffle(messages)
    results = await asyncio.gather(*(offloop.sha256(message) for message in messages))
    assert results == [sha256(message) for message in messages]


async def test_algorithms_side_by_side_do_not_mix() -> None:
    operations = [(name, hashing.digest(DATA, name)) for name in ALGORITHMS for _ in range(4)]
    for name, operation in operations:
        assert await operation == (await hashing.digest(DATA, name))
        if name in hashlib.algorithms_guaranteed:
            assert operation.result() == hashlib.new(name, DATA).digest()


async def test_an_unknown_algorithm_is_a_value_error_at_once() -> None:
    functions: list[Any] = [hashing.digest, hashing.hexdigest, hashing.file_digest, hashing.file_hexdigest]
    for function in functions:
        with pytest.raises(ValueError, match="md6"):
            function(b"x", "md6")
        with pytest.raises(TypeError, match="str"):
            function(b"x", 256)
        with pytest.raises(TypeError):
            function()
        with pytest.raises(TypeError):
            function(b"x", "sha256", "sha256")
        with pytest.raises(TypeError, match="algorithmus"):
            function(b"x", algorithmus="sha256")
        with pytest.raises(TypeError, match="algorithm"):
            function(b"x", "sha256", algorithm="sha256")


async def test_small_messages_are_hashed_inline_and_are_done_at_once() -> None:
    before = offloop.stats()["inlined"]
    operation = offloop.sha256(b"tiny")
    assert operation.done()
    assert operation.result() == sha256(b"tiny")
    assert offloop.stats()["inlined"] == before + 1


async def test_small_messages_are_hashed_inline_however_many_there_are() -> None:
    """Handing them over would keep the loop longer than hashing them does."""
    before = offloop.stats()["inlined"]
    operations = [offloop.sha256(b"tiny %d" % n) for n in range(3000)]
    assert all(operation.done() for operation in operations)
    assert offloop.stats()["inlined"] == before + 3000
    assert await asyncio.gather(*operations) == [sha256(b"tiny %d" % n) for n in range(3000)]


async def test_one_that_lets_the_loop_turn_is_an_ordinary_done_operation() -> None:
    """Among so many there are some whose first await yields once; everything else about them is as of any other."""

    def steps(operation: offloop.Operation[str]) -> int:
        number = 0
        while True:
            try:
                yielded = operation.send(None)
            except StopIteration as stop:
                value = stop.value
                break
            assert yielded is None
            number += 1
        assert value == operation.result()
        return number

    operations = [offloop.sha256(b"tiny %d" % n) for n in range(2000)]
    assert all(operation.done() and not operation.cancel() for operation in operations)
    first = [steps(operation) for operation in operations]
    assert 0 < first.count(1) < 200
    assert first.count(0) + first.count(1) == 2000
    assert [steps(operation) for operation in operations] == [0] * 2000, "only the first await of one does"


async def test_a_task_that_is_cancelled_while_it_lets_the_loop_turn_ends_so() -> None:
    operations = [offloop.sha256(b"tiny %d" % n) for n in range(2000)]

    async def awaits() -> None:
        for operation in operations:
            await operation

    task = asyncio.create_task(awaits())
    await asyncio.sleep(0)
    assert not task.done(), "no await of so many has let the loop turn"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_loop_that_only_awaits_small_messages_still_turns() -> None:
    turned = False

    def turn() -> None:
        nonlocal turned
        turned = True

    asyncio.get_running_loop().call_soon(turn)
    for n in range(100_000):
        await offloop.sha256(b"tiny %d" % n)
        if turned:
            break
    assert turned


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 3 * 1024 * 1024, 3 * 1024 * 1024 + 17])
async def test_a_file_of_any_size_agrees_with_hashlib(tmp_path: Path, size: int) -> None:
    data = pattern(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert await hashing.file_digest(path) == hashlib.sha256(data).digest()
    assert await hashing.file_hexdigest(str(path)) == sha256(data)
    assert await hashing.file_hexdigest(os.fsencode(path)) == sha256(data)
    assert await hashing.file_hexdigest(path=path, algorithm="sha512") == hashlib.sha512(data).hexdigest()


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_file_by_every_algorithm_agrees_with_hashlib(tmp_path: Path, algorithm: str) -> None:
    data = pattern(600_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert await hashing.file_digest(path, algorithm) == reference(data, algorithm)


async def test_files_whose_size_is_not_known_before_are_read_to_their_end() -> None:
    text = Path("/proc/version").read_bytes()
    assert await hashing.file_hexdigest("/proc/version") == sha256(text)
    assert len(await hashing.file_hexdigest("/proc/self/status")) == 64
    assert await hashing.file_hexdigest("/dev/null") == sha256(b"")


async def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    data = pattern(1_000_000)

    def write() -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(writing, view[:7919]) :]
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert await hashing.file_hexdigest(f"/dev/fd/{reading}") == sha256(data)
    finally:
        writer.join()
        os.close(reading)


async def test_many_files_at_once_are_hashed_in_order(tmp_path: Path) -> None:
    sizes = [int(2 ** random.Random(n).uniform(0, 20)) for n in range(150)]
    paths = []
    for n, size in enumerate(sizes):
        paths.append(tmp_path / f"{n}")
        paths[-1].write_bytes(pattern(size, n))
    results = await asyncio.gather(*map(hashing.file_hexdigest, paths))
    assert results == [sha256(pattern(size, n)) for n, size in enumerate(sizes)]


async def test_a_file_that_cannot_be_read_is_an_os_error_with_its_name(tmp_path: Path) -> None:
    missing = tmp_path / "caf\u00e9 \udcff"
    with pytest.raises(FileNotFoundError) as error:
        await hashing.file_digest(missing)
    assert error.value.filename == str(missing)
    with pytest.raises(IsADirectoryError):
        await hashing.file_digest(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError) as cycle:
        await hashing.file_digest(loop)
    assert cycle.value.filename == str(loop)
    with pytest.raises(FileNotFoundError) as nameless:
        await hashing.file_digest("")
    assert nameless.value.filename == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_without_permission_is_a_permission_error(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.write_bytes(b"x")
    closed.chmod(0)
    with pytest.raises(PermissionError):
        await hashing.file_digest(closed)


async def test_a_path_of_the_wrong_kind_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="null"):
        hashing.file_digest("a\0b")
    for wrong in (1, None, 1.5, ["a"]):
        with pytest.raises(TypeError):
            hashing.file_digest(wrong)  # type: ignore[arg-type]


async def test_a_failed_file_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    paths = [path, tmp_path / "missing"] * 50
    results = await asyncio.gather(*map(hashing.file_hexdigest, paths), return_exceptions=True)
    assert results[::2] == [DIGEST] * 50
    assert {type(error) for error in results[1::2]} == {FileNotFoundError}


async def test_cancelled_files_close_their_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8_000_000))
    await hashing.file_digest(path)
    before = len(os.listdir("/proc/self/fd"))
    operations = [hashing.file_digest(path) for _ in range(200)]
    await asyncio.sleep(0)
    for operation in operations:
        operation.cancel()
    await until(lambda: offloop.stats()["in_flight"] == 0)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_more_pipes_than_reader_threads_do_not_stop_each_other_for_ever() -> None:
    gates = [Gate() for _ in range(12)]
    try:
        operations = [gate.operation() for gate in gates]
        # Opened in turn: an operation whose pipe is open must end although others still block.
        for gate in gates:
            gate.open()
        assert set(await asyncio.gather(*operations)) == {sha256(b"")}
    finally:
        for gate in gates:
            gate.close()


# ---- the synchronous ones --------------------------------------------------------------------------------------------


def test_compute_sha256_agrees_with_hashlib() -> None:
    for size in EDGES:
        data = pattern(size)
        assert offloop.compute_sha256(data) == sha256(data)
    assert offloop.compute_sha256(data=memoryview(DATA), report_progress=False) == DIGEST


def test_compute_sha256_lets_other_threads_run() -> None:
    started = threading.Event()
    done = threading.Event()
    data = bytes(64 * 1024 * 1024)
    ticks: list[bool] = []

    def other() -> None:
        started.wait(30)
        ticks.append(done.is_set())

    thread = threading.Thread(target=other)
    thread.start()
    # With the GIL held for all of it, the other thread could not look before it has ended.
    for _ in range(20):
        started.set()
        offloop.compute_sha256(data)
        if ticks:
            break
    done.set()
    thread.join()
    assert ticks == [False]


def test_progress_goes_to_stderr_with_a_first_line_only_for_large_payloads(capsys: pytest.CaptureFixture[str]) -> None:
    large = bytes(1_000_001)
    assert offloop.compute_sha256(large, report_progress=True) == sha256(large)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"Processing 1000001 byte payload\.\.\.\nSHA-256 computed in [0-9.]+ (us|ms|s)\n", err)
    offloop.compute_sha256(bytes(1_000_000), True)
    assert re.fullmatch(r"SHA-256 computed in [0-9.]+ (us|ms|s)\n", capsys.readouterr().err)
    offloop.compute_sha256(memoryview(bytes(1_000_004)).cast("I"), True)
    assert capsys.readouterr().err.startswith("Processing 1000004 byte payload...\n")
    offloop.compute_sha256(large)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("report_progress", [False, True])
@pytest.mark.parametrize("wrong", ["text", [1, 2], None, 3, 1.5])
def test_compute_sha256_refuses_what_is_not_bytes_like(wrong: Any, report_progress: bool) -> None:
    with pytest.raises(TypeError, match="data must be a bytes-like object"):
        offloop.compute_sha256(wrong, report_progress)


# ---- kernels, threads ------------------------------------------------------------------------------------------------

MODES = ["portable", "shani", "avx2", "avx512", "auto", "no-such-kernel"]


@pytest.mark.parametrize("mode", MODES)
def test_every_kernel_gives_the_same_digests(mode: str) -> None:
    ended = run_program("kernels", env={"OFFLOOP_CPU": mode})
    assert_clean(ended)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "no-such-kernel"])
def test_every_kernel_hashes_more_than_four_gib_right(mode: str) -> None:
    assert_clean(run_program("very_large", env={"OFFLOOP_CPU": mode, "OFFLOOP_THREADS": "1"}, timeout=600))


@pytest.mark.parametrize("threads", ["1", "3", "16"])
def test_any_number_of_threads_gives_the_same_digests(threads: str) -> None:
    assert_clean(run_program("kernels", env={"OFFLOOP_THREADS": threads}))


def test_offloop_threads_sets_the_number_of_workers() -> None:
    assert_clean(run_program("kernels", "threads", env={"OFFLOOP_THREADS": "1"}), "1\n")


def test_build_info_names_kernels_for_each_number_of_streams() -> None:
    info = _core.build_info()
    assert [row["streams"] for row in info["kernels"]] == list(range(1, 17))
    assert info["default_threads"] >= 1
    assert info["cpu_problem"] == "" or "OFFLOOP_CPU" in os.environ


async def test_after_a_change_of_the_number_of_threads_all_still_end() -> None:
    for threads in (1, 5, 2):
        with settings(threads=threads):
            assert offloop.configure()["threads"] == threads
            results = await asyncio.gather(*(offloop.sha256(DATA) for _ in range(100)))
            assert results == [DIGEST] * 100
