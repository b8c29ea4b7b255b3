"""Decoders beyond the recorded ones: what their specs beside the project leave out (older tensors, YaRN, shared rows, loops, other head
sizes), made from them and compared side by side. Skipped, loudly, where the specs are not there."""
import json, os, re, sys, tempfile, unittest
import numpy as np
import sides

SHARED = os.environ.get("CAMELID_SHARED") or os.path.join(os.path.dirname(sides.ROOT), "shared")
SPECS = os.path.join(SHARED, "conformance")
# f16 keys and values leave this open; where a router is at a tie, more.
LIMIT = 1e-4
YARN = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64}


class Spec:
    """A spec that is being changed."""

    def __init__(self, base):
        with open(os.path.join(SPECS, "specs", base + ".json")) as f:
            self.s = json.load(f)

    def keys(self, **more):
        for k, v in more.pop("of", more).items():
            first = v[0] if isinstance(v, list) else v
            kind = "BOOL" if isinstance(first, bool) else "FLOAT32" if isinstance(first, float) else "STRING" if isinstance(first, str) else "UINT32"
            name = k if k.startswith("xielu.") else f"{self.s['arch']}.{k}"
            self.s["kv"] = [r for r in self.s["kv"] if r[0] != name] + [[name, "ARRAY:" + kind if isinstance(v, list) else kind, v]]
        return self

    def drop(self, pattern):
        self.s["tensors"] = [t for t in self.s["tensors"] if not re.fullmatch(pattern, t[0])]
        return self

    def shape(self, pattern, shape):
        for t in self.s["tensors"]:
            if re.fullmatch(pattern, t[0]):
                t[2] = shape(t[2]) if callable(shape) else shape
        return self

    def add(self, name, shape, layers=None):
        for il in layers or [None]:
            self.s["tensors"].append([name if il is None else f"blk.{il}.{name}", "F32", shape])
        return self


def older_latent():
    """K and V of all heads made and stored."""
    s = Spec("deepseek2-moe").keys(of={"attention.key_length": 192, "attention.value_length": 128, "attention.key_length_mla": 0,
                                      "attention.value_length_mla": 0, "attention.key_length_swa": 192, "attention.value_length_swa": 128})
    return s.drop(r".*attn_[kv]_b\.weight").add("attn_kv_b.weight", [512, 256], [0, 1])


def latent_heads_under_yarn():
    s = Spec("deepseek2-moe").keys(of={"attention.head_count": 4, "rope.scaling.yarn_log_multiplier": 0.0707, **YARN})
    s.shape(r".*attn_q_b\.weight", [512, 768]).shape(r".*attn_k_b\.weight", [128, 512, 4]).shape(r".*attn_v_b\.weight", [512, 128, 4])
    return s.shape(r".*attn_output\.weight", [512, 128])


def mistral4_under_yarn():
    return Spec("mistral4-moe").keys(of={"rope.scaling.yarn_log_multiplier": 0.1, "attention.temperature_scale": 0.1,
                                         "attention.temperature_length": 32, **YARN})


def minicpm3_long():
    s = Spec("minicpm3-dense").keys(of={"rope.dimension_count": 32, "rope.dimension_count_swa": 32, "rope.scaling.type": "longrope",
                                        "rope.scaling.original_context_length": 64})
    s.shape(r".*attn_kv_a_mqa\.weight", [256, 544]).shape(r".*attn_kv_b\.weight", [512, 448])
    return s.shape(r"rope_factors.*", [16])


def other_latent_in_windows():
    s = Spec("dots3note-moe").keys(of={"attention.kv_lora_rank_swa": 256, "attention.key_length_swa": 320, "attention.value_length_swa": 256,
                                       "attention.key_length_mla_swa": 128, "attention.value_length_mla_swa": 64, "rope.freq_base_swa": 500.0})
    for name, shape in (("kv_a_norm", [256]), ("q_b", [512, 128]), ("kv_a_mqa", [128, 320]), ("k_b", [64, 256]), ("v_b", [256, 64]),
                        ("output", [64, 128])):
        s.shape(rf"blk\.1\.attn_{name}\.weight", shape)
    return s


def gemma4_shared_rows():
    return Spec("x-gemma4").keys(of={"attention.shared_kv_layers": 2, "attention.sliding_window_pattern": [1, 1, 0, 1, 0]})


def gemma4_sizes():
    """Heads of two sizes; V is K where everything is seen."""
    s = Spec("x-gemma4").keys(of={"attention.key_length": 64, "attention.value_length": 64, "attention.key_length_swa": 32,
                                  "attention.value_length_swa": 32, "attention.head_count_kv": 1, "rope.dimension_count": 64,
                                  "rope.dimension_count_swa": 32})
    for name, shape in (("q", [128, 64]), ("k", [128, 32]), ("v", [128, 32]), ("output", [64, 128]), ("q_norm", [32]), ("k_norm", [32])):
        s.shape(rf"blk\.[0-3]\.attn_{name}\.weight", shape)
    return s.shape(r"blk\.4\.attn_k\.weight", [128, 64]).drop(r"blk\.4\.attn_v\..*")


def nanbeige_thrice():
    return Spec("nanbeige-dense").keys(num_loops=3).drop(r".*(_|\.)scale")


def hrm_of_two():
    s = Spec("hrm_text-dense").keys(of={"hrm.layers_per_stack": 2, "block_count": 12, "embedding_scale": 3.0}).drop(r".*(_|\.)scale")
    for name, _, shape in [t for t in s.s["tensors"] if re.match(r"blk\.[01]\.", t[0])]:
        s.add(f"blk.{int(name[4]) + 2}{name[5:]}", shape)
    return s


def grove_chunks():
    s = Spec("grovemoe-moe").keys(expert_count=8, expert_used_count=3, experts_per_group=2, expert_group_scale=0.3)
    s.shape(r".*ffn_gate_inp\.weight", [256, 8]).shape(r".*_exps\.weight", lambda n: n[:2] + [8])
    return s.shape(r".*_exps\.(input_)?scale", [8]).shape(r".*_chexps\.weight", lambda n: n[:2] + [4])


def laguna_gates_per_channel():
    return Spec("laguna-moe").keys(of={"rope.dimension_count_swa": 40, "rope.freq_base_swa": 500.0, **YARN}).shape(
        r".*attn_gate\.weight", [160, 160])


def step_cut():
    s = Spec("x-step35").keys(swiglu_clamp_exp=[0.3, 0.2], swiglu_clamp_shexp=[0.25, 0.3])
    return s.drop(r"blk\.0\.(ffn_gate_inp|ffn_.*exps|exp_probs_b|ffn_.*_shexp)\..*")


def mimo_values():
    s = Spec("mimo2-moe").keys(of={"attention.value_scale": 0.6, "attention.value_length": 64, "attention.value_length_swa": 64,
                                   "attention.head_count_kv": [2, 1]})
    s.shape(r"blk\.0\.attn_v\.weight", [256, 128]).shape(r"blk\.1\.attn_v\.weight", [256, 64]).shape(r"blk\.1\.attn_k\.weight", [256, 128])
    s.shape(r".*attn_output\.weight", [128, 256]).drop(r".*attn_[qkv]\.bias")
    return s.drop(r"blk\.0\.(ffn_gate_inp|ffn_.*exps|exp_probs_b|attn_sinks)\..*")


def deci(heads, kv, ff):
    s = Spec("deci-dense")
    layer = [t for t in s.s["tensors"] if t[0].startswith("blk.0.")]
    s.drop(r"blk\..*").keys(of={"block_count": 3, "attention.head_count": heads, "attention.head_count_kv": kv, "feed_forward_length": ff,
                                "swiglu_clamp_exp": [0.0] * 3, "swiglu_clamp_shexp": [0.0] * 3})
    for il in range(3):
        gone = [p for p, n in ((r"attn_[qkv]\.", kv[il]), ("attn_", heads[il]), ("ffn_", ff[il])) if n == 0]
        for name, _, shape in layer:
            if not any(re.match(p, name[6:]) for p in gone):
                s.add(name[6:], shape, [il])
    return s


CASES = {f.__name__: f for f in (
    older_latent, latent_heads_under_yarn, mistral4_under_yarn, minicpm3_long, other_latent_in_windows, gemma4_shared_rows, gemma4_sizes,
    nanbeige_thrice, hrm_of_two, grove_chunks, laguna_gates_per_channel, step_cut, mimo_values)}
CASES["grok_without_dense"] = lambda: Spec("grok-moe").keys(final_logit_softcapping=5.0, expert_weights_scale=2.5).drop(
    r".*\.ffn_(gate|up|down)\..*")
CASES["smallthinker_sees_all"] = lambda: Spec("smallthinker-moe").keys(of={"attention.sliding_window": 0})
CASES["muse_scaled"] = lambda: Spec("muse-glimmer-dense").keys(of={"logit_scale": 0.3, "rope.freq_base": 500.0, "final_logit_softcapping": 2.0})
CASES["maple_cut"] = lambda: Spec("maple-moe").keys(swiglu_clamp_exp=[0.3, 0.0])
CASES["apertus_by_layer"] = lambda: Spec("x-apertus").keys(of={"xielu.alpha_n": [0.7, -0.4], "xielu.alpha_p": [0.3, 1.2], "xielu.beta": [0.5, 0.6]})
CASES["plamo3_grouped"] = lambda: Spec("plamo3-dense").keys(of={"attention.head_count_kv": 1}).shape(r".*attn_qkv\.weight", [256, 512])
CASES["deci_linear"] = lambda: deci([2, 2, 2], [2, 0, 2], [384] * 3)
CASES["deci_without_attention"] = lambda: deci([2, 0, 2], [2, 0, 2], [384] * 3)
CASES["deci_without_ffn"] = lambda: deci([2, 2, 2], [2, 2, 2], [384, 0, 384])


class Decoders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: decoders. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            raise unittest.SkipTest("no specs")
        sys.path.insert(0, SPECS)

    def test_what_the_specs_leave_out(self):
        import make_models
        rng = np.random.default_rng(7)
        for name, case in CASES.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as d:
                path = os.path.join(d, "model.gguf")
                make_models.build(case().s, path)
                job = {"model": path, "n_ctx": 512, "chunk": 23, "tokens": [int(t) for t in rng.integers(0, 128, 180)]}
                ours, theirs = sides.both("decoders:logits", job)
                far = ((ours - theirs) ** 2).sum() / (theirs ** 2).sum()
                print(f"  {name}: nmse {far:.1e}")
                self.assertLess(far, LIMIT)
