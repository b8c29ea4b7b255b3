#!/usr/bin/env python3
"""What was measured, as tables and plots: results.json and kernels.json become the parts of RESULTS.md between `<!-- NAME -->` marks, ratios.svg
and roofline.svg. No figure in them is typed by hand. `make bench-plot`; measures nothing.
"""
import json
import pathlib
import re

import cases
import plot

HERE = pathlib.Path(__file__).resolve().parent
RESULTS, KERNELS, PAGE = HERE / 'results.json', HERE / 'kernels.json', HERE / 'RESULTS.md'
GROUPS = {
    'formats': 'Formats',
    'types': 'Every other type of weights',
    'shapes': 'Other shapes',
    'context': 'Short and long contexts',
    'sequences': 'Many sequences in one batch',
    'load': 'Loading, from a warm page cache',
    'overhead': 'Small bundled models: overhead',
    'threads': 'Twice as many threads as cores',
}


# The file

def load(path, nothing):
    return json.loads(path.read_text()) if path.exists() else nothing


def results():
    return load(RESULTS, {'runs': {}, 'router': None, 'rows': []})


def lines(items):
    """One item a line, so that a change reads well."""
    return '[\n' + ',\n'.join('  ' + json.dumps(i) for i in items) + '\n]'


def save(path, parts, rows):
    path.write_text('{\n' + ''.join(f'"{name}": {json.dumps(v)},\n' for name, v in parts.items()) + f'"rows": {lines(rows)}\n}}\n')


def key(row):
    return tuple(row[k] for k in ('isa', 'group', 'model', 'label', 'figure'))


def next_run():
    return str(max(map(int, results()['runs']), default=0) + 1)


def record(run, what, rows, router):
    """Rows take the place of what was known of the same thing; a run that nothing is left of goes."""
    known = results()
    rows = list({**{key(r): r for r in known['rows']}, **{key(r): {'run': run, **r} for r in rows}}.values())
    runs = {k: v for k, v in {**known['runs'], run: what}.items() if any(r['run'] == k for r in rows)}
    save(RESULTS, {'runs': runs, 'router': router or known['router']}, rows)


def record_kernels(what, file):
    measured = load(file, None)
    save(KERNELS, {'what': what, 'limits': measured['limits']}, measured['rows'])


# Rows as text

def number(v):
    return f'{v:.0f}' if abs(v) >= 100 else f'{v:.1f}' if abs(v) >= 10 else f'{v:.2f}'


def span(low_middle_high):
    low, middle, high = map(number, low_middle_high)
    return f'{middle} ({low} to {high})'


def ratio_text(row):
    return '{1:.2f} ({0:.2f} to {2:.2f})'.format(*row['ratio']) if 'ratio' in row else ''


def verdict(row):
    """What is asked for, and whether it is met."""
    met = cases.met(row)
    return ('{} / {}'.format(*cases.target(row)), {'no': '**no**', 'must': 'yes', 'goal': 'goal'}[met]) if met else ('', '')


def show(rows):
    for r in rows:
        print(f'  {r["figure"]:20} {r["unit"]:6} {span(r["original"]):>28} {span(r["ours"]):>28}  {ratio_text(r)}')
    if rows and rows[0]['answers']:
        print(f'  {rows[0]["answers"]}')


def router_text(r):
    least, most = zip(*r['layers'])
    shares = ', '.join(map(str, r['histogram']))
    return (f'Router of {r["model"]}, read out of the original by its evaluation callback over a prompt of {r["tokens"]} tokens: an expert of a layer '
            f'is chosen {r["mean"]:.0f} times on average, {min(least)} at least, {max(most)} at most; experts by choices in steps of {r["step"]}: {shares}.')


# The page

def table(head, body):
    return '\n'.join(['| ' + ' | '.join(map(str, row)) + ' |' for row in (head, ['---'] * len(head), *body)])


def case_table(rows):
    isa = lambda r: f' ({r["isa"]})' if r['isa'] else ''
    body = [[f'{r["model"]}{isa(r)}', ' '.join(filter(None, (r['figure'], r['label']))), r['unit'], span(r['original']), span(r['ours']), ratio_text(r),
             *verdict(r), r['pairs'], r['run']] for r in rows]
    return table(['model', 'case', 'unit', 'original', 'ours', 'ratio (95 %)', 'must / goal', 'met', 'pairs', 'run'], body)


def runs_table(runs):
    body = [[k, r['date'], r['commit'], r['cpu'], r['threads'], f'{r["load"]:.1f}', r['minutes'], f'`{r["command"]}`'] for k, r in runs.items()]
    return table(['run', 'date', 'commit', 'CPU', 'threads', 'load average before', 'minutes', 'command'], body)


def suite_text():
    known = results()
    of_group = lambda group: [r for r in known['rows'] if r['group'] == group]
    parts = [f'### {title}\n\n{case_table(of_group(group))}' for group, title in GROUPS.items() if of_group(group)]
    router = [router_text(known['router'])] if known['router'] else []
    return '\n\n'.join(['![Ratios](ratios.svg)', runs_table(known['runs']), *router, *parts]) if known['rows'] else 'Nothing measured yet.'


def kernel_cells(r):
    share = lambda v, limit: f'{number(v)} ({100 * v / limit:.0f} %)'
    one, every = r['read_limit']
    return [r['format'], r['layout'], r['isa'], number(r['cached']), share(r['one_core'], one), share(r['all_cores'], every),
            share(r['mac_8'], r['mac_limit']), share(r['mac_512'], r['mac_limit']), r['mac_limit_name']]


def kernel_text():
    known = load(KERNELS, None)
    if not known:
        return 'Nothing measured yet.'
    limits = table(['limit', 'one core', 'all cores'], [[name, *map(number, v)] for name, v in known['limits'].items()])
    head = ['format', 'layout', 'ISA', 'one token, cached, GB/s', 'one core, from memory', 'all cores', '8 tokens, GMAC/s', '512 tokens', 'of']
    said = '{date}, {commit}, {cpu}, load average {load:.1f}.'.format(**known['what'])
    return f'![Roofline](roofline.svg)\n\n{said}\n\n{limits}\n\n{table(head, map(kernel_cells, known["rows"]))}'


def replace_part(page, name, text):
    marks = f'<!-- {name} -->', f'<!-- /{name} -->'
    return re.sub(f'{marks[0]}.*?{marks[1]}', lambda _: f'{marks[0]}\n{text}\n{marks[1]}', page, flags=re.S)


def write():
    page = PAGE.read_text()
    for name, text in (('suite', suite_text()), ('kernels', kernel_text())):
        page = replace_part(page, name, text)
    PAGE.write_text(page)
    known, kernels = results(), load(KERNELS, None)
    if known['rows']:
        (HERE / 'ratios.svg').write_text(plot.ratios(known['rows'], GROUPS, cases))
    if kernels:
        (HERE / 'roofline.svg').write_text(plot.roofline(kernels))


if __name__ == '__main__':
    write()
