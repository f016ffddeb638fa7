"""What the scripts that start peers share."""

import os
import subprocess
import sys


def has(module):
    return subprocess.run([sys.executable, '-c', f'import {module}'],
                          stderr=subprocess.DEVNULL).returncode == 0


def pin(which):
    """Called in a new process; with one processor all share it."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[which % len(processors)]})
