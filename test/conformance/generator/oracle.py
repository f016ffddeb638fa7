"""Runs programs of generators (README.md) on CPython.

    oracle.py < programs > programs-with-traces
    oracle.py --check corpus/*.txt
    oracle.py --corpus DIRECTORY < programs     # keeps the programs that show something new

Programs are translated to Python, so that each generator is one of the interpreter's own.
"""
import argparse
import inspect
import os
import re
import sys
import warnings

SLOTS = 4
PER_FILE = 100  # programs in a file of the corpus
LONGEST = 1500  # bytes of a program and its trace
FEWEST = 11  # features that a program must show
STATES = {"GEN_CREATED": "created", "GEN_RUNNING": "running",
          "GEN_SUSPENDED": "suspended", "GEN_CLOSED": "closed"}


def show(error):
    if isinstance(error, StopIteration):
        return f"StopIteration({error.value})"
    if isinstance(error, AttributeError):
        return "AttributeError()"
    text = str(error)
    return f"{type(error).__name__}({text!r})" if text else f"{type(error).__name__}()"


def exception(kind, value):
    if kind == "StopIteration":
        return StopIteration(value)
    kind = {"ValueError": ValueError, "GeneratorExit": GeneratorExit, "RuntimeError": RuntimeError}[kind]
    return kind() if value is None else kind(str(value))


class Translation:
    """Translates the text of a program to Python."""

    def __init__(self, lines):
        self.lines = lines
        self.number = 0
        self.python = []
        self.definitions = 0

    def translate(self):
        while (words := next(self.lines).split()) != ["main"]:
            assert words[0] == "def", words
            self.python += [f"def definition{self.definitions}(me):", "  if False: yield"]
            self.definitions += 1
            self.block("  ", False)
        self.python.append("def main(me):")
        self.block("  ", True)
        assert next(self.lines).split() == ["endprogram"]
        return "\n".join(self.python)

    def block(self, indent, in_main):
        """Translates a block; returns the word that closes it."""
        put = lambda text: self.python.append(indent + text)
        put("pass")
        while (words := next(self.lines).split())[0] not in ("end", "except", "finally"):
            self.number += 1
            op, args, at = words[0], words[1:], f"me, {self.number}"
            guarded = "if slots[{0}] is None: say(" + at + ", 'unset')"
            expression = {
                "yield": "(yield {0})",
                "from": "(yield from slots[{0}])",
                "fromnew": "(yield from new({0}))",
                "range": "(yield from list(range({0}, {0} + 3)))",
                "next": "next(slots[{0}])",
                "send": "slots[{0}].send({1})",
                "throw": "slots[{0}].throw(exception('{1}', {2}))",
                "close": "slots[{0}].close()",
            }
            if in_main:
                put("try:")
                indent += "  "
            if op in expression:
                if op in ("from", "next", "send", "throw", "close"):
                    put(guarded.format(*args))
                    put("else:")
                    put(f"  say({at}, '{op}', {expression[op].format(*args)})")
                elif op == "range":
                    put(expression[op].format(*args))
                    put(f"say({at}, 'range')")
                else:
                    put(f"say({at}, '{op}', {expression[op].format(*args)})")
            elif op == "new":
                put(f"slots[{args[0]}] = new({args[1]})")
            elif op == "drop":
                put(f"slots[{args[0]}] = None")
            elif op == "states":
                put(f"say({at}, *states())")
            elif op == "raise":
                put(f"raise exception('{args[0]}', {args[1]})")
            elif op == "reraise":
                put("raise")
            elif op == "return":
                put(f"return {args[0]}")
            elif op == "try":
                put("try:")
                word = self.block(indent + "  ", False)
                while word[0] == "except":
                    put(f"except {word[1]} as error:")
                    put(f"  say({at}, 'caught', show(error))")
                    word = self.block(indent + "  ", False)
                if word[0] == "finally":
                    put("finally:")
                    put(f"  say({at}, 'finally')")
                    word = self.block(indent + "  ", False)
            else:
                raise ValueError(op)
            if in_main:
                indent = indent[2:]
                put("except BaseException as error:")
                put(f"  say({at}, 'threw', show(error))")
        return words


def run(text):
    """The events of a program, given by the lines between `program` and `endprogram`."""
    events = []
    slots = [None] * SLOTS
    made = 0

    def say(*words):
        events.append(" ".join(map(str, words)))

    def new(definition):
        nonlocal made
        made += 1
        generator = namespace[f"definition{definition}"](f"#{made}")
        generator.__name__ = f"#{made}"
        return generator

    def states():
        for generator in slots:
            if generator is None:
                yield "-"
                continue
            target = generator.gi_yieldfrom
            yield (f"{generator.__name__}:{STATES[inspect.getgeneratorstate(generator)]}"
                   + (f">{target.__name__}" if inspect.isgenerator(target) else ""))

    namespace = dict(slots=slots, say=say, new=new, states=states, show=show, exception=exception)
    exec(Translation(iter(text)).translate(), namespace)
    hook = sys.unraisablehook
    sys.unraisablehook = lambda args: say("unraisable", args.object.__name__, show(args.exc_value))
    try:
        namespace["main"]("main")
        while any(slots):  # generators that end may fill a slot again
            for i in range(SLOTS):
                slots[i] = None
    finally:
        sys.unraisablehook = hook
    return events


def programs(lines):
    """Pairs of a program's lines and its stored trace, if it has one."""
    text, trace, place = [], None, None
    for line in lines:
        line = line.rstrip("\n")
        if line.startswith("program"):
            if text:
                yield text, trace
            text, trace, place = [], None, "program"
        if line.startswith("trace"):
            trace, place = [], "trace"
        elif line == "endtrace":
            place = None
        elif place == "program" and line.strip():
            text.append(line)
        elif place == "trace":
            trace.append(line)
    if text:
        yield text, trace


def sights(trace):
    """The features of a trace: all runs of three events, without their numbers and texts."""
    plain = [re.sub(r"'[0-9]*'|[0-9]+", "", event) for event in trace]
    return {tuple(plain[i:i + 3]) for i in range(len(plain))}


def store(directory):
    """The programs of moderate size that show more than a few features for the first time."""
    seen, chosen = set(), []
    for text, _ in programs(sys.stdin):
        trace = run(text[1:])
        new = sights(trace) - seen
        entry = "\n".join([*text, "trace", *trace, "endtrace", ""])
        if len(new) >= FEWEST and len(entry) <= LONGEST:
            seen |= new
            chosen.append(entry)
    os.makedirs(directory, exist_ok=True)
    for start in range(0, len(chosen), PER_FILE):
        name = os.path.join(directory, f"{start // PER_FILE:02}.txt")
        with open(name, "w", encoding="utf-8") as file:
            file.writelines(chosen[start:start + PER_FILE])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", nargs="+", metavar="FILE", help="compare with stored traces")
    parser.add_argument("--corpus", metavar="DIRECTORY", help="store programs with their traces")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.corpus:
        if sys.version_info[:2] != (3, 13):
            sys.exit("the corpus is made with Python 3.13")
        store(options.corpus)
        return
    if not options.check:
        for text, _ in programs(sys.stdin):
            print(*text, "trace", *run(text[1:]), "endtrace", sep="\n")
        return
    wrong = 0
    for name in options.check:
        with open(name, encoding="utf-8") as file:
            for text, trace in programs(file):
                if run(text[1:]) != trace:
                    wrong += 1
                    print(f"{name}: {text[0]} differs")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
