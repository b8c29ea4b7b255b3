"""The original's own tests, as far as they need only what libllama exports."""
import glob, os, re, shutil

from sides import GEMMA, MODEL, SCRATCH, SOURCE, Failed, Skipped, folder, run

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


def models():
    """The original's small models of every architecture, made once by its own generator."""
    made = os.path.join(SCRATCH, "models")
    if not os.path.exists(os.path.join(made, "done")):
        shutil.rmtree(made, ignore_errors=True)
        os.makedirs(made)
        run("original", "test-llama-archs", "-o", made, timeout=900)
        open(os.path.join(made, "done"), "w").close()
    return made


def over_models(name):
    """Statuses by model, of a test that goes through a folder of them."""
    def statuses(side):
        r = run(side, name, "--models", models(), timeout=900)
        text = re.sub(r"\x1b\[[0-9;]*m", "", r.out + r.err)
        return r, dict(re.findall(r"^\s*(\S+\.gguf)\b.*?\b(PASS|FAIL|SKIP)", text, re.M))
    (ours, mine), (original, theirs) = statuses("ours"), statuses("original")
    if not theirs:
        raise Failed(f"the original says nothing: {original.out[-200:]!r}")
    passed = [m for m in theirs if theirs[m] == "PASS"]
    lost = sorted(m for m in passed if mine.get(m) != "PASS")
    if lost:
        raise Failed(f"{len(passed) - len(lost)} of {len(passed)} models pass; not: {' '.join(m.removesuffix('.gguf') for m in lost)}")
    return f"{len(passed)} models pass"


ALL = {
    "test-c": lambda: passes("test-c"),
    "test-tokenizer-0": tokenizers,
    "test-tokenizer-1-bpe": lambda: passes("test-tokenizer-1-bpe", os.path.join(SOURCE, "models", "ggml-vocab-gpt-2.gguf")),
    "test-tokenizer-1-spm": lambda: passes("test-tokenizer-1-spm", os.path.join(SOURCE, "models", "ggml-vocab-llama-spm.gguf")),
    "test-sampling": lambda: passes("test-sampling"),
    "test-chat-template": lambda: passes("test-chat-template"),
    "test-arg-parser": lambda: passes("test-arg-parser"),
    "test-thread-safety": lambda: passes("test-thread-safety", "-m", MODEL, "-p", "The meaning of life is", "-n", 128, "-c", 256, "-ub", 32, "-np", 4, "-t", 2),
    "test-state-restore-fragmented": lambda: passes("test-state-restore-fragmented", "-m", MODEL, "-t", 1),
    "test-model-load-cancel": lambda: passes("test-model-load-cancel", MODEL),
    "test-autorelease": lambda: passes("test-autorelease", MODEL),
    "test-backend-sampler": lambda: passes("test-backend-sampler", "--model", MODEL),
    "test-save-load-state": lambda: passes("test-save-load-state", "-m", MODEL, "-t", 1),
    "test-save-load-state, gemma3": lambda: passes("test-save-load-state", "-m", GEMMA, "-t", 1),
    "test-save-load-state, all architectures": lambda: over_models("test-save-load-state"),
    "test-recurrent-state-rollback": lambda: over_models("test-recurrent-state-rollback"),
}
