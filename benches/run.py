#!/usr/bin/env python3
"""Speed of our libllama against the original's, in one run on the same file: a ratio, not two numbers from two days.

    benches/run.py --suite [--full] [--only REGEX]      every case of benches/cases.py; about 20 minutes (--full: two hours)
    benches/run.py --kernels                            the matrix kernels beside the machine's limits; about 5 minutes
    benches/run.py MODEL ... [--jobs 'pp512 tg64']      some files, ad hoc; prints only. MODEL is SHAPE-MIX (llama-1b-q4_k_m) or a path;
                                                        other options go to bench.c, such as --type-k q8_0

Each pair is one process with the original and one with ours, one at a time, in turns ABBA, so that drift of the machine hits both alike.
Figures are medians; a ratio is the median over pairs, with a bootstrap interval. Both must give the same answer (figures.check) or the case
fails, and the run with it. What is measured goes to benches/results.json (kernels.json), and from there to the tables of RESULTS.md and the
plots (report.py).

Fetches the original (prebuilt, from npm) into build/original and makes the model files in bench-models/; both are ignored by git.
"""
import argparse
import datetime
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import cases
import figures
import report
import sides


def deep_jobs(case):
    """Those whose earlier tokens are kept as a state. Quantised K and V are not: ours writes what the original refuses (README)."""
    return [] if '--type-k' in case.options else [job for job in case.jobs.split() if '@' in job]


def options_of(case, path, threads):
    given = ['--model', str(path), '--threads', str(threads), *case.options]
    return given + (['--states', str(sides.states(path, case.options))] if deep_jobs(case) else [])


def warm_up(bench, case, path, a):
    """The page cache, and by ours, being the faster, what comes before the tokens that are measured."""
    bench(1, options_of(case, path, a.threads) + [re.sub(r'tg\d+', 'tg1', job) for job in deep_jobs(case)])
    bench(0, options_of(case, path, a.threads))


def measure(bench, case, path, a):
    """[[(original, ours) for every number of threads] for every round], in turns ABBA."""
    settings = (a.threads, 2 * a.threads) if case.kind == 'threads' else (a.threads,)
    rounds = []
    for i in range(a.pairs or case.pairs):
        order = (0, 1) if i % 2 == 0 else (1, 0)
        rounds.append([])
        for threads in settings:
            pair = {side: bench(side, options_of(case, path, threads) + case.jobs.split()) for side in order}
            rounds[-1].append((pair[0], pair[1]))
        print('.', end='', flush=True)
    print()
    return rounds


def rows_of(case, rounds):
    jobs = case.jobs.split()
    if case.kind == 'threads':
        return figures.losses(rounds, jobs)
    wanted = {'speed': figures.of_jobs, 'load': lambda _: figures.LOAD, 'overhead': lambda jobs: figures.overhead(*jobs)}[case.kind](jobs)
    return figures.compare([r[0] for r in rounds], wanted)


def run_case(bench, case, a):
    """Its rows; raises `Failed` when a process or an answer is wrong."""
    path = sides.model(case.model)
    warm_up(bench, case, path, a)
    rounds = measure(bench, case, path, a)
    wrong, said = figures.check([pair for r in rounds for pair in r], case.jobs.split(), 'moe' in case.model)
    if wrong:
        raise sides.Failed(wrong)
    place = {'isa': a.isa or '', 'group': case.group, 'model': path.stem, 'label': case.label, 'threads': a.threads, 'answers': said}
    rows = [{**place, **row} for row in rows_of(case, rounds)]
    report.show(rows)
    return rows


def router(bench, model, n, a):
    """How the original's router spreads a prompt over the experts: one line, and what is kept of it."""
    path = sides.model(model)
    found = bench(0, ['--model', str(path), '--threads', str(a.threads), f'router{n}'])['jobs'][f'router{n}']
    kept = {'model': path.stem, 'tokens': n, **figures.histogram(found['counts'])}
    print(report.router_text(kept))
    return kept


def run_cases(bench, chosen, a, keep):
    """(rows, messages of the cases that failed); `keep` gets the rows so far after each case: a run that is ended loses nothing."""
    rows, failed = [], []
    for case in chosen:
        began = time.monotonic()
        print(f'{case.group}: {case.model} {case.label} {case.jobs}', end=' ', flush=True)
        try:
            rows += run_case(bench, case, a)
            keep(rows)
        except (sides.Failed, subprocess.CalledProcessError) as e:
            failed.append(f'{case.group}: {case.model} {case.jobs}: {e}')
            print(f'\n  FAILED: {e}')
        print(f'  {time.monotonic() - began:.0f} s', flush=True)
    return rows, failed


def chosen_cases(a):
    if not a.suite:
        return [cases.Case('ad hoc', model, a.jobs, tuple(a.more), kind='speed' if a.jobs else 'load') for model in a.models]
    table = cases.FULL if a.full else cases.DEFAULT
    if a.smoke:
        table = [shrunk(c) for c in table]
    return [c for c in table if re.search(a.only, f'{c.group} {c.model} {c.label} {c.jobs}')]


def shrunk(case):
    options = tuple('2' if before == '--reps' else o for before, o in zip(('', *case.options), case.options))
    return cases.dataclasses.replace(case, jobs=cases.tiny(case.jobs), options=options)


def cpu_model():
    info = pathlib.Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
    f = dict([x.strip() for x in i.split(':', 1)] for i in info if ':' in i)
    return f'{f["model name"]} (family {f["cpu family"]} model {f["model"]}), {os.cpu_count()} CPUs'


def commit():
    """With a + where the tree has changes other than results."""
    out = lambda *c: sides.call('git', *c, stdout=subprocess.PIPE, text=True).stdout.strip()
    written = [':!benches/*.json', ':!benches/*.svg', ':!benches/RESULTS.md']
    return out('rev-parse', '--short', 'HEAD') + ('+' if out('status', '--porcelain', '--untracked-files=no', '--', '.', *written) else '')


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('models', nargs='*', metavar='MODEL')
    p.add_argument('--suite', action='store_true', help='the cases of cases.py, recorded')
    p.add_argument('--kernels', action='store_true', help='crates/kernels/examples/kernel_bench, recorded')
    p.add_argument('--full', action='store_true', help='all of them')
    p.add_argument('--only', default='', help='those of "GROUP MODEL LABEL JOBS" that fit this regular expression; of kernels: names, commas between')
    p.add_argument('--smoke', action='store_true', help='every case once and tiny: does it work? Records nothing')
    p.add_argument('--jobs', default='pp512 tg64', help="ad hoc: jobs of bench.c; '' measures loading")
    p.add_argument('--pairs', type=int, help='instead of what the case says')
    p.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument('--isa', choices=sides.BACKENDS, help='both at most with this instruction set')
    p.add_argument('--nice', type=int, default=0, help='priority of the measured processes; below 0 only for root, on a machine that others use')
    p.add_argument('--ours', help='another folder with a libllama.so.0, or "original" (how far from 1 is chance?); records nothing')
    a, a.more = p.parse_known_args()
    if bool(a.models) + a.suite + a.kernels != 1:
        p.error('one of --suite, --kernels, or models')
    a.pairs = 1 if a.smoke else a.pairs
    return a


def circumstances(a, began):
    return {'date': datetime.date.today().isoformat(), 'commit': commit(), 'cpu': cpu_model(), 'threads': a.threads, 'load': began[1],
            'minutes': round((time.monotonic() - began[0]) / 60), 'command': shlex.join(['benches/run.py', *sys.argv[1:]])}


def run_kernels(a, began):
    out = sides.BUILD / 'kernels.json'
    sides.call('cargo', 'run', '--release', '--quiet', '--package', 'kernels', '--example', 'kernel_bench', '--', out, a.only)
    report.record_kernels(circumstances(a, began), out)


def bench_of(a):
    """A function that runs one side's process: side 0 is the original, 1 ours."""
    first = sides.original(a.isa)
    second = {None: sides.ours, 'original': lambda: first}.get(a.ours, lambda: pathlib.Path(a.ours).resolve())()
    binary = sides.program(second)
    return lambda side, options: sides.run(binary, (first, second)[side], options, a.nice, a.isa)


def run_suite(a, began):
    """Messages of the cases that failed."""
    bench = bench_of(a)
    run, recorded = report.next_run(), a.suite and not a.smoke and not a.ours

    def keep(rows, routed=None):
        if recorded:
            report.record(run, circumstances(a, began), rows, routed)

    rows, failed = run_cases(bench, chosen_cases(a), a, keep)
    if any('moe' in r['model'] for r in rows):
        keep(rows, router(bench, 'qwen3-moe-q4_k_m', 512, a))
    return failed


def main():
    a, began = arguments(), (time.monotonic(), os.getloadavg()[0])
    if began[1] > 0.5:
        print(f'note: the machine is not idle (load {began[1]:.1f}); threads that wait for each other suffer more than it looks')
    failed = run_kernels(a, began) if a.kernels else run_suite(a, began)
    if not a.models and not a.smoke:
        report.write()
    sys.exit('\n'.join(['failed:', *failed]) if failed else 0)


if __name__ == '__main__':
    main()
