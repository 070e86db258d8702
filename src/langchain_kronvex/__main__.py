"""Run the command line: `python -m langchain_kronvex`."""

import runpy

runpy.run_module("langchain_kronvex.cli", run_name="__main__", alter_sys=True)
