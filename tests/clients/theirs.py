"""The original's own tests, as far as they need only what libllama exports."""
import glob, os, re, shutil

from sides import GEMMA, MODEL, SCRATCH, SIDES, SOURCE, Failed, Partly, Skipped, each, run

VOCABS = sorted(v[:-4] for v in glob.glob(os.path.join(SOURCE, "models", "ggml-vocab-*.gguf.inp")))


def passes(name, *args, **more):
    r = run("ours", name, *args, **more)
    if r.rc != 0:
        original = run("original", name, *args, **more)
        what = "passes" if original.rc == 0 else f"ends with {original.rc} too"
        lines = [l for l in (r.out + r.err).splitlines() if l.strip()]
        raise Failed(f"exit status {r.rc}, the original's library {what}: {' / '.join(lines[-3:])[-300:]}")
    return "passes"


def tokenizers():
    for v in VOCABS:
        try:
            passes("test-tokenizer-0", v)
        except Failed as e:
            raise Failed(f"{os.path.basename(v)}: {e}") from None
    return f"{len(VOCABS)} vocabularies pass"


def ends(name, *args, word):
    """How a test ends on both libraries, which must be the same: its exit status and the last line with that word."""
    found = []
    for r in each([lambda s=s: run(s, name, *args) for s in SIDES]):
        lines = [l.strip() for l in (r.out + r.err).splitlines() if word in l]
        found.append((r.rc, lines[-1] if lines else ""))
    if found[0] != found[1]:
        raise Failed(f"{' '.join(args)}: ours ends with {found[0]}, the original's library {found[1]}")
    return found[1]


def tokenizers_bpe():
    """Not part of the original's own run; of some vocabularies it finds what their tokenizers lose, on either library."""
    passed, failed = [], []
    for v in ("aquila", "falcon", "gpt-2", "gpt-neox", "llama-bpe", "mpt", "refact", "starcoder"):
        more = ["--ignore-merges"] if v == "llama-bpe" else []
        rc, _ = ends("test-tokenizer-1-bpe", os.path.join(SOURCE, "models", f"ggml-vocab-{v}.gguf"), *more, word="error:")
        (failed if rc else passed).append(v)
    return f"{len(passed)} vocabularies pass" + (f", {len(failed)} fail with the same words on both: {' '.join(failed)}" if failed else "")


def arg_parser():
    rc, last = ends("test-arg-parser", word="test-arg-parser:")
    if rc and "GET" not in last:
        raise Failed(last)
    return "passes" + (" up to its last part, which wants the network, on both" if rc else "")


def backend_sampler():
    """Its parts one by one: some ask for words that a small model's vocabulary does not have, and fail on the original's library too."""
    with open(os.path.join(SOURCE, "tests", "test-backend-sampler.cpp")) as f:
        parts = re.findall(r'\{ "(\w+)", +test_backend_', f.read())
    def passed(side, names):
        return [p for p in names if run(side, "test-backend-sampler", "--model", MODEL, "--test", p).rc == 0]
    ours = passed("ours", parts)
    others = [p for p in parts if p not in ours]
    lost = passed("original", others)
    said = f"{len(ours)} of {len(parts)} parts pass"
    if len(lost) < len(others):
        said += f"; fail on the original's library too: {' '.join(p for p in others if p not in lost)}"
    if lost == ["multi_output_cpu"]:
        raise Partly(f"{said}; not {lost[0]}, whose own sampler writes into the original's graph")
    if lost or not ours:
        raise Failed(f"{said}; only there: {' '.join(lost)}")
    return said


def models():
    """The original's small models of every architecture, made once by its own generator."""
    made = os.path.join(SCRATCH, "models")
    if not os.path.exists(os.path.join(made, "done")):
        shutil.rmtree(made, ignore_errors=True)
        os.makedirs(made)
        run("original", "test-llama-archs", "-o", made, timeout=900)
        open(os.path.join(made, "done"), "w").close()
    return made


def loads(model):
    """Whether ours loads one of them; they have no tokenizer."""
    return run("ours", "llama-bench", "-m", os.path.join(models(), f"{model}.gguf"), "-p", 1, "-n", 0, "-r", 1, "-t", 1).rc == 0


def over_models(name):
    """A row per model, with what its parts came to; all of them skipped: the model does not load."""
    r = run("ours", name, "--models", models(), "-t", 1, timeout=900)
    text = re.sub(r"\x1b\[[0-9;]*m", "", r.out + r.err)
    rows = {model: parts.split() for model, parts in re.findall(r"^(\S+)\.gguf((?: +(?:PASS|FAIL|SKIP))+) *$", text, re.M)}
    failed = [m for m, parts in rows.items() if "FAIL" in parts]
    passed = [m for m, parts in rows.items() if "PASS" in parts and "FAIL" not in parts]
    absent = [m for m, parts in rows.items() if set(parts) == {"SKIP"}]
    if failed and not passed and not any(loads(m) for m in failed):
        raise Skipped(f"recurrent models are not built yet: {' '.join(failed)}")
    if failed or not rows:
        raise Failed(f"fail: {' '.join(failed)}" if rows else f"exit status {r.rc}: {text[-200:]!r}")
    if not passed:
        raise Skipped(f"recurrent models are not built yet: {' '.join(absent)}")
    return f"{len(passed)} models pass" + (f"; not built yet: {' '.join(absent)}" if absent else "")


ALL = {
    "test-c": lambda: passes("test-c"),
    "test-tokenizer-0": tokenizers,
    "test-tokenizer-1-spm": lambda: passes("test-tokenizer-1-spm", os.path.join(SOURCE, "models", "ggml-vocab-llama-spm.gguf")),
    "test-tokenizer-1-bpe": tokenizers_bpe,
    "test-arg-parser": arg_parser,
    "test-sampling": lambda: passes("test-sampling"),
    "test-reasoning-budget": lambda: passes("test-reasoning-budget"),
    "test-log": lambda: passes("test-log"),
    "test-mtmd-c-api": lambda: passes("test-mtmd-c-api"),
    "test-chat-template": lambda: passes("test-chat-template"),
    "test-thread-safety": lambda: passes("test-thread-safety", "-m", MODEL, "-p", "The meaning of life is", "-n", 128, "-c", 256, "-ub", 32, "-np", 4, "-t", 2),
    "test-state-restore-fragmented": lambda: passes("test-state-restore-fragmented", "-m", MODEL, "-t", 1),
    "test-model-load-cancel": lambda: passes("test-model-load-cancel", MODEL),
    "test-autorelease": lambda: passes("test-autorelease", MODEL),
    "test-backend-sampler": backend_sampler,
    "test-save-load-state": lambda: passes("test-save-load-state", "-m", MODEL, "-t", 1),
    "test-save-load-state, gemma3": lambda: passes("test-save-load-state", "-m", GEMMA, "-t", 1),
    "test-save-load-state, all architectures": lambda: over_models("test-save-load-state"),
    "test-recurrent-state-rollback": lambda: over_models("test-recurrent-state-rollback"),
}
