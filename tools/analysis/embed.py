#!/usr/bin/env python
"""`simmim embed` as a script, features to .npy, .csv or .parquet: embed.py CHECKPOINT FOLDER."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('embed')
