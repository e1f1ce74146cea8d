"""``offloop bench``: the variants asyncio, native and hybrid on the same work, by numbers that everybody can reproduce.

A *task* is a kind of work (hashing, fetching, ...), a *case* one size of it, a *contender* one way to do it; each
contender has a file of its own in ``tasks/<task>/``. It stands on the public names of offloop like any user's program.

The way of a run: `plan` chooses the cases, `runner` checks and measures the contenders of each, `document` keeps what
came, and `table`, `html`, `compare` and `claims` tell it.
"""
