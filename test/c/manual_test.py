#!/usr/bin/env python3
"""Checks that every function of <fiber/fiber.h> has a manual page that shows its prototype.

    manual_test.py SCRIPT HEADER VERSION
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

script, header, version = sys.argv[1:]
failures = []


def check(condition, message):
    if not condition:
        failures.append(message)


def shown(text):
    """Text of a page as a reader sees it, without layout."""
    return re.sub(r"\s+", " ", text.replace("\\-", "-").replace("\\(ti", "~"))


listed = subprocess.run([sys.executable, script, header, version, "--list"], check=True,
                        capture_output=True, text=True).stdout.split()
with tempfile.TemporaryDirectory() as directory:
    subprocess.run([sys.executable, script, header, version, directory], check=True)
    pages = {path.name: path.read_text() for path in pathlib.Path(directory).iterdir()}
    check(sorted(pages) == sorted(listed), "the pages are not those that --list names")

    declared = re.findall(r"^FIBER_C_API ([^;]*?\b(fiber_\w+)\([^;]*);",
                          pathlib.Path(header).read_text(), re.M)
    check(len(declared) > 40, f"only {len(declared)} functions are found in the header")
    for prototype, name in declared:
        page = pages.get(f"{name}.3", "")
        if alias := re.fullmatch(r"\.so man3/(.*)\n", page):
            page = pages.get(alias[1], "")
        check(shown(prototype) in shown(page), f"{name}: its page has no prototype")
        check(name in page.partition(".SH SYNOPSIS")[0], f"{name}: not among the names of its page")

    if shutil.which("groff"):
        for name, page in pages.items():
            if page.startswith(".so"):
                continue
            told = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, text=True,
                                  capture_output=True, check=False).stderr
            check(not told, f"{name}: {told}")

print("\n".join(failures) or f"{len(pages)} pages")
sys.exit(bool(failures))
