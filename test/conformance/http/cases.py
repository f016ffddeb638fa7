"""All cases, by name."""

import answers
import exchanges
from case import CASES

for group in (answers.bodies, answers.broken_bodies, answers.heads, answers.broken_heads,
              answers.statuses, answers.lengths, answers.encodings, exchanges.redirects,
              exchanges.cookies, exchanges.sent, exchanges.uploads, exchanges.proxies,
              exchanges.domains, answers.texts):
    group()
