#!/usr/bin/env python3
"""Makes the transcripts of the tutorial's programs with the Python that runs this script.

    make_transcripts.py [--check] [--jobs N] [NAME...]

runs each tutorial/NAME.py (all of them when no name is given) and writes tutorial/NAME.txt;
--check compares with the stored transcripts instead and exits with 1 if any differs.
Programs on greenlets need the greenlet module; without it their transcripts stay as they are.

A transcript is read line by line; the word before the first space says what a line is:

    # TEXT          comment
    arguments WORD...
                    the program's arguments; {tmp} stands for an empty directory
    interrupt TIME  SIGINT is sent TIME seconds after the start
    TIME TEXT       the program printed the line TEXT, TIME seconds after its start
    TIME ~REGEX     the program printed a line that matches REGEX as a whole, at that time
    stderr REGEX    some line on stderr contains a match of REGEX; without such lines nothing
                    is written there
    exit TIME STATUS
                    the program ended, by signal n if STATUS is 128 + n; always the last line

The regular expressions use the common syntax of Python and ECMAScript. Times are cut to tenths.
A NAME.py tells in comments "# transcript: KEY VALUE" how it is run and which lines vary,
with the keys `arguments`, `interrupt`, `stderr` as above and `stdout REGEX` (lines that match are
stored as ~REGEX). The keys after `variant WORD` are for a second transcript of NAME.py, which is
written to NAME-WORD.txt.
"""
import argparse
import concurrent.futures
import importlib.util
import pathlib
import platform
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time

DIRECTORY = pathlib.Path(__file__).resolve().parent / "tutorial"
TIMEOUT = 60.0
TOLERANCE = 0.5  # seconds by which the time of a line may differ with --check

# Loads the slow modules before the clock starts, then runs the program in the module __main__, in
# which a process pool looks for functions.
PRELUDE = """
import asyncio, concurrent.futures.process, http.client, http.server, random, sys
__file__ = sys.argv[1]
sys.path.insert(0, sys.argv[2])
del sys.argv[1:3]
with open(__file__) as source:
    code = compile(source.read(), __file__, "exec")
sys.stdout.write("\\n")
exec(code)
"""


class Directives:
    def __init__(self):
        self.arguments, self.interrupt, self.stdout, self.stderr = "", None, [], []


def directives_of(path):
    """The keys and values of the comments, by the name of the transcript."""
    result = {path.stem: Directives()}
    for key, value in re.findall(r"^# transcript: (\w+) (.*)$", path.read_text(), re.M):
        current = list(result.values())[-1]
        if key == "arguments":
            current.arguments = value
        elif key == "interrupt":
            current.interrupt = float(value)
        elif key in ("stdout", "stderr"):
            getattr(current, key).append(value)
        elif key == "variant":
            result[f"{path.stem}-{value}"] = Directives()
        else:
            sys.exit(f"{path}: unknown key {key}")
    return result


def tenths(seconds):
    return int(seconds * 10 + 0.2) / 10


def run(path, arguments, interrupt):
    """Runs one program; its lines with their times, its stderr, when it ended, its status."""
    with tempfile.TemporaryDirectory() as tmp, tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-u", "-c", PRELUDE, str(path), str(DIRECTORY)]
        command += shlex.split(arguments.replace("{tmp}", tmp))
        child = subprocess.Popen(command, cwd=tmp, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        try:
            child.stdout.read(1)  # the newline that PRELUDE writes
            start = time.monotonic()
            lines, rest, interrupted = [], b"", False
            while True:
                now = time.monotonic() - start
                if now > TIMEOUT:
                    raise RuntimeError(f"{path.name} runs for more than {TIMEOUT} s")
                wait = TIMEOUT - now
                if interrupt is not None and not interrupted:
                    wait = max(0.0, interrupt - now)
                if not select.select([child.stdout], [], [], wait)[0]:
                    if interrupt is not None and not interrupted:
                        child.send_signal(signal.SIGINT)
                        interrupted = True
                    continue
                data = child.stdout.read(65536)
                if not data:
                    break
                *complete, rest = (rest + data).split(b"\n")
                lines += [(time.monotonic() - start, line.decode()) for line in complete]
            status = child.wait(TIMEOUT)
            end = time.monotonic() - start
        finally:
            child.kill()
            child.stdout.close()
            child.wait()
        errors.seek(0)
        return lines, errors.read().decode(), end, status if status >= 0 else 128 - status


def transcript(path, directives):
    lines, errors, end, status = run(path, directives.arguments, directives.interrupt)
    result = [f"# {path.name} on {platform.python_implementation()} {platform.python_version()}"]
    if directives.arguments:
        result.append(f"arguments {directives.arguments}")
    if directives.interrupt is not None:
        result.append(f"interrupt {directives.interrupt:.1f}")
    for when, text in lines:
        pattern = next((p for p in directives.stdout if re.fullmatch(p, text)), None)
        result.append(f"{tenths(when):.1f} {text if pattern is None else '~' + pattern}")
    for pattern in directives.stderr:
        if not any(re.search(pattern, line) for line in errors.splitlines()):
            raise RuntimeError(f"{path.name}: no {pattern!r} on stderr:\n{errors}")
        result.append(f"stderr {pattern}")
    if errors and not directives.stderr:
        raise RuntimeError(f"{path.name} wrote on stderr:\n{errors}")
    result.append(f"exit {tenths(end):.1f} {status}")
    return "\n".join(result) + "\n"


def same(new, old):
    """True if two transcripts differ only in comments and slightly in times."""

    def items(text):
        for line in text.splitlines():
            if not line.startswith("#"):
                match = re.fullmatch(r"(exit )?(\d+\.\d) (.*)", line)
                yield (float(match[2]), (match[1], match[3])) if match else (0.0, line)

    new, old = list(items(new)), list(items(old))
    return len(new) == len(old) and all(
        a[1] == b[1] and abs(a[0] - b[0]) <= TOLERANCE for a, b in zip(new, old)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--jobs", type=int, default=4, help="programs run at a time (%(default)s)")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()

    programs = {p.stem: p for p in sorted(DIRECTORY.glob("*.py")) if not p.name.startswith("_")}
    unknown = set(options.names) - set(programs)
    if unknown:
        parser.error(f"no such program: {' '.join(sorted(unknown))}")

    works = []
    for name, path in programs.items():
        if options.names and name not in options.names:
            continue
        if "greenlet" in path.read_text() and not importlib.util.find_spec("greenlet"):
            print(f"{name}: skipped, this Python has no greenlet module")
            continue
        works += [(variant, path, found) for variant, found in directives_of(path).items()]

    failed = False
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(transcript, *work[1:]) for work in works]
        for (name, *_), future in zip(works, futures):
            stored = DIRECTORY / f"{name}.txt"
            old = stored.read_text() if stored.exists() else ""
            try:
                new = future.result()
            except RuntimeError as error:
                failed = True
                print(f"{name}: {error}")
                continue
            if same(new, old):
                print(f"{name}: same")
            elif options.check:
                failed = True
                print(f"{name}: differs; now it is\n{new}")
            else:
                stored.write_text(new)
                print(f"{name}: written")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
