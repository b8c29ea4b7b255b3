"""llama_model_quantize as C has it, and small models to try it on. Runs in the processes that sides.run starts; models are written by the test."""
import ctypes, hashlib, os
import numpy as np

COUNT = 43  # GGML_TYPE_COUNT


class Importance(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class TypeOf(ctypes.Structure):
    _fields_ = [("pattern", ctypes.c_char_p), ("type", ctypes.c_int)]


class Value(ctypes.Union):
    _fields_ = [("i", ctypes.c_int64), ("f", ctypes.c_double), ("b", ctypes.c_bool), ("s", ctypes.c_char * 128)]


class Override(ctypes.Structure):
    _fields_ = [("tag", ctypes.c_int), ("key", ctypes.c_char * 128), ("value", Value)]


class Params(ctypes.Structure):
    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int), ("output_tensor_type", ctypes.c_int), ("token_embedding_type", ctypes.c_int),
                ("allow_requantize", ctypes.c_bool), ("quantize_output_tensor", ctypes.c_bool), ("only_copy", ctypes.c_bool), ("pure", ctypes.c_bool),
                ("keep_split", ctypes.c_bool), ("dry_run", ctypes.c_bool), ("imatrix", ctypes.c_void_p), ("kv_overrides", ctypes.c_void_p),
                ("tt_overrides", ctypes.c_void_p), ("prune_layers", ctypes.c_void_p), ("max_buf_size", ctypes.c_size_t)]


def fill(p, job, keep):
    """The parameters of `job`; what they point to goes to `keep`."""
    for name, _ in Params._fields_:
        if name in job:
            setattr(p, name, job[name])

    def point(field, items):
        array = (type(items[0]) * len(items))(*items)
        keep.extend([array, items])
        setattr(p, field, ctypes.addressof(array))

    if job.get("importance") is not None:
        keep.append(job["importance"])
        point("imatrix", [Importance(n.encode(), v.ctypes.data, v.size) for n, v in job["importance"].items()] + [Importance()])
    if job.get("types"):
        point("tt_overrides", [TypeOf(n.encode(), t) for n, t in job["types"]] + [TypeOf(None, COUNT)])
    if job.get("prune"):
        point("prune_layers", [ctypes.c_int32(n) for n in [*job["prune"], -1]])
    if job.get("kv"):
        point("kv_overrides", [Override(tag, key.encode(), Value(**value)) for key, tag, value in job["kv"]] + [Override()])


def library():
    lib = ctypes.CDLL(os.path.join(os.environ["LLAMA_CPP_LIB_PATH"], "libllama.so"))
    lib.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    lib.llama_model_quantize.restype = ctypes.c_uint32
    lib.llama_model_quantize_default_params.restype = Params
    return lib


def digest(path):
    if not os.path.exists(path):
        return None
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def quantise(jobs):
    """Per job the return code, and the digests of the files that are there; files go at once."""
    lib, results = library(), []
    for job in jobs:
        p, keep = lib.llama_model_quantize_default_params(), []
        fill(p, job, keep)
        to = f"{job['to']}.{os.getpid()}"
        code = lib.llama_model_quantize(os.fsencode(job["from"]), os.fsencode(to), ctypes.byref(p))
        made = [to] + [f"{to}-{i + 1:05}-of-{n:05}.gguf" for n in range(1, 4) for i in range(n)]
        digests = [digest(f) for f in made]
        if job.get("keep"):
            os.rename(to, job["to"])
        for f in filter(os.path.exists, made):
            os.remove(f)
        results.append((code, digests))
    return results


def save(job):
    """Loads `from` and saves it as `to`; says whether it loaded."""
    import llama_cpp as L
    model = L.llama_model_load_from_file(os.fsencode(job["from"]), L.llama_model_default_params())
    if not model:
        return False
    if "to" in job:
        L.llama_model_save_to_file(model, os.fsencode(job["to"]))
        L.llama_model_save_to_file(model, os.fsencode("/dev/null/no"))
    L.llama_model_free(model)
    return True
