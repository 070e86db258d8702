"""Run the command line."""

import sys

from langchain_kronvex.cli.main import main

sys.exit(main())
