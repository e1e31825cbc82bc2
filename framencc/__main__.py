"""``python -m framencc`` is the ``framencc`` command."""

import sys

from framencc.cli import main

sys.exit(main())
