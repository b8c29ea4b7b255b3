// What a text looks like to a model, through the C interface by koffi: node tokens.mjs LIBLLAMA.so MODEL.gguf TEXT
import koffi from "koffi";

const [lib, path, text] = process.argv.slice(2);
const llama = koffi.load(lib);
// Parameters travel by value; they are taken as the library gives them, so their size is all that counts here.
const Params = koffi.struct("llama_model_params", { words: koffi.array("uint64_t", 10) });
const defaults = llama.func("llama_model_default_params", Params, []);
const load = llama.func("llama_model_load_from_file", "void *", ["str", Params]);
const vocabOf = llama.func("llama_model_get_vocab", "void *", ["void *"]);
const tokenize = llama.func("llama_tokenize", "int32_t", ["void *", "str", "int32_t", "_Out_ int32_t *", "int32_t", "bool", "bool"]);
const textOf = llama.func("llama_vocab_get_text", "str", ["void *", "int32_t"]);
const free = llama.func("llama_model_free", "void", ["void *"]);

const model = load(path, defaults());
if (!model) process.exit(1);
const vocab = vocabOf(model);
const bytes = Buffer.byteLength(text);
const tokens = new Int32Array(bytes + 2);
const n = tokenize(vocab, text, bytes, tokens, tokens.length, false, true);
for (const token of tokens.subarray(0, n)) console.log(token, JSON.stringify(textOf(vocab, token)));
free(model);
