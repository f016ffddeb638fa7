"""The common part of the scripts that start peers."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys


def has(module):
    return subprocess.run([sys.executable, '-c', f'import {module}'],
                          stderr=subprocess.DEVNULL).returncode == 0


def pin(which):
    """Binds a new process to processor `which`; with a single processor all processes share it."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[which % len(processors)]})


def build_go(source, scratch):
    """The program of a Go file; None without Go."""
    program = pathlib.Path(scratch) / source.stem
    if shutil.which('go') and subprocess.run(['go', 'build', '-o', program, source]).returncode == 0:
        return program
    return None


def start(command):
    """A server on the first processor, with the port that it has printed."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, 'GOMAXPROCS': '1'}, preexec_fn=lambda: pin(0))
    server.port = server.stdout.readline().strip()
    return server


def report(work, who, taken):
    if taken:
        print(work, who, f'{statistics.median(taken):.1f}', f'{min(taken):.1f}',
              f'{max(taken):.1f}', sep='\t', flush=True)
