"""The common part of the scripts that start peers."""

import os
import subprocess
import sys


def has(module):
    return subprocess.run([sys.executable, '-c', f'import {module}'],
                          stderr=subprocess.DEVNULL).returncode == 0


def pin(which):
    """Binds a new process to processor `which`; with a single processor all processes share it."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[which % len(processors)]})
