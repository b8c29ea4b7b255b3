"""From what processes said to figures: medians, ratios with intervals, and whether both gave the same answer. Runs nothing, reads no files."""
import math
import random
import statistics

# Two correct libraries round differently: activations have 8 bits. On random weights that moves logits by a few percent of their spread;
# a wrong kernel or a wrong rotation leaves no likeness at all.
LEAST_COSINE = 0.98


def speed(job):
    return lambda r: r['jobs'][job]['n_tokens'] / statistics.median(r['jobs'][job]['wall_s'])


def micros(job, clock):
    return lambda r: 1e6 * statistics.median(r['jobs'][job][clock]) / r['jobs'][job]['n_tokens']


# {figure: (unit, function of a process's answer)}. Speeds are better when higher, everything else when lower.
LOAD = {
    'load': ('s', lambda r: r['load_s']),
    'load and 32 tokens': ('s', lambda r: r['first_s']),
    'peak RSS': ('MiB', lambda r: r['after_first']['peak_kib'] / 1024),
}


def of_jobs(jobs):
    return {job: ('t/s', speed(job)) for job in jobs if not job.startswith('router')}


def overhead(job):
    return {f'{job} wall': ('us', micros(job, 'wall_s')), f'{job} CPU': ('us', micros(job, 'cpu_s'))}


def interval(ratios, rounds=10000):
    """95 % of the medians that resampled pairs give."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(rounds))
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975)]


def spread(values):
    return [min(values), statistics.median(values), max(values)]


def compare(pairs, figures):
    """A row per figure: [least, median, greatest] of both sides; the median ratio ours/original of pairs and its interval."""
    rows = []
    for name, (unit, figure) in figures.items():
        first, second = [figure(a) for a, _ in pairs], [figure(b) for _, b in pairs]
        ratios = [b / a if a else math.nan for a, b in zip(first, second)]
        low, high = interval(ratios)
        rows.append({'figure': name, 'unit': unit, 'original': spread(first), 'ours': spread(second),
                     'ratio': [low, statistics.median(ratios), high], 'pairs': len(pairs)})
    return rows


def losses(rounds, jobs):
    """A row per job: percent of its speed that a side loses in the second of two settings of one round."""
    rows = []
    for job in jobs:
        lost = lambda side: [100 - 100 * speed(job)(after[side]) / speed(job)(before[side]) for before, after in rounds]
        rows.append({'figure': job, 'unit': '% lost', 'original': spread(lost(0)), 'ours': spread(lost(1)), 'pairs': len(rounds)})
    return rows


def histogram(layers, step=16):
    """Of how often each expert of each layer is chosen: the mean, the least and most by layer, and how many experts lie in each step."""
    counts = [n for layer in layers for n in layer]
    steps = [sum(n // step == i for n in counts) for i in range(max(counts) // step + 1)]
    return {'mean': statistics.mean(counts), 'layers': [[min(c), max(c)] for c in layers], 'step': step, 'histogram': steps}


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def likeness(pairs, jobs):
    """Cosines of the two sides' logits, for every token of every job that was looked at."""
    tokens = [zip(pairs[0][0]['jobs'][job]['answers'], pairs[0][1]['jobs'][job]['answers']) for job in jobs]
    return [cosine(a['logits'], b['logits']) for of_job in tokens for a, b in of_job]


def check(pairs, jobs, experts):
    """What is wrong with the answers, or None; and what to say about them.

    Both sides must point the same way after every token that was looked at. With experts one is allowed to point elsewhere now and then:
    where two experts are nearly tied, two correct libraries may take different ones, and that token differs; so half of the tokens decide."""
    unsteady = [job for job in jobs if len({p[1]['jobs'][job]['hash'] for p in pairs}) != 1]
    likes = likeness(pairs, jobs)
    if not likes:
        return None, ''
    least, middle = min(likes), statistics.median(likes)
    said = f'{len(likes)} tokens: cosine at least {least:.5f}, median {middle:.5f}'
    if unsteady:
        return f'ours gives other bits from run to run: {", ".join(unsteady)}', said
    if (middle if experts else least) < LEAST_COSINE:
        return f'the answers differ ({said}; {LEAST_COSINE} expected)', said
    return None, said
