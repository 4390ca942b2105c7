#!/usr/bin/env python
"""`simmim sweep` as a script: python tools/study.py SWEEP."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['sweep', *sys.argv[1:]])
