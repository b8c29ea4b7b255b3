"""The original's programs and examples, one function each: what is run, and what must be equal. Each returns its outcome in words."""
import json, os, re, subprocess, threading

import numpy as np
from gguf import GGUFReader, GGUFWriter
from sides import GEMMA, HELDOUT, MODEL, PROGRAMS, SCRATCH, SIDES, Failed, both, close, each, environment, folder, is_json, run, same_text

PROMPT = "Once upon a time there was a little fox who"
GREEDY = ("-m", MODEL, "-t", 1, "--temp", 0, "--seed", 1)


def texts(pair, clean=lambda t: t):
    return [clean(r.out) for r in pair]


def simple():
    # With four threads on any machine, which spin: few words.
    return same_text(*texts(both("llama-simple", "-m", MODEL, "-n", 24, PROMPT)), least=20)


def simple_chat():
    # It samples with a seed of its own, so only that it answers can be seen; with as many threads as the original likes, which spin.
    ours = run("ours", "llama-simple-chat", "-m", MODEL, "-c", 512, stdin="Tell me a story.\nAnd another one.\n\n").ok()
    if len(ours.out.split()) < 20:
        raise Failed(f"it says {ours.out[-200:]!r}")
    return f"two answers, {len(ours.out.split())} words (sampled: nothing to compare)"


def tokenize():
    words = 0
    for model in (MODEL, GEMMA):
        for text in (PROMPT, "  two  spaces\n\tand 12345 déjà vu 漢字 🦊 <|im_start|>user", "x"):
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


def prompt_cache():
    """A prompt, and a longer one that finds it in a file, on each side."""
    with folder() as d:
        return [[run(s, "llama-completion", *GREEDY, "-no-cnv", "-p", PROMPT + more, "-n", 16, "--prompt-cache", os.path.join(d, s)).ok().out
                 for more in ("", " was")] for s in SIDES]


def whole_ones(work):
    """What both sides say, once more while one of them says less than the other (see both)."""
    for _ in range(8):
        ours, original = work()
        if [len(t.splitlines()) for t in ours] == [len(t.splitlines()) for t in original]:
            break
    return ours, original


def completion():
    found = []
    for more in ([], ["--grammar", 'root ::= " " [a-z]+ (" " [a-z]+){5} "."'], ["-c", 64, "-n", 120, "--context-shift", "--keep", 4],
                 ["--temp", 0.8, "--top-k", 1], ["--json-schema", '{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"]}'],
                 ["-fa", "off"], ["-ctk", "bf16", "-ctv", "bf16"], ["-ctk", "q8_0", "-ctv", "q8_0"], ["--swa-full"], ["-b", 8, "-ub", 4]):
        args = [*GREEDY, "-no-cnv", "-p", PROMPT, "-n", 48, *more]
        try:
            found.append(same_text(*texts(both("llama-completion", *args)), least=8, before=""))
        except Failed as e:
            raise Failed(f"{' '.join(map(str, more))}: {e}") from None
    for ours, original in zip(*whole_ones(prompt_cache)):
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
    return same_text(*texts(both("llama-batched", *GREEDY, "-p", PROMPT, "-np", 3, "-n", 32, "-kvu")), least=40)


def embedding():
    said = []
    for pooling in ("mean", "cls", "last", "none"):
        args = ["-m", MODEL, "-t", 1, "-p", PROMPT + "\nThe dog ran to the park." if pooling != "none" else PROMPT, "--pooling", pooling, "--embd-output-format", "array", "--embd-normalize", 2]
        ours, original = (np.array(json.loads(r.out), dtype=float) for r in both("llama-embedding", *args, whole=is_json))
        if ours.shape != original.shape:
            raise Failed(f"{pooling}: shapes {ours.shape}, the original's {original.shape}")
        said.append(float(((ours * original).sum(-1) / np.sqrt((ours ** 2).sum(-1) * (original ** 2).sum(-1))).min()))
    if min(said) < 0.999:
        raise Failed(f"cosine {min(said):.5f}")
    return f"four poolings, cosine to the original's at least {min(said):.6f}"


def parallel():
    def clean(r):
        return re.findall(r"Input:(.*?)\n.*?Response:(.*?)\n", re.sub(r"\x1b\[[0-9;]*m", "", r.out + r.err), re.S)
    ours, original = (clean(r) for r in both("llama-parallel", *GREEDY, "-np", 3, "-ns", 6, "-n", 24, "-c", 6144))
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
    return same_text(*(clean(r) for r in both(name, *GREEDY, "-p", PROMPT, "-n", 40, "-c", 1024, *more)), least=20, before="")


def eval_callback():
    def sums(r):
        """The first sum under each name."""
        found = re.findall(r"common_debug_cb_eval: +(\S+) = .*?sum = (-?[0-9.]+)", r.out + r.err, re.S)
        return {n: float(s) for n, s in reversed(found) if not n.startswith("node_")}
    pair = both("llama-eval-callback", "-m", MODEL, "-p", PROMPT, "-n", 1, "-t", 1, whole=lambda text: "result_output" in text)
    ours, original = map(sums, pair)
    common = [n for n in original if n in ours]
    # Sums cancel, so what 8-bit inputs differ by shows.
    off = [n for n in common if abs(ours[n] - original[n]) > 0.08 * abs(original[n]) + 4.0]
    if len(common) < 40 or off:
        raise Failed(f"{len(common)} of {len(original)} names; other sums: " + " ".join(f"{n} {ours[n]:.3f}/{original[n]:.3f}" for n in off[:5]))
    return f"{len(common)} of the original's {len(original)} names, sums alike; not: {' '.join(n for n in original if n not in ours)}"


def passkey():
    return same_text(*texts(both("llama-passkey", *GREEDY, "--junk", 10, "-c", 1024)), least=8)


def lora(path, seed, scale=0.05):
    """Low-rank differences of every layer's query and gate, from a seed; strong enough to change what is said."""
    rng, rank = np.random.default_rng(seed), 4
    reader = GGUFReader(MODEL)
    w = GGUFWriter(path, "llama")
    w.add_type("adapter")
    w.add_string("adapter.type", "lora")
    w.add_float32("adapter.lora.alpha", float(rank))
    for t in reader.tensors:
        if re.fullmatch(r"blk\.\d+\.(attn_q|ffn_gate)\.weight", t.name):
            n_in, n_out = int(t.shape[0]), int(t.shape[1])
            w.add_tensor(t.name + ".lora_a", rng.standard_normal((rank, n_in)).astype(np.float32))
            w.add_tensor(t.name + ".lora_b", (scale * rng.standard_normal((n_out, rank))).astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def adapters():
    with folder() as d:
        a, b = (lora(os.path.join(d, f"{s}.gguf"), s) for s in (1, 2))
        plain = run("ours", "llama-completion", *GREEDY, "-no-cnv", "-p", PROMPT, "-n", 32).ok().out
        said = []
        for more in (["--lora", a], ["--lora-scaled", f"{a}:0.5,{b}:-0.25"]):
            ours, original = both("llama-completion", *GREEDY, "-no-cnv", "-p", PROMPT, "-n", 32, *more)
            said.append(same_text(ours.out, original.out, least=8))
            if original.out == plain:
                raise Failed("the adapter changes nothing: it compares nothing")
    return f"one and two adapters: {'; '.join(said)}"


def export_lora():
    """The merged file, and what it says on both libraries."""
    with folder() as d:
        adapter, made = lora(os.path.join(d, "adapter.gguf"), 1), [os.path.join(d, s + ".gguf") for s in SIDES]
        for r in each([lambda s=s, m=m: run(s, "llama-export-lora", "-m", MODEL, "--lora", adapter, "-o", m, "-t", 1) for s, m in zip(SIDES, made)]):
            r.ok()
        a, b = (open(m, "rb").read() for m in made)
        if a != b:
            raise Failed("the merged files differ")
        args = ("-m", made[0], "-t", 1, "--temp", 0, "--seed", 1, "-no-cnv", "-p", PROMPT, "-n", 32)
        return f"bit-identical; {same_text(*texts(both('llama-completion', *args)), least=8, model=made[0], before='')}"


def retrieval():
    """It asks for ever, and reads an empty question where input ends: it is stopped after the answers to one."""
    def answers(side):
        p = subprocess.Popen([os.path.join(PROGRAMS, "llama-retrieval"), "-m", MODEL, "-t", "1", "--pooling", "mean", "-c", "256", "-b", "256", "--top-k", "4",
                              "--context-file", HELDOUT, "--chunk-size", "120", "--chunk-separator", "."],
                             env=environment(side), cwd=SCRATCH, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
        stop = threading.Timer(300, p.kill)
        stop.start()
        try:
            p.stdin.write("Where did the fox live?\n")
            p.stdin.flush()
            said = ""
            for line in p.stdout:
                said += line
                if said.count("-" * 20) == 4:
                    break
        finally:
            stop.cancel()
            p.kill()
            p.wait()
        return re.findall(r"filepos: (\d+)\nsimilarity: ([0-9.]+)", said)
    ours, original = each([lambda s=s: answers(s) for s in SIDES])
    if len(original) != 4 or sorted(p for p, _ in ours) != sorted(p for p, _ in original):
        raise Failed(f"ours {ours}, original {original}")
    similarity = dict(original)
    return f"the same 4 chunks, similarities within {max(abs(float(s) - float(similarity[p])) for p, s in ours):.2g}"


def ngrams():
    """Files of what follows what, made, merged and tried against a text."""
    with folder() as d:
        found = {}
        for side in SIDES:
            made, merged = os.path.join(d, side), os.path.join(d, side + "-merged")
            run(side, "llama-lookup-create", "-m", MODEL, "-t", 1, "-f", HELDOUT, "-lcs", made, "-c", 2048).ok()
            run(side, "llama-lookup-merge", made, made, merged).ok()
            r = run(side, "llama-lookup-stats", "-m", MODEL, "-t", 1, "-f", HELDOUT, "-lcs", made, "-c", 512, "--spec-draft-n-max", 4).ok()
            found[side] = [re.findall(r"(n_drafted|n_accept) += (\d+)", r.out + r.err), *(open(f, "rb").read() for f in (made, merged))]
    if found["ours"] != found["original"] or len(found["original"][0]) != 2:
        raise Failed(f"they differ: {found['ours'][0]}, original {found['original'][0]}")
    return f"two files of {len(found['ours'][1])} bytes the same; {', '.join(' '.join(x) for x in found['ours'][0])}"


def debug():
    """The logits after a prompt, as a file."""
    found = {}
    for side in SIDES:
        with folder() as d:
            run(side, "llama-debug", "-m", MODEL, "-t", 1, "-p", PROMPT, "--save-logits", "--logits-output-dir", d).ok()
            files = {f: open(os.path.join(d, f), "rb").read() for f in os.listdir(d)}
            found[side] = np.frombuffer(next(b for f, b in files.items() if f.endswith(".bin") and "tokens" not in f), np.float32).astype(np.float64), \
                next(b for f, b in files.items() if f.endswith("tokens.bin"))
    (a, tokens), (b, others) = found["ours"], found["original"]
    off = float(((a - b) ** 2).sum() / (b ** 2).sum())
    if tokens != others or len(a) != 2048 or off > 1e-3:
        raise Failed(f"{len(a)} logits, off by {off}, tokens {tokens == others}")
    return f"{len(a)} logits, squared error over square {off:.2g}; the same tokens"


def gguf_split():
    """Parts and what they merge to; llama-gguf reads them."""
    with folder() as d:
        found = {}
        for side in SIDES:
            part = os.path.join(d, side)
            run(side, "llama-gguf-split", "--split", "--split-max-tensors", 12, MODEL, part).ok()
            parts = sorted(f for f in os.listdir(d) if f.startswith(side + "-"))
            run(side, "llama-gguf-split", "--merge", os.path.join(d, parts[0]), os.path.join(d, side + ".whole")).ok()
            found[side] = [open(os.path.join(d, f), "rb").read() for f in parts + [side + ".whole"]]
        if found["ours"] != found["original"] or len(found["ours"]) < 4:
            raise Failed("the files differ")
        return f"{len(found['ours']) - 1} parts and what they merge to, bit-identical"


def control_vectors():
    """Made by the one program, on both libraries, and used by another."""
    with folder() as d:
        for name, text in (("good", "I am happy\nWhat a good day\n"), ("bad", "I am sad\nWhat a bad day\n")):
            with open(os.path.join(d, name), "w") as f:
                f.write(text)
        made = [os.path.join(d, s + ".gguf") for s in SIDES]
        for r in each([lambda s=s, m=m: run(s, "llama-cvector-generator", "-m", MODEL, "--positive-file", os.path.join(d, "good"), "--negative-file",
                                            os.path.join(d, "bad"), "-o", m, "-t", 1, "--method", "mean") for s, m in zip(SIDES, made)]):
            r.ok()
        ours, original = ({t.name: np.array(t.data, dtype=np.float64) for t in GGUFReader(m).tensors} for m in made)
        cosine = min(float((ours[n] * v).sum() / np.sqrt((ours[n] ** 2).sum() * (v ** 2).sum())) for n, v in original.items())
        if list(ours) != list(original) or cosine < 0.99:
            raise Failed(f"cosine {cosine}")
        pair = both("llama-completion", *GREEDY, "-no-cnv", "-p", PROMPT, "-n", 32, "--control-vector-scaled", f"{made[1]}:8")
        return f"{len(ours)} directions, cosine at least {cosine:.4f}; used: {same_text(*texts(pair), least=8)}"


ALL = {
    "llama-simple": simple,
    "llama-simple-chat": simple_chat,
    "llama-tokenize": tokenize,
    "llama-quantize": quantize,
    "llama-bench": bench,
    "llama-batched-bench": batched_bench,
    "llama-completion": completion,
    "llama-completion, LoRA": adapters,
    "llama-export-lora": export_lora,
    "llama-gguf-split": gguf_split,
    "llama-cvector-generator, control vectors": control_vectors,
    "llama-cli": cli,
    "llama-perplexity": perplexity,
    "llama-imatrix": imatrix,
    "llama-fit-params": fit_params,
    "llama-batched": batched,
    "llama-embedding": embedding,
    "llama-retrieval": retrieval,
    "llama-parallel": parallel,
    "llama-lookahead": lambda: generated("llama-lookahead", "-np", 1),
    "llama-lookup": lambda: generated("llama-lookup", "--spec-draft-n-max", 4),
    "llama-lookup-create, -merge, -stats": ngrams,
    "llama-debug": debug,
    "llama-speculative": lambda: generated("llama-speculative", "-md", MODEL, "--spec-draft-n-max", 4),
    "llama-speculative-simple": lambda: generated("llama-speculative-simple", "-md", MODEL, "--spec-type", "draft-simple", "--spec-draft-n-max", 4),
    "llama-passkey": passkey,
    "llama-eval-callback": eval_callback,
}
