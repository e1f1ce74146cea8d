"""In a TaskGroup the first failure cancels the other fetches, and their connections are closed at once."""

import asyncio

import offloop
from offloop.testing import Origin


async def main() -> None:
    async with Origin() as origin:
        urls = [origin.url(f"/slow?seconds=60&n={number}") for number in range(4)]
        urls.append(origin.url("/status/404"))
        try:
            await offloop.fetch_and_hash_urls(urls, timeout=120)
        except* offloop.HTTPStatusError as failures:
            for failure in failures.exceptions:
                print(f"failed: {failure}")

        stats = await asyncio.to_thread(origin.wait_for, lambda stats: stats.in_progress == 0)
        print(f"the origin saw {stats.aborted_by_client} of {len(urls) - 1} slow requests abandoned")


asyncio.run(main())
