"""The original's programs on two libraries: its own libllama, and ours in its place.

    run(side, "llama-simple", "-m", MODEL, ...)     what a program printed, on that side
    both("llama-simple", ...)                        on both at once: (ours, original)

Built by setup.sh. A program finds its libraries beside itself; ours comes first by LD_LIBRARY_PATH, and only libllama.so.0: ggml, common and all
else stay the original's.
"""
import concurrent.futures, os, re, subprocess, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(ROOT, "build", "tools")
PROGRAMS = os.path.join(TOOLS, "programs", "bin")
SOURCE = os.path.join(TOOLS, "programs", "source")
SHARED = os.environ.get("CAMELID_SHARED") or os.path.join(os.path.dirname(ROOT), "shared")
SCRATCH = os.path.join(ROOT, "build", "clients")
LIBRARY = os.environ.get("CAMELID_TEST_LIB") or os.path.join(ROOT, "build")
MODEL, GEMMA = (os.path.join(ROOT, "models", f"tinystories-{n}-q8_0.gguf") for n in ("llama", "gemma3"))
HELDOUT = os.path.join(ROOT, "tests", "differential", "heldout.txt")
SIDES = ("ours", "original")


class Failed(Exception):
    """A program did not do what it should; the message is the outcome in the table."""


class Skipped(Exception):
    """It could not be tried, and why."""


def library(side):
    """A folder with that side's libllama.so.0 and libllama.so."""
    if side == "original":
        return PROGRAMS
    folder = os.path.join(SCRATCH, "ours")
    os.makedirs(folder, exist_ok=True)
    for name in ("libllama.so.0", "libllama.so"):
        link, target = os.path.join(folder, name), os.path.realpath(os.path.join(LIBRARY, "libllama.so"))
        if not os.path.exists(target):
            raise Failed(f"there is no libllama.so in {LIBRARY}")
        if not os.path.islink(link) or os.readlink(link) != target:
            if os.path.lexists(link):
                os.remove(link)
            os.symlink(target, link)
    return folder


def environment(side, **more):
    return dict(os.environ, LD_LIBRARY_PATH=library(side), GGML_NO_BACKTRACE="1", LC_ALL="C.UTF-8", NO_COLOR="1", **more)


class Result:
    def __init__(self, side, name, p):
        self.rc, self.side, self.name = p.returncode, side, name
        self.out, self.err = (t.decode("utf-8", "replace") for t in (p.stdout, p.stderr))

    def ok(self):
        if self.rc != 0:
            lines = [l for l in (self.out + self.err).splitlines() if l.strip() and "Thread" not in l]
            raise Failed(f"{self.side}: exit status {self.rc}: {' / '.join(lines[-3:])[-300:]}")
        return self


def run(side, name, *args, stdin="", timeout=300, **env):
    """A program to its end, whatever that is."""
    path = os.path.join(PROGRAMS, name)
    os.makedirs(SCRATCH, exist_ok=True)
    if not os.path.exists(path):
        raise Failed(f"{name} was not built")
    try:
        p = subprocess.run([path, *map(str, args)], input=stdin.encode(), env=environment(side, **env), cwd=SCRATCH, timeout=timeout,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except subprocess.TimeoutExpired:
        raise Failed(f"{side}: not done in {timeout} s") from None
    return Result(side, name, p)


def each(calls):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


def both(name, *args, **more):
    """The same on both sides; both must end well."""
    return tuple(r.ok() for r in each([lambda s=s: run(s, name, *args, **more) for s in SIDES]))


def folder():
    os.makedirs(SCRATCH, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=SCRATCH)


def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def same_text(ours, original, least=1):
    """Equal texts, of at least so many words; else where they part."""
    if len(original.split()) < least:
        raise Failed(f"the original says too little to compare: {original[-200:]!r}")
    if ours != original:
        i = first_difference(ours, original)
        raise Failed(f"parts after {i} of {len(original)} characters: ours {ours[max(0, i - 20):i + 30]!r}, original {original[max(0, i - 20):i + 30]!r}")
    return f"same text, {len(original.split())} words"


def numbers(text):
    return [float(x) for x in re.findall(r"-?\d+\.\d+(?:e[-+]?\d+)?", text)]


def close(ours, original, rel, what):
    """Two lists of numbers within a relative distance of each other."""
    if len(ours) != len(original) or not original:
        raise Failed(f"{what}: {len(ours)} numbers, the original has {len(original)}")
    worst = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(ours, original))
    if worst > rel:
        raise Failed(f"{what}: off by {100 * worst:.3f} %, allowed are {100 * rel:g} %")
    return worst
