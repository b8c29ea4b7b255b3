"""Grammars: after every token the set of allowed ones is the original's, over a small vocabulary and over one of 128,000 tokens."""
import os, random, unittest
import sides

GRAMMARS = {
    "json": rb'''
root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,3})? ws
ws ::= | " " | "\n" [ \t]{0,20}
''',
    "arithmetic": rb'''
root ::= (sum "=" ws term "\n")+
sum ::= term ([-+*/] ws term)*
term ::= name | number | "(" ws sum ")" ws
name ::= [a-z] [a-z0-9_]* ws
number ::= [0-9]+ ws
ws ::= [ \t]*
''',
    "program": rb'''
root ::= function+
function ::= type name "(" (type name ("," ws type name)*)? ")" ws block
type ::= ("int" | "float" | "char" | "unsigned " ("int" | "char")) " "
name ::= [a-zA-Z_] [a-zA-Z_0-9]*
block ::= "{" nl statement* "}" nl
statement ::= (type? name " = " expression ";" | "return " expression ";" | "if (" expression ") " block ("else " block)? | comment | "while (" expression ") " block) nl
expression ::= operand (" " ("+" | "-" | "<=" | "<" | "==" | "&&") " " operand)*
operand ::= name | [0-9]+ | name "(" (expression ("," ws expression)*)? ")" | "-" operand | "(" expression ")"
comment ::= "/*" ([^*] | "*" [^/])* "*/" | "//" [^\n]*
ws ::= " "?
nl ::= "\n" [ \t]{0,8}
''',
    "chess": rb'''
root ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move ::= (([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])? | [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8] | "O-O" "-O"?) [+#]?
''',
    "list": rb'root ::= ("- " [^\r\n\x0b\x0c\x85\u2028\u2029]+ ("\n" | "\r\n"))+',
    "japanese": "root ::= jp+ ([ \\t\\n] jp+)*\njp ::= [ぁ-ゟ] | [ァ-ヿ] | [、-〾] | [一-鿿]".encode(),
    "anything": b"root ::= .*",
    "not ascii": rb"root ::= [^\x00-\x7F]* [\U0001F300-\U0001FAFF] [\u0400-\u04FF]{2,5}",
    "empty": b'root ::= ""',
    "tokens": rb'root ::= (<[100]> | !<[101]> "a" | "b" <[102]> | [c-e]+ !<[200]>)+',
    "tail": b'root ::= ws root | "a" root | "b"\nws ::= " "*',
    "ambiguous": b'root ::= ("a"? "b"? ("c" | "ab") | "a"+ "bc"){1,9}',
    "words": b"root ::= (\"the\" | \"then\" | \"there\" | \"a\") (\" \" [a-z]{1,8} | \", \" [a-z]+){2,6} [.!?]",
    "root elsewhere": b'a ::= "x"\nroot ::= a{3} | <[7]> a',
    # refused
    "left recursion": b'root ::= root "a" | "b"',
    "hidden left recursion": b'root ::= ws root "a" | "b"\nws ::= | " "',
    "undefined": b"root ::= nothing",
    "no root": b'main ::= "a"',
    "malformed": b'root ::= ("a" | "b"',
    "repeated": b'root ::= "a"{3000}',
    "nothing to repeat": b"root ::= *",
    "not a token": b"root ::= <no-such-token-anywhere>",
    "only a comment": b"# nothing",
}
TRIGGERS = [
    {"patterns": [rb"<tool>\s*(\{)"], "says": b'Let me see. <tool> {"a'},
    {"patterns": [rb"^no$", rb"[\s\S]*?(\{\s*\")[\s\S]*"], "says": b'Well, { "x'},
    {"patterns": [rb">>>(?!all)\w+(\{)"], "says": b'>>>all >>>tool{'},
    {"words": [b"<a.b>", b"{"], "says": b"say {"},
    {"patterns": [b"never"], "says": b"nothing happens here"},
]


def generated(seed):
    """A random grammar. Rules refer to later ones, or to themselves at the end, so that every one is a grammar."""
    r = random.Random(seed)
    n = r.randint(1, 4)

    def symbol(i, depth):
        k = r.random()
        if k < .3:
            return '"' + "".join(r.choice(["a", "b", "e", "t", " ", "th", "0", "é", "\\n", "{", "日"]) for _ in range(r.randint(1, 3))) + '"'
        if k < .55:
            return r.choice(["[a-e]", "[^a-z]", "[0-9]", "[ ,.]", "[a-zA-Zà-ÿ]", ".", "[^\\n]", "[ぁ-ゟ一-鿿]", "[x-a]"])
        if k < .6:
            return r.choice(["<[%d]>", "!<[%d]>"]) % r.randrange(300)
        if k < .8 and i + 1 < n:
            return f"r{r.randint(i + 1, n - 1)}"
        if depth < 2:
            return "(" + alternatives(i, depth + 1) + ")"
        return '"x"'

    def repeated(s):
        # Repetitions of what can be nothing, or many things, are more than the original can do in a lifetime.
        return s + r.choice([""] * 5 + (["?", "{2}"] if s[0] in "(r" else ["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"]))

    def alternatives(i, depth):
        def sequence():
            return " ".join(repeated(symbol(i, depth)) for _ in range(r.randint(1, 3)))
        return " | ".join(sequence() for _ in range(r.randint(1, 2 if depth else 3)))

    rules = []
    for i in range(n):
        again = f" | [a-z] r{i}" if r.random() < .3 else ""
        rules.append(f"r{i} ::= {alternatives(i, 0)}{again}")
    return ("root ::= r0 \"\\n\"?\n" + "\n".join(rules)).encode()


def cases(n_seeds, n_generated, steps):
    out = {f"{name} {seed}": {"grammar": g, "seed": seed, "steps": steps} for name, g in GRAMMARS.items() for seed in range(n_seeds)}
    out |= {f"lazy {i}": {"grammar": GRAMMARS["json"], "seed": i, "steps": steps, **t} for i, t in enumerate(TRIGGERS)}
    out["by token"] = {"grammar": b'root ::= <[100]> "a"+', "seed": 0, "steps": 6, "tokens": [100], "says": b"well"}
    out |= {f"generated {seed}": {"grammar": generated(seed), "seed": seed, "steps": steps // 2} for seed in range(n_generated)}
    return out


class Grammars(unittest.TestCase):
    def compare(self, model, cases):
        ours, original = sides.both("grammars:walks", {"model": model, "cases": list(cases.values())})
        for (name, case), a, b in zip(cases.items(), ours, original):
            with self.subTest(name):
                self.assertEqual(a, b, case["grammar"].decode("utf-8", "replace"))
        n_refused = sum(w is None for w in original)
        n_steps = sum(len(w) for w in original if w)
        print(f"  {os.path.basename(model)}: {len(cases)} grammars, {n_refused} refused, {n_steps} sets of tokens")
        self.assertGreater(n_steps, 5 * len(cases))

    def test_a_small_vocabulary(self):
        self.compare(sides.MODELS["llama"], cases(4, 300, 40))

    def test_a_large_vocabulary(self):
        shared = os.environ.get("CAMELID_SHARED") or os.path.join(os.path.dirname(sides.ROOT), "shared")
        model = os.path.join(shared, "conformance", "vocab", "ggml-vocab-llama-bpe.gguf")
        if not os.path.exists(model):
            self.skipTest(f"SKIPPED: there is no {model} (set CAMELID_SHARED to the folder that has conformance/)")
        self.compare(model, cases(1, 40, 24))


if __name__ == "__main__":
    unittest.main()
