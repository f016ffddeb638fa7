#!/usr/bin/env python3
"""Makes a failing scenario small.

    shrink.py --runner PATH FILE     prints a smaller scenario on which PATH and CPython still differ
"""

import argparse
import sys

import compare
import language
import scenario as oracle

SHRINKABLE_LISTS = {'gather': 3, 'wait': 3, 'ascompleted': 3}  # first position of an item


def spans(lines):
    """(first, last) line of each part that can be taken out: declarations, statements, bodies."""
    found, stack = [], []
    for index, line in enumerate(lines):
        words = line.split()
        if words[0] in ('scenario', 'endscenario'):
            continue
        if words[0] == 'end':
            start = stack.pop()
            found.append((start[0], index))
        elif words[0] in language.SEPARATORS:
            pass
        elif words[0].rstrip('?') in language.OPENERS:
            stack.append((index,))
        else:
            found.append((index, index))
    return sorted(found)


def without(lines, removed):
    gone = {i for first, last in removed for i in range(first, last + 1)}
    return [line for i, line in enumerate(lines) if i not in gone]


def is_main(lines, span):
    return lines[span[0]].split() == ['body', 'main']


def chunks(lines, size):
    """Candidates without `size` neighbouring spans."""
    all_spans = [s for s in spans(lines) if not is_main(lines, s)]
    for start in range(0, len(all_spans), max(1, size // 2)):
        yield without(lines, all_spans[start:start + size])


def structural(lines):
    """Candidates without a block's frame, or without one of its sections."""
    for first, last in spans(lines):
        words = lines[first].split()
        if first == last or words[0] in ('body', 'agen', 'action'):
            continue
        depth, separators = 0, []
        for index in range(first + 1, last):
            word = lines[index].split()[0]
            if word in language.OPENERS:
                depth += 1
            elif word == 'end':
                depth -= 1
            elif depth == 0 and word in language.SEPARATORS:
                separators.append(index)
        body_end = (separators or [last])[0]
        yield without(lines, [(first, first), (body_end, last)])
        for index, separator in enumerate(separators):
            end = (separators + [last])[index + 1]
            yield without(lines, [(separator, end - 1)])


def wordwise(lines):
    """Candidates with one word less or one number smaller."""
    for index, line in enumerate(lines):
        words = line.split()
        indent = line[:len(line) - len(line.lstrip())]
        first_item = SHRINKABLE_LISTS.get(words[0])
        options = []
        if first_item is not None and len(words) > first_item + 1:
            options += [words[:i] + words[i + 1:] for i in range(first_item, len(words))]
        if words[0] in ('cancel', 'sleep', 'cond') and len(words) == 3:
            options.append(words[:2])
        if words[0] in ('sleep', 'repeat', 'timeout', 'busy', 'later', 'waitfor'):
            for i, word in enumerate(words):
                if word.isdigit() and int(word) > 1:
                    options += [words[:i] + [str(n)] + words[i + 1:] for n in {1, int(word) - 1}]
        for option in options:
            yield lines[:index] + [indent + ' '.join(option)] + lines[index + 1:]


class Shrinker:
    def __init__(self, command, limit=400):
        self.command = command
        self.limit = limit  # how many times the runner may be started

    def fails(self, candidates):
        """The first candidate (list of lines) on which runner and CPython differ, or None."""
        wanted, texts = {}, []
        for number, lines in enumerate(candidates):
            named = [f'scenario c{number}', *lines[1:]]
            try:
                want = compare.expected(named)
            except Exception:  # an invalid candidate
                continue
            if want is not None:
                wanted[f'c{number}'] = want
                texts.append('\n'.join(named) + '\n')
        if not texts:
            return None
        self.limit -= 1
        got = compare.run_many(self.command, texts, timeout=20)
        for name, want in wanted.items():
            if compare.first_difference(want, got.get(name, [])) is not None:
                return candidates[int(name[1:])]
        return None

    def first_failing(self, candidates, batch=60):
        candidates = [c for c in candidates]
        for start in range(0, len(candidates), batch):
            found = self.fails(candidates[start:start + batch])
            if found is not None:
                return found
            if self.limit <= 0:
                return None
        return None

    def shrink(self, lines):
        """A smaller scenario (lines), on which runner and CPython still differ."""
        smaller = True
        while smaller and self.limit > 0:
            smaller = False
            size = max(1, len(spans(lines)) // 2)
            while size >= 1 and self.limit > 0:
                found = self.first_failing(chunks(lines, size))
                if found is not None:
                    lines, smaller = found, True
                    size = min(size, max(1, len(spans(lines)) // 2))
                else:
                    size //= 2
            for propose in (structural, wordwise):
                found = self.first_failing(propose(lines))
                while found is not None and self.limit > 0:
                    lines, smaller = found, True
                    found = self.first_failing(propose(lines))
        return indented(lines)


def indented(lines):
    result, depth = [], 0
    for words in (line.split() for line in lines):
        if words[0] == 'end':
            depth -= 1
        separator = words[0] in language.SEPARATORS
        result.append('  ' * (depth - separator) + ' '.join(words))
        if words[0] in language.OPENERS:
            depth += 1
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runner', required=True)
    parser.add_argument('file')
    arguments = parser.parse_args()
    oracle.prepare()
    with open(arguments.file, encoding='utf-8') as file:
        name, lines, _ = language.split_file(file.read())[0]
    lines = Shrinker([arguments.runner]).shrink(lines)
    lines[0] = f'scenario {name}'
    text = '\n'.join(lines) + '\n'
    want = compare.expected(lines)
    got = compare.run_many([arguments.runner], [text]).get(name, [])
    sys.stdout.write(text)
    for title, trace in (('CPython', want), ('runner', got)):
        print(f'# {title}:', *trace, sep='\n#   ')


if __name__ == '__main__':
    main()
