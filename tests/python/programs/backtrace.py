"""How many notes an error carries; with "unseen": an error that nobody looks at."""

import asyncio
import sys

from offloop import hashing


async def main() -> None:
    operation = hashing.file_digest("/nonexistent/offloop")
    if sys.argv[1:] == ["unseen"]:
        while not operation.done():
            await asyncio.sleep(0)
        return
    try:
        await operation
    except FileNotFoundError as error:
        notes = getattr(error, "__notes__", [])
        print(len(notes))
        for note in notes:
            assert "native stack trace" in note, note
            assert "liboffloop" in note or "offloop" in note, note


asyncio.run(main())
