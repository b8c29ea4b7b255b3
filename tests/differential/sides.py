"""The two sides of a comparison: our library and the original, each in processes of its own.

    run(side, "module:function", job)     calls function(job) in a fresh Python whose bindings are on that side's library
    both("module:function", job)          the same on both at once: (ours, original)

Paths only; what a library does is in engine.py, what is expected of it in the test files.
"""
import concurrent.futures, os, pickle, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.environ.get("CAMELID_TEST_TOOLS") or os.path.join(ROOT, "build", "tools")
OURS = os.environ.get("CAMELID_TEST_LIB") or os.path.join(ROOT, "build")
ORIGINAL = os.path.join(TOOLS, "original")
MODELS = {n: os.path.join(ROOT, "models", f"tinystories-{n}-q8_0.gguf") for n in ("llama", "gemma3")}
SIDES = {"ours": OURS, "original": ORIGINAL}


class Failed(RuntimeError):
    """The process of one side ended without a result: the message has what it said."""


def environment(side, **more):
    lib = SIDES[side]
    if not os.path.exists(os.path.join(lib, "libllama.so")):
        raise Failed(f"there is no libllama.so in {lib}")
    return dict(os.environ, LLAMA_CPP_LIB_PATH=lib, LD_LIBRARY_PATH=lib, GGML_NO_BACKTRACE="1", LC_ALL="C.UTF-8",
                PYTHONDONTWRITEBYTECODE="1", **more)


def run(side, what, job=None, timeout=240, **env):
    with tempfile.TemporaryDirectory() as d:
        given, made = os.path.join(d, "job"), os.path.join(d, "result")
        with open(given, "wb") as f:
            pickle.dump(job, f)
        p = subprocess.run([sys.executable, os.path.join(HERE, "worker.py"), what, given, made], env=environment(side, **env),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        if p.returncode != 0 or not os.path.exists(made):
            raise Failed(f"{side} {what}: exit status {p.returncode}\n{p.stdout.decode('utf-8', 'replace')[-3000:]}")
        with open(made, "rb") as f:
            return pickle.load(f)


def each(calls):
    """Results of functions without arguments, two at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


def both(what, job=None, **env):
    return tuple(each([lambda s=s: run(s, what, job, **env) for s in ("ours", "original")]))


def program(side, name, *args, stdin="", timeout=240, **env):
    """stdout of an example program on that side's library."""
    p = subprocess.run([os.path.join(ROOT, "build", name), *map(str, args)], input=stdin.encode(), env=environment(side, **env),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    if p.returncode != 0:
        raise Failed(f"{side} {name} {args}: exit status {p.returncode}\n{p.stderr.decode('utf-8', 'replace')[-2000:]}")
    return p.stdout.decode("utf-8", "replace")


def heldout():
    """Stories that the models were not trained on."""
    with open(os.path.join(HERE, "heldout.txt")) as f:
        return f.read().split("\n***\n")


def sentences():
    """Their sentences, one by one: the models are less sure without what went before."""
    return [s for s in re.split(r"(?<=[.!?]) ", " ".join(heldout()).replace("\n", " ")) if len(s) > 10]
