#!/usr/bin/env python3
"""Makes ptx/*.ptx of the kernels; --check says which are not what the sources give, --hashes which were made of other sources (without NVRTC).

NVRTC needs neither a GPU nor the toolkit: `pip install nvidia-cuda-nvrtc-cu12==12.2.140`. That version writes PTX 8.2, which drivers from 535 on
take. Each file begins with a hash of the sources that it was made of: tests/cuda looks at those."""
import ctypes, glob, hashlib, importlib.util, os, sys

HERE = os.path.dirname(os.path.abspath(__file__))
OPTIONS = ["--std=c++17", "--fmad=false"]
# Turing, the oldest that 12.x drivers run on without notice; what tensor cores do is of Ampere.
ALL, CORES = "--gpu-architecture=compute_75", "--gpu-architecture=compute_80"
HEADERS = ["common.cuh", "formats.cuh", "mul.cuh"]
FLOATS = ["F32", "F16", "BF16"]
BLOCKS = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4", "NVFP4", "Q1_0", "Q2_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS",
          "TQ2_0", "TQ1_0", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"]


def modules():
    """(name, source, options)"""
    yield "rows", "rows.cu", [ALL]
    yield "attend", "attend.cu", [ALL]
    for f in FLOATS:
        yield f"mul_{f.lower()}", "mul.cu", [ALL, f"-DFORMAT={f}", "-DPLAIN"]
    for f in BLOCKS:
        yield f"mul_{f.lower()}", "mul.cu", [ALL, f"-DFORMAT={f}"]
        yield f"mma_{f.lower()}", "mma.cu", [CORES, f"-DFORMAT={f}"]


def read(name):
    with open(os.path.join(HERE, name)) as f:
        return f.read()


def digest(source, options):
    parts = [read(source), *map(read, HEADERS), " ".join(options)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def nvrtc():
    found = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.cuda_nvrtc")
    folders = list(found.submodule_search_locations) if found else []
    names = [p for d in folders for p in glob.glob(os.path.join(d, "lib", "libnvrtc.so.12"))]
    lib = ctypes.CDLL((names or ["libnvrtc.so.12"])[0])
    lib.nvrtcGetErrorString.restype = ctypes.c_char_p
    return lib


def compiled(lib, source, options):
    program = ctypes.c_void_p()
    texts = (ctypes.c_char_p * len(HEADERS))(*[read(h).encode() for h in HEADERS])
    names = (ctypes.c_char_p * len(HEADERS))(*[h.encode() for h in HEADERS])

    def check(rc):
        if rc:
            size = ctypes.c_size_t()
            lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            lib.nvrtcGetProgramLog(program, log)
            sys.exit(f"{source} {options}: {lib.nvrtcGetErrorString(rc).decode()}\n{log.value.decode()}")

    check(lib.nvrtcCreateProgram(ctypes.byref(program), read(source).encode(), source.encode(), len(HEADERS), texts, names))
    check(lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*[o.encode() for o in options])))
    size = ctypes.c_size_t()
    check(lib.nvrtcGetPTXSize(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    check(lib.nvrtcGetPTX(program, text))
    lib.nvrtcDestroyProgram(ctypes.byref(program))
    # Comments and blank lines are the compiler's talk.
    lines = [l.rstrip() for l in text.value.decode().splitlines()]
    kept = [l for l in lines if l and not l.lstrip().startswith("//")]
    if any(".extern .func" in l for l in kept):
        sys.exit(f"{source} {options}: calls what nobody has: an intrinsic that NVRTC does not know")
    return "\n".join(kept) + "\n"


def main():
    check, wanted = "--check" in sys.argv, [a for a in sys.argv[1:] if not a.startswith("--")]
    stale = []
    if "--hashes" in sys.argv:
        for name, source, more in modules():
            path, want = os.path.join("ptx", name + ".ptx"), f"// {digest(source, OPTIONS + more)}\n"
            if not os.path.exists(os.path.join(HERE, path)) or not read(path).startswith(want):
                stale.append(name)
        sys.exit("made of other sources: " + " ".join(stale) if stale else 0)
    lib = nvrtc()
    os.makedirs(os.path.join(HERE, "ptx"), exist_ok=True)
    for name, source, more in modules():
        if wanted and name not in wanted:
            continue
        options = OPTIONS + more
        text = f"// {digest(source, options)}\n" + compiled(lib, source, options)
        path = os.path.join(HERE, "ptx", name + ".ptx")
        if check:
            if not os.path.exists(path) or read(os.path.join("ptx", name + ".ptx")) != text:
                stale.append(name)
        else:
            with open(path, "w") as f:
                f.write(text)
    if stale:
        sys.exit("not what the sources give: " + " ".join(stale))


main()
