"""Counts which operations a set of scenarios has exercised, as the oracle ran them."""

import contextlib
from collections import Counter


class Coverage:
    """ops, outcomes (op, ok or exception type), pairs (op, next op of the same body) and meetings
    (op, op in which another task was suspended at that time)."""

    def __init__(self):
        self.ops = Counter()
        self.outcomes = Counter()
        self.pairs = Counter()
        self.meetings = Counter()
        self._suspended = Counter()

    def enter(self, frame, op):
        self.ops[op] += 1
        if frame.previous is not None:
            self.pairs[frame.previous, op] += 1
        frame.previous = op
        for other in self._suspended:
            self.meetings[op, other] += 1

    def outcome(self, op, kind):
        self.outcomes[op, kind] += 1

    @contextlib.contextmanager
    def waiting(self, op):
        self._suspended[op] += 1
        try:
            yield
        finally:
            self._suspended[op] -= 1
            if not self._suspended[op]:
                del self._suspended[op]

    def add(self, other):
        for name in ('ops', 'outcomes', 'pairs', 'meetings'):
            getattr(self, name).update(getattr(other, name))

    def summary(self, full=False):
        lines = [
            f'operations {len(self.ops)}, executed {sum(self.ops.values())}; '
            f'kinds of outcome {len(self.outcomes)}; '
            f'adjacent pairs {len(self.pairs)} of {len(self.ops) ** 2}; '
            f'operation while another waits {len(self.meetings)}',
            'operations: ' + ' '.join(f'{k}={n}' for k, n in self.ops.most_common()),
        ]
        if full:
            lines.append('outcomes: ' + ' '.join(
                f'{op}:{kind}={n}' for (op, kind), n in sorted(self.outcomes.items())))
        return '\n'.join(lines)
