#!/usr/bin/env python3
"""Speed of our libllama against the original's, in one run on the same file: a ratio, not two numbers from two days.

    benches/run.py [--models llama-1b-q4_k_m] [--pairs 7] [--threads N] [--prompt 512] [--gen 64] [--depth 0] [--dry]

Each pair is one process with the original and one with ours, in turns ABBA, so that drift of the machine hits both alike. Figures are medians;
a ratio is the median over pairs, with a bootstrap interval. Both must give the same answer (see `check_answers`) or the run fails.
Adds a row per model to RESULTS.md, unless --dry. `--ours original` measures the original against itself (how far from 1 is chance?) and
records nothing.

Fetches the original (prebuilt, from npm) into build/original and makes the model files in bench-models/; both are ignored by git.
"""
import argparse
import datetime
import hashlib
import json
import math
import os
import pathlib
import random
import shlex
import statistics
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build'
MODELS = ROOT / 'bench-models'
RESULTS = ROOT / 'benches' / 'RESULTS.md'

PACKAGE = '@node-llama-cpp/linux-x64@3.22.1'
PACKAGE_SHA256 = '0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0'
# Names a program links, and the file of the package that they stand for.
LINKS = {'libllama.so.0': 'libllama.v0.5.0.so', 'libllama.so': 'libllama.v0.5.0.so', 'libggml.so': 'libggml.v0.5.0.so'}

# Two correct libraries round differently: activations have 8 bits. On random weights that moves logits by a few percent of their spread;
# a wrong kernel or a wrong rotation leaves no likeness at all.
LEAST_COSINE = 0.98


def call(*command, **kw):
    return subprocess.run([str(c) for c in command], check=True, **{'cwd': ROOT, **kw})


def link(path, target):
    path.unlink(missing_ok=True)
    path.symlink_to(target)


# What is compared

def original():
    """The folder of the original's libraries; fetched when it is not there."""
    folder = BUILD / 'original' / 'package' / 'bins' / 'linux-x64'
    if not folder.is_dir():
        (BUILD / 'original').mkdir(parents=True, exist_ok=True)
        out = call('npm', 'pack', '--silent', PACKAGE, cwd=BUILD / 'original', stdout=subprocess.PIPE, text=True).stdout
        archive = BUILD / 'original' / out.split()[-1]
        if hashlib.sha256(archive.read_bytes()).hexdigest() != PACKAGE_SHA256:
            sys.exit(f'{archive} is not the package that the results are about')
        with tarfile.open(archive) as tar:
            tar.extractall(BUILD / 'original', filter='data')
        archive.unlink()
    for name, target in LINKS.items():
        link(folder / name, target)
    return folder


def ours():
    """The folder of our library, built."""
    call('cargo', 'build', '--release', '--quiet', '--lib')
    folder = BUILD / 'ours'
    folder.mkdir(parents=True, exist_ok=True)
    link(folder / 'libllama.so.0', target_dir() / 'release' / 'libllama.so')
    link(folder / 'libllama.so', 'libllama.so.0')
    return folder


def target_dir():
    out = call('cargo', 'metadata', '--format-version', '1', '--no-deps', stdout=subprocess.PIPE).stdout
    return pathlib.Path(json.loads(out)['target_directory'])


def program(folder):
    """One binary for both, linked with the library of `folder`: which one it gets at run time, LD_LIBRARY_PATH says."""
    out = BUILD / 'bench'
    call(os.environ.get('CC', 'cc'), '-O2', '-std=c11', '-Wall', '-Wextra', '-Werror', '-Iinclude', 'benches/bench.c', '-o', out,
         '-L', folder, '-lllama', '-Wl,--allow-shlib-undefined', '-ldl', '-lm')
    return out


def model(name):
    """A model file by shape and mix, or any path to a GGUF file."""
    path = pathlib.Path(name)
    if path.suffix == '.gguf':
        return path.resolve()
    path = MODELS / f'{name}.gguf'
    if not path.exists():
        call('cargo', 'run', '--release', '--quiet', '--example', 'bench-models', '--', MODELS, name)
    return path


# Measuring

def raise_priority(nice):
    """For this process. Linux weighs sessions before it weighs processes, so the session gets the priority too."""
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    group = pathlib.Path('/proc/self/autogroup')
    if group.exists():
        group.write_text(str(nice))


def run(binary, folder, options, nice=0):
    """One process. `LD_BIND_NOW` makes a missing function an error at the start, not in the middle."""
    env = dict(os.environ, LD_LIBRARY_PATH=str(folder), LD_BIND_NOW='1')
    before = (lambda: raise_priority(nice)) if nice else None
    done = subprocess.run([binary, *options], env=env, stdout=subprocess.PIPE, text=True, preexec_fn=before)
    if done.returncode != 0:
        sys.exit(f'{shlex.join([str(binary), *options])} with {folder} ended with {done.returncode}')
    result = json.loads(done.stdout)
    if pathlib.Path(result['library']).parent != folder:
        sys.exit(f'measured {result["library"]}, not what lies in {folder}')
    return result


def measure(binary, sides, options, pairs, nice=0):
    """[(original, ours)], in turns ABBA. A first round only warms the page cache."""
    for folder in sides:
        run(binary, folder, [*options, '--prompt', '0', '--gen', '1'])
    results = []
    for i in range(pairs):
        order = (0, 1) if i % 2 == 0 else (1, 0)
        pair = {side: run(binary, sides[side], options, nice) for side in order}
        results.append((pair[0], pair[1]))
        print(f'  pair {i + 1}: ' + ', '.join(line(pair[0], pair[1])), flush=True)
    return results


def line(a, b):
    for phase in ('prompt', 'gen'):
        if phase in a:
            yield f'{phase} {speed(a, phase):.2f} and {speed(b, phase):.2f} t/s'


def speed(result, phase):
    return statistics.median(result[phase]['tokens_per_s'])


FIGURES = {
    'prompt t/s': lambda r: speed(r, 'prompt'),
    'gen t/s': lambda r: speed(r, 'gen'),
    'prompt t per CPU s': lambda r: r['prompt']['n_tokens'] / statistics.median(r['prompt']['cpu_s']),
    'gen t per CPU s': lambda r: r['gen']['n_tokens'] / statistics.median(r['gen']['cpu_s']),
    'load s': lambda r: r['load_s'],
    'load and 32 tokens s': lambda r: r['first_s'],
    'RSS after load MiB': lambda r: r['after_load']['rss_kib'] / 1024,
    'of it anonymous MiB': lambda r: r['after_load']['anon_kib'] / 1024,
    'peak RSS MiB': lambda r: r['peak_kib'] / 1024,
}
BIG = {
    'context s': lambda r: r['big_ctx_s'],
    'context anonymous MiB': lambda r: (r['after_big_ctx']['anon_kib'] - r['after_load']['anon_kib']) / 1024,
    'RSS with context MiB': lambda r: r['after_big_ctx']['rss_kib'] / 1024,
}


def interval(ratios, rounds=10000):
    """95 % of the medians that resampled pairs give."""
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(rounds))
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975)]


def summary(pairs, figures):
    """{figure: (original, ours, ratio, low, high)}; a figure that was not measured is left out."""
    rows = {}
    for name, figure in figures.items():
        try:
            values = [(figure(a), figure(b)) for a, b in pairs]
        except KeyError:
            continue
        ratios = [b / a if a else math.nan for a, b in values]
        rows[name] = (*(statistics.median(v) for v in zip(*values)), statistics.median(ratios), *interval(ratios))
    return rows


def show(rows):
    print(f'  {"":24}{"original":>12}{"ours":>12}{"ratio":>9}   95 %')
    for name, (a, b, ratio, low, high) in rows.items():
        print(f'  {name:24}{a:12.2f}{b:12.2f}{ratio:9.3f}   {low:.3f} to {high:.3f}')


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def check_answers(pairs):
    """Every run of a side gives the same bits; the two sides point the same way. Returns what to say about it."""
    said = []
    for phase in ('prompt', 'gen'):
        if phase not in pairs[0][0]:
            continue
        for side, name in enumerate(('original', 'ours')):
            if len({p[side][phase]['hash'] for p in pairs}) != 1:
                print(f'  note: {name} gives other bits from run to run ({phase})')
        a, b = pairs[0][0][phase], pairs[0][1][phase]
        like = cosine(a['logits'], b['logits'])
        if like < LEAST_COSINE:
            sys.exit(f'the answers differ after {phase}: cosine of the logits {like:.4f}, at least {LEAST_COSINE} expected')
        said.append(f'{phase} cosine {like:.5f}, argmax {"equal" if a["argmax"] == b["argmax"] else "differs"}')
    return '; '.join(said)


# The record

def cpu_model():
    info = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    fields = [dict([x.strip() for x in i.split(':', 1)] for i in info if ':' in i)]
    f = fields[0]
    return f'{f["model name"]} (family {f["cpu family"]} model {f["model"]}), {os.cpu_count()} CPUs'


def commit():
    out = lambda *c: call('git', *c, stdout=subprocess.PIPE, text=True).stdout.strip()
    return out('rev-parse', '--short', 'HEAD') + ('+' if out('status', '--porcelain', '--untracked-files=no') else '')


def record(name, a, rows, command, load):
    """One row: the columns are those of RESULTS.md."""
    ratio = lambda key: '{2:.3f} ({3:.3f} to {4:.3f})'.format(*rows[key]) if key in rows else ''
    both = lambda key, f='{:.1f} / {:.1f}': f.format(*rows[key][:2]) if key in rows else ''
    cells = [datetime.date.today().isoformat(), commit(), cpu_model(), f'{load:.1f}', a.threads, name, a.pairs,
             both('prompt t/s'), ratio('prompt t/s'), both('gen t/s'), ratio('gen t/s'), both('load and 32 tokens s', '{:.2f} / {:.2f}'),
             both('peak RSS MiB', '{:.0f} / {:.0f}'), both('context anonymous MiB', '{:.0f} / {:.0f}'), f'`{command}`']
    with RESULTS.open('a') as f:
        f.write('| ' + ' | '.join(str(c) for c in cells) + ' |\n')


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--models', default='llama-1b-q4_k_m,llama-1b-q8_0', help='SHAPE-MIX of benches/models, or paths; by commas')
    p.add_argument('--pairs', type=int, default=7)
    p.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument('--prompt', type=int, default=512)
    p.add_argument('--gen', type=int, default=64)
    p.add_argument('--depth', type=int, default=0, help='tokens before those of --gen')
    p.add_argument('--reps', type=int, default=1, help='repetitions inside a process')
    p.add_argument('--big-ctx', type=int, default=131072, help='cells of the context whose memory is measured; 0: none')
    p.add_argument('--nice', type=int, default=0, help='priority of the measured processes; below 0 only for root, on a machine that others use')
    p.add_argument('--original', help='another folder with the original')
    p.add_argument('--ours', help='another folder with a libllama.so.0, or "original"')
    p.add_argument('--dry', action='store_true', help='no row in RESULTS.md')
    p.add_argument('more', nargs='*', help='after --: options for bench.c, such as --ubatch 256 --type-k q8_0')
    return p.parse_args()


def main():
    a = arguments()
    load = os.getloadavg()[0]
    first = pathlib.Path(a.original).resolve() if a.original else original()
    second = first if a.ours == 'original' else pathlib.Path(a.ours).resolve() if a.ours else ours()
    sides, binary = (first, second), program(second)
    if load > 0.5:
        print(f'note: the machine is not idle (load {load:.1f}); threads that wait for each other suffer more than it looks')
    for name in a.models.split(','):
        base = ['--model', str(model(name)), '--threads', str(a.threads)]
        options = [*base, '--prompt', str(a.prompt), '--gen', str(a.gen), '--depth', str(a.depth), '--reps', str(a.reps), *a.more]
        print(f'{name}: {a.threads} threads, {shlex.join(options[4:])}', flush=True)
        pairs = measure(binary, sides, options, a.pairs, a.nice)
        rows = summary(pairs, FIGURES)
        if a.big_ctx:
            options = [*base, '--prompt', '0', '--gen', '0', '--big-ctx', str(a.big_ctx), *a.more]
            rows |= summary([tuple(run(binary, folder, options) for folder in sides)], BIG)
        show(rows)
        print('  ' + check_answers(pairs))
        if not a.dry and first != second:
            record(pathlib.Path(name).name, a, rows, shlex.join(['benches/run.py', *sys.argv[1:]]), load)


if __name__ == '__main__':
    main()
