"""What happens, and above all does not happen, when offloop is imported."""

import asyncio
import os
import sys
import threading


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def starts_no_thread() -> None:
    before = threads()
    import offloop
    import offloop.hashing

    assert threads() == before == 1, threads()
    asyncio.run(offloop.sha256(bytes(1_000_000)))
    assert threads() > 1


def loads_no_libcurl() -> None:
    import offloop

    asyncio.run(offloop.sha256(bytes(1_000_000)))
    with open("/proc/self/maps") as maps:
        libraries = maps.read()
    assert "liboffloop" in libraries
    for name in ("libcurl", "libvips", "_ext"):
        assert name not in libraries, name
    assert "offloop.fetch" not in sys.modules


def stats() -> None:
    import offloop

    assert offloop.stats()["done"] == 0
    assert threads() == 1


def configure() -> None:
    import offloop

    offloop.configure(threads=3)
    assert threads() == 1
    asyncio.run(offloop.sha256(bytes(1_000_000)))
    assert offloop.stats()["threads"] == 3


def default_limit() -> None:
    import offloop

    assert offloop.configure()["max_pending"] == 3 * 1024
    assert offloop.configure(threads=2)["max_pending"] == 2 * 1024
    assert offloop.configure(max_pending=5)["max_pending"] == 5
    assert offloop.configure(threads=4)["max_pending"] == 5


def subinterpreter(kind: str) -> None:
    """A second interpreter must not get a module whose state belongs to the first: ImportError, and life goes on.

    "legacy" ones share the first's GIL and do not ask modules whether they can be loaded twice.
    """
    import offloop

    assert len(asyncio.run(offloop.sha256(bytes(1_000_000)))) == 64
    code = """
try:
    import offloop._core
except ImportError as error:
    assert "subinterpreters" in str(error), error
else:
    raise AssertionError("the import did not fail")
"""
    if sys.version_info >= (3, 13):
        import _interpreters

        interpreter = _interpreters.create(kind)
        failure = _interpreters.exec(interpreter, code)
        _interpreters.destroy(interpreter)  # else 3.15 warns at exit
    else:
        import _xxsubinterpreters

        # 3.11 raises the failure itself.
        failure = _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=kind == "isolated"), code)
    assert failure is None, failure
    assert len(asyncio.run(offloop.sha256(bytes(1_000_000)))) == 64


def thread() -> None:
    """The first import may happen in any thread."""
    results = []

    def work() -> None:
        import offloop

        results.append(asyncio.run(offloop.sha256(bytes(1_000_000))))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert len(results[0]) == 64


globals()[sys.argv[1]](*sys.argv[2:])
print("ok")
