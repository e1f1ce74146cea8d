"""Runs another program with uvloop's event loops in the place of asyncio's: under_uvloop.py PROGRAM ARGUMENTS..."""

import asyncio
import runpy
import sys

import uvloop

asyncio.events.new_event_loop = asyncio.new_event_loop = uvloop.new_event_loop
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
