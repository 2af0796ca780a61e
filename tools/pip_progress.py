"""Show pip's progress as one line that counts packages; errors pass through on stderr."""

import re
import sys
import time

started, seen = time.monotonic(), set()
wide = sys.stdout.isatty()


def show(text: str, end: str) -> None:
    "One line, over the one before it where a terminal can do that"
    print(f'\r{text[:100]:<100}' if wide else text, end=end, flush=True)


for line in sys.stdin:
    if found := re.match(r'Collecting ([\w.-]+)', line):
        seen.add(found[1])
        if wide or len(seen) % 25 == 0:
            show(f'    {len(seen):>4} packages found, now {found[1]}', '' if wide else '\n')
    elif line.startswith('Installing collected packages'):
        show(f'    {len(seen):>4} packages found, installing them', '' if wide else '\n')
    elif line.startswith(('ERROR', 'error')):
        print(line, file=sys.stderr)
show(f'    done in {time.monotonic() - started:.0f} s', '\n')
