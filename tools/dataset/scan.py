#!/usr/bin/env python
"""`simmim scan` as a script: python tools/dataset/scan.py FOLDER."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('scan')
