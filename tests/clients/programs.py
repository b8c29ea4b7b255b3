"""The original's programs and examples, one function each: what is run, and what must be equal. Each returns its outcome in words."""
import json, os, re

import numpy as np
from gguf import GGUFReader
from sides import GEMMA, HELDOUT, MODEL, Failed, both, close, each, folder, numbers, run, same_text, SIDES

PROMPT = "Once upon a time there was a little fox who"
GREEDY = ("-m", MODEL, "-t", 1, "--temp", 0, "--seed", 1)


def texts(pair, clean=lambda t: t):
    return [clean(r.out) for r in pair]


def simple():
    return same_text(*texts(both("llama-simple", "-m", MODEL, "-n", 48, PROMPT)), least=20)


def simple_chat():
    # It samples with a seed of its own, so only that it answers can be seen.
    ours, original = both("llama-simple-chat", "-m", MODEL, "-c", 512, stdin="Tell me a story.\nAnd another one.\n\n")
    if min(len(r.out.split()) for r in (ours, original)) < 20:
        raise Failed(f"it says {ours.out[-200:]!r}")
    return f"two answers, {len(ours.out.split())} words (sampled: nothing to compare)"


def tokenize():
    words = 0
    for model in (MODEL, GEMMA):
        for text in (PROMPT, "  two  spaces\n\tand 12345 déjà vu 漢字 🦊 <|im_start|>user", ""):
            for flags in (["--ids"], [], ["--no-bos", "--no-parse-special", "--show-count"]):
                ours, original = both("llama-tokenize", "-m", model, *flags, "-p", text)
                same_text(ours.out, original.out, least=0)
                words += len(original.out.split())
    return f"18 calls, same {words} words"


def quantize():
    with folder() as d:
        matrix = os.path.join(d, "matrix.gguf")
        run("original", "llama-imatrix", "-m", MODEL, "-f", HELDOUT, "-o", matrix, "-c", 128, "--chunks", 4, "-t", 1).ok()
        cases = [("Q4_0", []), ("Q4_K_M", []), ("Q6_K", ["--pure"]), ("Q5_1", ["--leave-output-tensor"]), ("IQ4_XS", ["--imatrix", matrix]),
                 ("Q3_K_S", ["--imatrix", matrix]), ("Q4_K_M", ["--token-embedding-type", "q8_0", "--tensor-type", "attn_v=q6_k"]),
                 ("COPY", []), ("Q8_0", ["--override-kv", "general.name=str:another"])]
        for i, (kind, flags) in enumerate(cases):
            made = [os.path.join(d, f"{side}-{i}.gguf") for side in SIDES]
            for r in each([lambda s=s, m=m: run(s, "llama-quantize", "--allow-requantize", *flags, MODEL, m, kind, 1) for s, m in zip(SIDES, made)]):
                r.ok()
            a, b = (open(m, "rb").read() for m in made)
            if a != b:
                raise Failed(f"{kind} {' '.join(flags)}: the files differ")
    return f"{len(cases)} files, bit-identical"


def bench():
    ours, original = both("llama-bench", "-m", MODEL, "-p", "32,64", "-n", 16, "-r", 2, "-t", 1, "-o", "json")
    rows = [json.loads(r.out) for r in (ours, original)]
    keys = [[{k: v for k, v in row.items() if k in ("n_prompt", "n_gen", "model_type", "model_size", "model_n_params", "n_batch", "type_k")} for row in side]
            for side in rows]
    if keys[0] != keys[1] or len(keys[0]) != 3 or not all(row["avg_ts"] > 0 for row in rows[0]):
        raise Failed(f"rows differ: {keys}")
    table = run("ours", "llama-bench", "-m", MODEL, "-p", 32, "-n", 16, "-r", 1, "-t", 1).ok().out
    if not re.search(r"\| +pp32 \|.*\n\|.*\| +tg16 \|", table):
        raise Failed(f"no table: {table[-300:]!r}")
    return "the same three rows, and its table"


def batched_bench():
    ours, original = both("llama-batched-bench", "-m", MODEL, "-c", 1024, "-npp", "16,32", "-ntg", 8, "-npl", "1,2", "-t", 1)
    rows = [[l.split("|")[1:5] for l in r.out.splitlines() if re.match(r"\|\s+\d", l)] for r in (ours, original)]
    if rows[0] != rows[1] or len(rows[0]) != 4:
        raise Failed(f"rows differ: {rows}")
    return "the same four rows"


def completion():
    found = []
    for more in ([], ["--grammar", 'root ::= " " [a-z]+ (" " [a-z]+){5} "."'], ["-c", 64, "-n", 120, "--context-shift", "--keep", 4],
                 ["--temp", 0.8, "--top-k", 1], ["--json-schema", '{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"]}'],
                 ["-fa", "off"], ["-ctk", "q8_0", "-ctv", "q8_0"], ["--swa-full"], ["-b", 8, "-ub", 4]):
        args = [*GREEDY, "-no-cnv", "-p", PROMPT, "-n", 48, *more]
        try:
            found.append(same_text(*texts(both("llama-completion", *args)), least=8))
        except Failed as e:
            raise Failed(f"{' '.join(map(str, more))}: {e}") from None
    with folder() as d:
        cached = [[run(s, "llama-completion", *GREEDY, "-no-cnv", "-p", PROMPT + more, "-n", 16, "--prompt-cache", os.path.join(d, s)).ok().out
                   for more in ("", " was")] for s in SIDES]
        for ours, original in zip(*cached):
            same_text(ours, original, least=8)
    return f"{len(found) + 2} ways of running, same texts"


def chat_clean(text):
    """What the program says, without its banner, spinner and times."""
    text = re.sub(r".\x08|[\x08\r]|\x1b\[[0-9;]*[A-Za-z]", "", text)
    text = re.sub(r"\[ ?Prompt:.*?\]", "", text)
    return text[text.find(">"):]


def cli():
    ours, original = both("llama-cli", *GREEDY, "-st", "-n", 48, "-p", "Tell me a story about a fox.", "-c", 512)
    return same_text(*(chat_clean(r.out) for r in (ours, original)), least=20)


def perplexity():
    said = []
    for model in (MODEL, GEMMA):
        pair = both("llama-perplexity", "-m", model, "-f", HELDOUT, "-c", 256, "-t", 1)
        final = [[float(x) for x in re.findall(r"PPL = ([0-9.]+)", r.out + r.err)] for r in pair]
        worst = close(*final, rel=0.002, what="perplexity")
        said.append(f"{final[0][0]:.4f} and {final[1][0]:.4f} ({100 * worst:.3f} %)")
    with folder() as d:
        base = os.path.join(d, "base.kld")
        run("original", "llama-perplexity", "-m", MODEL, "-f", HELDOUT, "-c", 256, "-t", 1, "--chunks", 8, "--kl-divergence-base", base).ok()
        r = run("ours", "llama-perplexity", "-m", MODEL, "-f", HELDOUT, "-c", 256, "-t", 1, "--chunks", 8, "--kl-divergence-base", base, "--kl-divergence").ok()
        kld = re.search(r"Mean\s+KLD:\s+(-?[0-9.]+)", r.out + r.err)
        top = re.search(r"Same top p:\s+([0-9.]+)", r.out + r.err)
        if not kld or float(kld[1]) > 0.001:
            raise Failed(f"KL divergence {kld and kld[1]}")
    return f"ours and the original's: {', '.join(said)}; KL divergence to the original's logits {kld[1]}, same first token {top[1]} %"


def imatrix():
    with folder() as d:
        made = [os.path.join(d, s + ".gguf") for s in SIDES]
        for r in each([lambda s=s, m=m: run(s, "llama-imatrix", "-m", MODEL, "-f", HELDOUT, "-o", m, "-c", 128, "--chunks", 8, "-t", 1) for s, m in zip(SIDES, made)]):
            r.ok()
        ours, original = ({t.name: np.array(t.data, dtype=np.float64).ravel() for t in GGUFReader(m).tensors} for m in made)
    if list(ours) != list(original):
        raise Failed(f"other entries: {sorted(set(ours) ^ set(original))[:4]}")
    worst = max((float(np.abs(ours[n] - original[n]).sum() / max(np.abs(original[n]).sum(), 1e-30)), n) for n in original)
    if worst[0] > 0.01:
        raise Failed(f"{worst[1]} is off by {100 * worst[0]:.2f} %")
    return f"the same {len(original)} entries, sums within {100 * worst[0]:.3f} %"


def fit_params():
    ours, original = both("llama-fit-params", "-m", MODEL, "-c", 512)
    same_text(ours.out, original.out)
    ours, original = both("llama-fit-params", "-m", MODEL, "-c", 4096, "-fitp", "on")
    rows = [[l.split() for l in r.out.splitlines() if re.match(r"\S+ \d+ \d+ \d+", l)] for r in (ours, original)]
    if not rows[0] or [r[0] for r in rows[0]] != [r[0] for r in rows[1]]:
        raise Failed(f"other devices: {rows}")
    if any(abs(int(a[i]) - int(b[i])) > 1 for a, b in zip(*rows) for i in (1, 2)):
        raise Failed(f"model and context in MiB: ours {rows[0]}, original {rows[1]}")
    return f"same arguments; {rows[0][0][0]}: model, context, compute in MiB {' '.join(rows[0][0][1:])}, original {' '.join(rows[1][0][1:])}"


def batched():
    return same_text(*texts(both("llama-batched", *GREEDY, "-p", PROMPT, "-np", 3, "-n", 32)), least=40)


def embedding():
    said = []
    for pooling in ("mean", "cls", "last", "none"):
        args = ["-m", MODEL, "-t", 1, "-p", PROMPT + "\nThe dog ran to the park.", "--pooling", pooling, "--embd-output-format", "json", "--embd-normalize", 2]
        ours, original = ([np.array(row["embedding"], dtype=float) for row in json.loads(r.out)["data"]] for r in both("llama-embedding", *args))
        if [a.shape for a in ours] != [b.shape for b in original]:
            raise Failed(f"{pooling}: other shapes")
        said.append(min(float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())) for a, b in zip(ours, original)))
    if min(said) < 0.999:
        raise Failed(f"cosine {min(said):.5f}")
    return f"four poolings, cosine to the original's at least {min(said):.6f}"


def parallel():
    def clean(r):
        return re.findall(r"Input:(.*?)\n.*?Response:(.*?)\n", re.sub(r"\x1b\[[0-9;]*m", "", r.out + r.err), re.S)
    ours, original = (clean(r) for r in both("llama-parallel", *GREEDY, "-np", 3, "-ns", 6, "-n", 24, "-c", 2048))
    if len(original) != 6 or sorted(ours) != sorted(original):
        raise Failed(f"{len(ours)} answers, the original {len(original)}; parting: {[p for p in zip(sorted(ours), sorted(original)) if p[0] != p[1]][:1]}")
    return f"{len(ours)} clients, same answers"


def said_with(prompt):
    def clean(r):
        text = re.sub(r"\x1b\[[0-9;]*m", "", r.out)
        text = text[text.find(prompt[:20]):]
        return text[:re.search(r"\n\s*(encoded|decoded|n_draft|W +=|N +=|draft)|\Z", text).start()].rstrip()
    return clean


def generated(name, *more):
    clean = said_with(PROMPT)
    return same_text(*(clean(r) for r in both(name, *GREEDY, "-p", PROMPT, "-n", 40, "-c", 1024, *more)), least=20)


def eval_callback():
    def names(r):
        return re.findall(r"common_debug_cb_eval:\s+(\S+) = ", r.out + r.err)
    ours, original = both("llama-eval-callback", "-m", MODEL, "-p", "Once", "-n", 1, "-t", 1, "--no-warmup")
    mine, theirs = set(names(ours)), set(names(original))
    if not mine or not mine <= theirs:
        raise Failed(f"shows {len(mine)} names, the original {len(theirs)}; unknown there: {sorted(mine - theirs)[:4]}")
    return f"{len(mine)} of the original's {len(theirs)} names"


def passkey():
    pair = both("llama-passkey", *GREEDY, "--junk", 10, "-c", 1024)
    return same_text(*(r.out[r.out.find("passkey"):] for r in pair), least=1)


def retrieval():
    args = ["-m", MODEL, "-t", 1, "--pooling", "mean", "--context-file", HELDOUT, "--chunk-size", 100, "--top-k", 2]
    pair = both("llama-retrieval", *args, "-c", 2048, stdin="Where is the dog?\n")
    def picks(r):
        return re.findall(r"position: (\d+)", r.out + r.err)
    if not picks(pair[1]) or picks(pair[0]) != picks(pair[1]):
        raise Failed(f"picks {picks(pair[0])}, the original {picks(pair[1])}")
    return f"same chunks {' '.join(picks(pair[0]))}"


ALL = {
    "llama-simple": simple,
    "llama-simple-chat": simple_chat,
    "llama-tokenize": tokenize,
    "llama-quantize": quantize,
    "llama-bench": bench,
    "llama-batched-bench": batched_bench,
    "llama-completion": completion,
    "llama-cli": cli,
    "llama-perplexity": perplexity,
    "llama-imatrix": imatrix,
    "llama-fit-params": fit_params,
    "llama-batched": batched,
    "llama-embedding": embedding,
    "llama-parallel": parallel,
    "llama-lookahead": lambda: generated("llama-lookahead", "-np", 1),
    "llama-lookup": lambda: generated("llama-lookup", "--draft", 4),
    "llama-speculative": lambda: generated("llama-speculative", "-md", MODEL, "--draft", 4),
    "llama-speculative-simple": lambda: generated("llama-speculative-simple", "-md", MODEL, "--draft", 4),
    "llama-passkey": passkey,
    "llama-retrieval": retrieval,
    "llama-eval-callback": eval_callback,
}
