"""What the suite measures, and what it should come to. Values only."""
import dataclasses
import re

MIXES = ['q4_k_m', 'q5_k_m', 'q4_0', 'iq4_xs', 'q8_0', 'q6_k', 'f16', 'bf16']

# Files of one type each.
TYPES = ['q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'iq4_nl', 'iq3_s', 'iq3_xxs', 'iq2_s', 'iq2_xs', 'iq2_xxs', 'iq1_m', 'iq1_s', 'tq1_0', 'tq2_0', 'mxfp4', 'nvfp4',
         'q1_0', 'q2_0']


@dataclasses.dataclass(frozen=True)
class Case:
    """One process of each side per pair. Jobs are those of bench.c; without any, loading is measured."""
    group: str
    model: str
    jobs: str = ''
    options: tuple = ()
    label: str = ''         # what sets it apart from other cases of the group and model
    pairs: int = 5
    kind: str = 'speed'     # speed, load, overhead (microseconds a token) or threads (what twice as many threads as cores lose)


MAPPED = ('--load-mode', '1', '--extra-bufts', '0')
# Gemma's windows as servers have them; the library's own default keeps whole caches.
WINDOWS = ('--swa-full', '0')

DEFAULT = [
    *(Case('formats', f'llama-1b-{mix}', 'pp512 tg64') for mix in MIXES),
    Case('shapes', 'qwen3-0.6b-q4_k_m', 'pp512 tg64'),
    Case('shapes', 'gemma3-1b-q4_k_m', 'pp512 tg64 tg64@4096', WINDOWS),
    Case('shapes', 'qwen3-moe-q4_k_m', 'pp512 tg64 tg16x8@256s'),
    Case('shapes', 'phi3-mini-q4_k_m', 'pp512 tg64', pairs=3),
    Case('context', 'llama-1b-q4_k_m', 'pp128 pp2048 tg64@4096 tg64@16384'),
    Case('sequences', 'llama-1b-q4_k_m', 'tg16x8@256 tg16x8@256s tg8x32@256 tg8x32@256s'),
    *(Case('load', f'llama-1b-{mix}', kind='load', label='default') for mix in ('q4_k_m', 'q8_0')),
    *(Case('load', f'llama-1b-{mix}', '', MAPPED, kind='load', label='mapped') for mix in ('q4_k_m', 'q8_0')),
    Case('overhead', 'models/tinystories-llama-q8_0.gguf', 'tg16@4', ('--reps', '100'), kind='overhead'),
    Case('overhead', 'models/tinystories-gemma3-q8_0.gguf', 'tg16@4', ('--reps', '100'), kind='overhead'),
    Case('threads', 'llama-1b-q4_k_m', 'pp64 tg16', kind='threads', pairs=3),
]

FULL = DEFAULT + [
    *(Case('types', f'llama-1b-{ty}', 'pp512 tg64') for ty in TYPES),
    *(Case('shapes', f'qwen3-0.6b-{mix}', 'pp512 tg64') for mix in MIXES[1:]),
    *(Case('shapes', f'gemma3-1b-{mix}', 'pp512 tg64', WINDOWS) for mix in MIXES[1:]),
    *(Case('shapes', f'qwen3-moe-{mix}', 'pp512 tg64', pairs=3) for mix in ('q8_0', 'q4_0', 'q6_k', 'q5_k_m', 'iq4_xs')),
    *(Case('context', f'llama-1b-{mix}', 'pp128 pp2048 tg64@4096 tg64@16384') for mix in ('q8_0', 'q4_0')),
    Case('context', 'qwen3-0.6b-q4_k_m', 'pp128 pp2048 tg64@4096 tg64@16384'),
    Case('context', 'qwen3-moe-q4_k_m', 'pp128 pp2048 tg64@4096', pairs=3),
    Case('context', 'llama-1b-q4_k_m', 'pp2048 tg64@4096', ('--type-k', 'q8_0', '--type-v', 'q8_0', '--fa', '1'), label='KV q8_0'),
    Case('sequences', 'qwen3-moe-q4_k_m', 'tg16x8@256 tg16x8@256s tg16x32@256s', pairs=3),
    *(Case('load', 'qwen3-moe-q4_k_m', '', options, kind='load', label=label, pairs=3) for label, options in (('default', ()), ('mapped', MAPPED))),
]

# (model, figure, least ratio, hoped for): the first that fits counts. Of times and memory the ratio must not be above.
TARGETS = [
    ('qwen3-moe', r'pp512', 1.5, 3),
    ('-(q4_k_m|q5_k_m|q4_0|iq4_xs)$', r'pp512', 1.5, 2.5),
    ('-q8_0$', r'pp512', 2, 4),
    ('-q6_k$', r'pp512', 1.2, 1.8),
    ('-b?f16$', r'pp512', 1.1, 1.3),
    ('-b?f16$', r'tg64', 0.98, 1.1),
    (f'llama-1b-({"|".join(TYPES)})$', r'pp512|tg64', 1, 1.3),
    ('', r'tg64', 1.05, 1.3),
    ('', r'tg64@4096', 1.15, 1.5),
    ('', r'tg64@16384', 1.3, 2),
    ('', r'tg\d+x8@.*', 1.3, 2),
    ('', r'load and 32 tokens|peak RSS', 1, 0.5),
]


def target(row):
    """(must, goal) of a row of results, or None."""
    return next(((must, goal) for model, figure, must, goal in TARGETS
                 if re.search(model, row['model']) and re.fullmatch(figure, row['figure'])), None)


def met(row):
    """'no', 'must' or 'goal'; None where nothing is asked for. A least ratio below 1 also asks that the interval reaches 1."""
    wanted = target(row) if 'ratio' in row else None
    if not wanted:
        return None
    _, middle, high = row['ratio']
    reached = (lambda v: middle >= v and (v >= 1 or high >= 1)) if row['unit'] == 't/s' else (lambda v: middle <= v)
    return 'goal' if reached(wanted[1]) else 'must' if reached(wanted[0]) else 'no'


def tiny(jobs):
    """The same jobs with numbers a 64th as large: they prove that a case works, not how fast it is."""
    fewer = lambda m: m[1] + str(max(1, int(m[2]) // 64))
    return re.sub(r'(pp|tg|@|router)(\d+)', fewer, jobs)
