"""All faults of `BadOrigin`."""

from __future__ import annotations

from offloop.testing.bad_origin_body import CLOSE_FAULTS, CODING_FAULTS, FRAMING_FAULTS, SIZE_FAULTS
from offloop.testing.bad_origin_connection import CONNECT_FAULTS, DELAY_FAULTS, TLS_FAULTS
from offloop.testing.bad_origin_fault import Fault
from offloop.testing.bad_origin_head import HEAD_FAULTS, REDIRECT_FAULTS, STATUS_FAULTS

FAULTS: tuple[Fault, ...] = (
    *STATUS_FAULTS,
    *HEAD_FAULTS,
    *REDIRECT_FAULTS,
    *FRAMING_FAULTS,
    *CODING_FAULTS,
    *SIZE_FAULTS,
    *CLOSE_FAULTS,
    *DELAY_FAULTS,
    *CONNECT_FAULTS,
    *TLS_FAULTS,
)


def as_markdown() -> str:
    """Return the table as docs/bad-origin.md has it."""
    lines = ["| fault | the server | must give | retry |", "|---|---|---|---|"]
    for fault in FAULTS:
        if fault.error is not None:
            outcome = f"`{fault.error.__name__}`"
        else:
            outcome = f"its body, {len(fault.body or b'')} bytes"
        words = fault.description + (" †" if fault.needs_options else "")
        lines.append(f"| `{fault.name}` | {words} | {outcome} | {'yes' if fault.retryable else ''} |")
    return "\n".join(lines) + "\n"
