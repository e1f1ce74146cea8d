"""Fetch URLs and hash their bodies while they arrive; a failure is a value among the results."""

import asyncio

import offloop
from offloop.testing import Origin, body_sha256


async def main() -> None:
    async with Origin() as origin:  # a local server, so that the example needs no network
        large = origin.url("/bytes/100000000?seed=1")
        urls = [origin.url("/"), origin.url("/image.png"), large, origin.url("/redirect/3"), origin.url("/status/404")]

        results = await offloop.fetch_and_hash_urls(urls, max_concurrent=3, return_exceptions=True)

    for url, result in results.items():
        if isinstance(result, offloop.OffloopError):
            print(f"{url}: {type(result).__name__}, {'try again later' if result.retryable else 'give up'}: {result}")
        else:
            print(f"{url}: {result}")
    assert results[large] == body_sha256(100_000_000, 1)


asyncio.run(main())
