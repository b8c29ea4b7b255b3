#!/usr/bin/env python3
"""What a chain costs per token over a large vocabulary: by `llama_sampler_sample` after the decode, and run with the model (`llama_set_sampler`); both
libraries, in processes of their own, in turns.

    build/tools/venv/bin/python benches/samplers.py [--vocab 128256] [--tokens 60] [--pairs 3] [--original DIR]

The model is one layer of random numbers, so that a decode costs little beside a chain; its logits have a deviation of 3. Figures are microseconds, the
least median of all runs: of a decode with the chain less one without. Needs a release build in build/ (CAMELID_TEST_LIB: elsewhere); --original: a
folder with a libllama.so that has llama_set_sampler (`make test-clients` builds one).
"""
import argparse, json, os, pathlib, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "differential"))
WAYS = ("none", "apart", "with")


def write(path, n_vocab, n_embd=256):
    import gguf
    import numpy as np
    rng, w = np.random.default_rng(1), gguf.GGUFWriter(str(path), "llama")
    w.add_context_length(512), w.add_embedding_length(n_embd), w.add_block_count(1), w.add_feed_forward_length(n_embd), w.add_head_count(4)
    w.add_layer_norm_rms_eps(1e-5), w.add_vocab_size(n_vocab), w.add_tokenizer_model("no_vocab")
    normal = lambda *shape: rng.standard_normal(shape, np.float32)
    w.add_tensor("token_embd.weight", normal(n_vocab, n_embd).astype(np.float16))
    # Of a normed input each logit is a sum of n_embd normal numbers.
    w.add_tensor("output.weight", (normal(n_vocab, n_embd) * 3 / n_embd**0.5).astype(np.float16))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        w.add_tensor(f"{name}.weight", np.ones(n_embd, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        w.add_tensor(f"blk.0.{name}.weight", (normal(n_embd, n_embd) / n_embd**0.5).astype(np.float16))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def chains(L):
    dist = lambda: L.llama_sampler_init_dist(7)
    top_k, top_p, temp = L.llama_sampler_init_top_k, lambda p: L.llama_sampler_init_top_p(p, 1), L.llama_sampler_init_temp
    return {
        "greedy": lambda: [L.llama_sampler_init_greedy()],
        "top_k 40, top_p 0.95, temp 0.8, dist": lambda: [top_k(40), top_p(0.95), temp(0.8), dist()],
        "top_p 0.9 of all, dist": lambda: [top_p(0.9), dist()],
        "temp 0.8, dist of all": lambda: [temp(0.8), dist()],
    }


def worker(job):
    import engine
    from engine import L
    job = json.loads(job)
    model, out = engine.Model(job["model"]), {}
    tokens = [(7919 * i) % model.n_vocab for i in range(job["tokens"])]
    for name, make in chains(L).items():
        for way in WAYS:
            c, chain = model.context(n_ctx=512), L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
            for s in make():
                L.llama_sampler_chain_add(chain, s)
            if way == "with" and not L.llama_set_sampler(c.p, 0, chain):
                out[name, way] = None
                continue
            times = []
            for i, t in enumerate(tokens):
                start = time.perf_counter()
                assert c.decode([t], [i]) == 0
                if way == "none":
                    L.llama_synchronize(c.p)
                else:
                    L.llama_sampler_sample(chain, c.p, -1)
                times.append(time.perf_counter() - start)
            out[name, way] = sorted(times[4:])[len(times[4:]) // 2]
            c.free()
            L.llama_sampler_free(chain)
    print(json.dumps([[*k, v] for k, v in out.items()]))


def main():
    import sides
    a = argparse.ArgumentParser()
    a.add_argument("--vocab", type=int, default=128256)
    a.add_argument("--tokens", type=int, default=60)
    a.add_argument("--pairs", type=int, default=3)
    a.add_argument("--original", default=sides.ORIGINAL)
    a = a.parse_args()
    sides.SIDES["original"] = a.original
    best = {}
    with tempfile.TemporaryDirectory() as d:
        model = pathlib.Path(d, "model.gguf")
        write(model, a.vocab)
        for _ in range(a.pairs):
            for side in ("original", "ours"):
                job = json.dumps({"model": str(model), "tokens": a.tokens})
                said = subprocess.run([sys.executable, __file__, "--worker", job], env=sides.environment(side), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
                for name, way, s in json.loads(said.splitlines()[-1]):
                    key = side, name, way
                    best[key] = s if s is None else min(best.get(key, 1e9), s)
    print("| chain | original, sampled after | with the model | ours, sampled after | with the model |\n| --- | --- | --- | --- | --- |")
    for name in dict.fromkeys(k[1] for k in best):
        cost = lambda side, way: "-" if best[side, name, way] is None else f"{1e6 * (best[side, name, way] - best[side, name, 'none']):.0f}"
        print(f"| {name} | " + " | ".join(cost(s, w) for s in ("original", "ours") for w in WAYS[1:]) + " |", flush=True)


if __name__ == "__main__":
    worker(sys.argv[2]) if sys.argv[1:2] == ["--worker"] else main()
