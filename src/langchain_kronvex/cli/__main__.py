"""Run the command line."""

import sys

from langchain_kronvex.cli import main

sys.exit(main())
