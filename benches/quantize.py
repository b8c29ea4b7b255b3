#!/usr/bin/env python3
"""llama_model_quantize, our library and the original in processes of their own, alternating: MB of f16 weights a second.

    build/tools/venv/bin/python benches/quantize.py [--mb 64] [--threads 1 2] [--pairs 5] [--types Q4_K_M Q8_0 IQ4_XS] [--weighed]

The model is random numbers of a normal distribution in matrices of 1024 x 1024, under names of the llama architecture, on the disk that TMPDIR is on.
A run ends with the file under its name (ours is on the disk by then); the same run before it has warmed the page cache and the tables. Both files are
compared. `--weighed`: with an importance. Needs `make tools` and a release build in build/ (CAMELID_TEST_LIB and CAMELID_TEST_TOOLS: elsewhere).
"""
import argparse, itertools, json, os, pathlib, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "differential"))
FTYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20, "IQ3_XXS": 23,
          "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "TQ1_0": 36, "TQ2_0": 37,
          "Q1_0": 40, "Q2_0": 41}
N = 1024


def write(path, mb):
    import gguf
    import numpy as np
    rng, w = np.random.default_rng(1), gguf.GGUFWriter(str(path), "llama")
    kinds = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    layers = max(1, mb * 1_000_000 // (2 * N * N * len(kinds)))
    for key, value in (("block_count", layers), ("context_length", 128), ("embedding_length", N), ("feed_forward_length", N), ("attention.head_count", 8)):
        w.add_uint32(f"llama.{key}", value)
    w.add_layer_norm_rms_eps(1e-5)
    for i in range(layers):
        for kind in kinds:
            w.add_tensor(f"blk.{i}.{kind}.weight", rng.standard_normal((N, N), np.float32).astype(np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return {f"blk.{i}.{k}.weight": rng.random(N, np.float32) ** 4 for i in range(layers) for k in kinds}


def worker(job):
    import ctypes
    import numpy as np
    import quantising
    job = json.loads(job)
    lib, p, keep = quantising.library(), None, []
    p = lib.llama_model_quantize_default_params()
    if job["weighed"]:
        loaded = np.load(job["weighed"])
        job["importance"] = {n: np.ascontiguousarray(loaded[n]) for n in loaded.files}
    quantising.fill(p, job, keep)
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    lib.llama_log_set(quiet, None)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        assert lib.llama_model_quantize(os.fsencode(job["from"]), os.fsencode(job["to"]), ctypes.byref(p)) == 0
        times.append(time.perf_counter() - start)
    print(json.dumps({"s": min(times), "digest": quantising.digest(job["to"])}))


def main():
    import numpy as np
    import sides
    a = argparse.ArgumentParser()
    a.add_argument("--mb", type=int, default=64)
    a.add_argument("--threads", type=int, nargs="+", default=[2])
    a.add_argument("--pairs", type=int, default=5)
    a.add_argument("--types", nargs="+", default=["Q4_K_M", "Q8_0", "IQ4_XS"])
    a.add_argument("--weighed", action="store_true")
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as d:
        model, weights = pathlib.Path(d, "model.gguf"), pathlib.Path(d, "weights.npz")
        importance = write(model, a.mb)
        np.savez(weights, **importance)
        mb = model.stat().st_size / 1e6
        print("| type | threads | original, MB/s | ours, MB/s | ratio | same bytes |\n| --- | --- | --- | --- | --- | --- |")
        for name, threads in itertools.product(a.types, a.threads):
            best, digests = {}, set()
            for _ in range(a.pairs):
                for side in ("original", "ours"):
                    job = {"from": str(model), "to": str(pathlib.Path(d, "out.gguf")), "ftype": FTYPES[name], "nthread": threads,
                           "weighed": str(weights) if a.weighed else ""}
                    out = subprocess.run([sys.executable, __file__, "--worker", json.dumps(job)], env=sides.environment(side), check=True,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
                    row = json.loads(out.splitlines()[-1])
                    best[side] = min(best.get(side, 1e9), row["s"])
                    digests.add(row["digest"])
            o, u = mb / best["original"], mb / best["ours"]
            print(f"| {name}{', weighed' if a.weighed else ''} | {threads} | {o:.0f} | {u:.0f} | {u / o:.2f} | {'yes' if len(digests) == 1 else 'no'} |", flush=True)


if __name__ == "__main__":
    worker(sys.argv[2]) if sys.argv[1:2] == ["--worker"] else main()
