"""The original's programs on two libraries: its own libllama, and ours in its place.

    run(side, "llama-simple", "-m", MODEL, ...)     what a program printed, on that side
    both("llama-simple", ...)                        on both at once: (ours, original)

Built by setup.sh. A program finds its libraries beside itself; ours comes first by LD_LIBRARY_PATH, and only libllama.so.0: ggml, common and all
else stay the original's, but within our_ggml().
"""
import concurrent.futures, contextlib, json, os, re, subprocess, tempfile

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


class Partly(Exception):
    """All that can be: what is not, and why, is the outcome in the table."""


class Skipped(Exception):
    """It could not be tried, and why."""


GGML = ("libggml.so.0", "libggml-base.so.0", "libggml-cpu.so.0")
alone = False


@contextlib.contextmanager
def our_ggml():
    """Our side has our libggml too, in the place of the original's three libraries."""
    global alone
    alone = True
    try:
        yield
    finally:
        alone = False


def library(side):
    """A folder with that side's libllama.so.0 and libllama.so."""
    if side == "original":
        return PROGRAMS
    names = {"libllama.so.0": "libllama.so", "libllama.so": "libllama.so"}
    folder = os.path.join(SCRATCH, "alone" if alone else "ours")
    os.makedirs(folder, exist_ok=True)
    for name, target in (names | {n: "libggml.so" for n in GGML} if alone else names).items():
        link, target = os.path.join(folder, name), os.path.realpath(os.path.join(LIBRARY, target))
        if not os.path.exists(target):
            raise Failed(f"there is no {os.path.basename(target)} in {LIBRARY}")
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


def both(name, *args, whole=lambda text: True, **more):
    """The same on both sides; both must end well. The original's logger, which prints from a thread, now and then loses its last lines when a
    program ends, on either library: a side that says less than the other, or nothing `whole`, is asked again."""
    def once(sides):
        return [r.ok() for r in each([lambda s=s: run(s, name, *args, **more) for s in sides])]
    found = once(SIDES)
    def said(r):
        return whole(r.out), len(r.out.splitlines())
    for _ in range(8):
        if said(found[0]) == said(found[1]) and whole(found[0].out):
            break
        shorter = min((0, 1), key=lambda i: said(found[i]))
        found[shorter] = max(found[shorter], *once([SIDES[shorter]]), key=said)
    return tuple(found)


def is_json(text):
    try:
        return json.loads(text) is not None
    except ValueError:
        return False


def folder():
    os.makedirs(SCRATCH, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=SCRATCH)


def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


# What rounding does to a log-probability, four standard deviations of it (tests/differential/test_examples.py).
NEAR = 0.3


def margin(model, text, at):
    """How much more probable the original finds its own token at a character of `text` than the next best one."""
    p = subprocess.run([os.path.join(TOOLS, "venv", "bin", "python"), os.path.join(HERE, "margin.py"), model, str(at)], input=text.encode(),
                       env=dict(os.environ, LLAMA_CPP_LIB_PATH=os.path.join(TOOLS, "original")), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return float(p.stdout) if p.returncode == 0 else float("inf")


def same_text(ours, original, least=1, model=MODEL, before=None):
    """Equal texts, of at least so many words, up to a token where the original's best two are as good as equal; else where they part. `before` is
    the prompt where the texts are without it; without one (None) they are of no model and must be equal."""
    if len(original.split()) < least:
        raise Failed(f"the original says too little to compare: {original[-200:]!r}")
    if ours == original:
        return f"same text, {len(original.split())} words"
    i = first_difference(ours, original)
    where = f"after {i} of {len(original)} characters: ours {ours[max(0, i - 20):i + 30]!r}, original {original[max(0, i - 20):i + 30]!r}"
    gap = float("inf") if before is None else margin(model, before + original, len(before.encode()) + len(original[:i].encode()))
    if gap > NEAR:
        raise Failed(f"parts {where}" + ("" if before is None else f"; there the original is sure by {gap:.2f}"))
    return f"parts at a near-tie ({gap:.2f}) {where}"


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
