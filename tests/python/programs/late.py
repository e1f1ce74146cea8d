"""Use after the pool's end: an exit handler that was registered before offloop's runs after it."""

import asyncio
import atexit
import sys


def handler() -> None:
    import offloop
    from offloop import hashing

    async def main() -> None:
        for submit in (
            lambda: offloop.sha256(bytearray(b"x" * 100_000)),
            lambda: hashing.digest(b"x" * 100_000, "sha512"),
            lambda: offloop.sha256_many([b"x" * 100_000] * 50),
            lambda: hashing.file_digest(sys.executable),
        ):
            try:
                await submit()
            except offloop.PoolClosedError:
                pass
            else:
                raise AssertionError("taken after the end")

    asyncio.run(main())
    try:
        offloop.batch_hash([b"x" * 100_000] * 50, 2)
    except offloop.PoolClosedError:
        pass
    else:
        raise AssertionError("taken after the end")
    # What needs no worker still works.
    assert len(offloop.compute_sha256(b"x" * 100_000)) == 64
    print("ok")


atexit.register(handler)

import offloop  # noqa: E402

if sys.argv[1:] == ["used"]:
    asyncio.run(offloop.sha256(b"x" * 100_000))
