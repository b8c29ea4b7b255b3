"""The two libraries that are compared, the program that measures one of them, and the model files. Knows nothing of cases or figures."""
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / 'build'
MODELS = ROOT / 'bench-models'

PACKAGE = '@node-llama-cpp/linux-x64@3.22.1'
PACKAGE_SHA256 = '0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0'
# Names a program links, and the file of the package that they stand for.
LINKS = {'libllama.so.0': 'libllama.v0.5.0.so', 'libllama.so': 'libllama.v0.5.0.so', 'libggml.so': 'libggml.v0.5.0.so'}
# The build of the original's kernels that stands for an instruction set; it takes the best that lies beside it.
BACKENDS = {'avx2': 'haswell', 'avxvnni': 'alderlake', 'avx512': 'skylakex'}
TIMEOUT_S = 900


class Failed(Exception):
    """A process that is measured did not do what it should; the message says which and how."""


def call(*command, **kw):
    return subprocess.run([str(c) for c in command], check=True, **{'cwd': ROOT, **kw})


def link(path, target):
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def original(isa=None):
    """The folder of the original's libraries; fetched when it is not there. For an instruction set: links, with its build for that alone."""
    folder = BUILD / 'original' / 'package' / 'bins' / 'linux-x64'
    if not folder.is_dir():
        fetch()
    for name, target in LINKS.items():
        link(folder / name, target)
    return only_backend(folder, BACKENDS[isa]) if isa else folder


def fetch():
    (BUILD / 'original').mkdir(parents=True, exist_ok=True)
    out = call('npm', 'pack', '--silent', PACKAGE, cwd=BUILD / 'original', stdout=subprocess.PIPE, text=True).stdout
    archive = BUILD / 'original' / out.split()[-1]
    if hashlib.sha256(archive.read_bytes()).hexdigest() != PACKAGE_SHA256:
        raise Failed(f'{archive} is not the package that the results are about')
    with tarfile.open(archive) as tar:
        tar.extractall(BUILD / 'original', filter='data')
    archive.unlink()


def only_backend(folder, backend):
    out = BUILD / f'original-{backend}'
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for file in folder.iterdir():
        if not file.name.startswith('libggml-cpu-') or file.name == f'libggml-cpu-{backend}.so':
            link(out / file.name, file)
    return out


def ours():
    """The folder of our library, built."""
    call('cargo', 'build', '--release', '--quiet', '--lib')
    out = call('cargo', 'metadata', '--format-version', '1', '--no-deps', stdout=subprocess.PIPE).stdout
    folder = BUILD / 'ours'
    folder.mkdir(parents=True, exist_ok=True)
    link(folder / 'libllama.so.0', pathlib.Path(json.loads(out)['target_directory']) / 'release' / 'libllama.so')
    link(folder / 'libllama.so', 'libllama.so.0')
    return folder


def program(folder):
    """One binary for both, linked with the library of `folder`: which one it gets at run time, LD_LIBRARY_PATH says."""
    out = BUILD / 'bench'
    call(os.environ.get('CC', 'cc'), '-O2', '-std=c11', '-Wall', '-Wextra', '-Werror', '-Iinclude', 'benches/bench.c', '-o', out,
         '-L', folder, '-lllama', '-Wl,--allow-shlib-undefined', '-ldl', '-lm')
    return out


def model(name):
    """A model file: SHAPE-MIX, made when it is not there, or a path."""
    path = pathlib.Path(name)
    if path.suffix == '.gguf':
        return (ROOT / path).resolve()
    path = MODELS / f'{name}.gguf'
    if not path.exists():
        call('cargo', 'run', '--release', '--quiet', '--example', 'bench-models', '--', MODELS, name)
    return path


def states(path, options):
    """A folder for what comes before measured tokens, which either library reads; emptied when the model file is newer."""
    folder = BUILD / 'states' / (path.stem + hashlib.sha256(shlex.join(options).encode()).hexdigest()[:8])
    if folder.exists() and folder.stat().st_mtime < path.stat().st_mtime:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def raise_priority(nice):
    """For this process. Linux weighs sessions before it weighs processes, so the session gets the priority too."""
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    group = pathlib.Path('/proc/self/autogroup')
    if group.exists():
        group.write_text(str(nice))


def run(binary, folder, options, nice=0, isa=None):
    """One process. `LD_BIND_NOW` makes a missing function an error at the start, not in the middle."""
    env = dict(os.environ, LD_LIBRARY_PATH=str(folder), LD_BIND_NOW='1', **({'CAMELID_ISA': isa} if isa else {}))
    before = (lambda: raise_priority(nice)) if nice else None
    what = f'{shlex.join([binary.name, *options])} with {folder.relative_to(BUILD) if folder.is_relative_to(BUILD) else folder}'
    try:
        done = subprocess.run([binary, *options], env=env, stdout=subprocess.PIPE, text=True, preexec_fn=before, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Failed(f'{what} took more than {TIMEOUT_S} s') from None
    if done.returncode != 0:
        raise Failed(f'{what} ended with {done.returncode}')
    result = json.loads(done.stdout)
    if pathlib.Path(result['library']).parent != folder:
        raise Failed(f'measured {result["library"]}, not what lies in {folder}')
    if isa and result['backend'] and BACKENDS[isa] not in result['backend']:
        raise Failed(f'the original took {result["backend"]}')
    return result
