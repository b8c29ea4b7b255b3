#!/usr/bin/env python3
"""Machines with several memory nodes, each a small virtual machine: does our library find what is there, and do pages lie where it puts them?

    run.py --vm PATH [--only REGEX] [--list] [--verbose]

A row of CASES is a machine and what is run in it; a new program is a row of PROGRAMS and lines of CASES. A machine takes 4 to 10 seconds,
one with models 20 to 60.
Nothing here measures time: the machines are emulated.
"""
import argparse
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CARGO = os.environ.get("CARGO", "cargo")
MARK = "=== run"

# Name: (package, its example).
PROGRAMS = {"numa-probe": ("platform", "numa-probe"), "refuse": ("platform", "refuse"), "camelid-numa": ("camelid", "camelid-numa")}
MODELS = {name: ROOT / f"models/tinystories-{name}-q8_0.gguf" for name in ("llama", "gemma3")}


@dataclass
class Machine:
    """CPUs and MiB of each node; `threads` siblings with consecutive numbers are a core; a package holds nodes / sockets nodes."""

    cpus: list
    mem: list
    threads: int = 1
    sockets: int = 0
    more: list = field(default_factory=list)  # further options of the virtual machine

    def options(self):
        text = lambda numbers: ",".join(map(str, numbers))
        out = ["--nodes", str(len(self.cpus)), "--cpus-per-node", text(self.cpus), "--mem-per-node", text(self.mem)]
        out += ["--threads", str(self.threads)]
        out += ["--sockets", str(self.sockets)] if self.sockets else []
        return out + self.more

    def topology(self, origin="Hwloc", allowed=None, mems=None):
        """The lines of `numa-probe topology` when only CPUs `allowed` and memory of nodes `mems` may be used."""
        lines, first = [f"origin {origin}"], 0
        for node, (cpus, mem) in enumerate(zip(self.cpus, self.mem)):
            cores = [range(c, c + self.threads) for c in range(first, first + cpus, self.threads)]
            cores = [[c for c in core if allowed is None or c in allowed] for core in cores]
            cores = [runs(core) for core in cores if core]
            first += cpus
            memory = mem > 0 and (mems is None or node in mems)
            if memory or cores:
                lines.append(f"node {node} memory {'yes' if memory else 'no'} cores [{' '.join(cores)}]")
        return lines


def runs(numbers):
    """[0, 1, 2, 5] as the kernel writes it: 0-2,5."""
    out = []
    for n in numbers:
        if out and out[-1][1] + 1 == n:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


@dataclass
class Run:
    """One command in the guest. `expect`: lines of its output in this order, others between them do not matter; patterns are searched for."""

    command: str
    expect: list
    rc: int = 0
    env: dict = field(default_factory=dict)
    refuse: str = ""  # system calls that fail with EPERM
    before: str = ""  # shell commands that are run first, in the same process

    def script(self):
        env = " ".join(f"{k}={shlex.quote(v)}" for k, v in self.env.items())
        refuse = f"$refuse {self.refuse} -- " if self.refuse else ""
        before = f"{self.before}; " if self.before else ""
        return f"( {before}{env + ' ' if env else ''}{refuse}{self.command} )"

    def title(self):
        return re.sub(r"\$([a-z]\w+)", lambda m: m[1].replace("_", "-"), self.script()[2:-2])


PROBE = "$numa_probe"
PROMPTS = (24, 4)  # tokens
SYSFS = {"CAMELID_NUMA_TOPOLOGY": "sysfs"}
NO_PINS = "mbind,sched_setaffinity"
CONTAINER = "mbind,move_pages,set_mempolicy,get_mempolicy"
HALVES = re.compile(r"^interleaved: \{0: 2048, 1: 2048\}")


def pages(how, nodes):
    """512 small pages for each of these nodes."""
    return [f"{how} {n}: {{{n}: 512}}" for n in nodes]


def model(strategy, local="", name="llama", prompt=PROMPTS[0], options="", expect=(), **more):
    """A model decodes: logits as everywhere, and all reads of these classes from the reader's own node."""
    env = {"CAMELID_NUMA": strategy, "CAMELID_NUMA_AUDIT": "1"} | more.pop("env", {})
    lines = [re.compile(rf"^ *{c} .* 100\.00 % local$") for c in sorted(local.split())]
    command = f"$camelid_numa /models/{name} --prompt {prompt} --tokens 4 {options}".strip()
    return Run(command, [*expect, *lines, re.compile("^logits ")], env=env, **more)


def models(*more, heads=True):
    """Both models under the strategies that place everything, and one with other numbers of threads. `heads`: each node has KV heads of its own; else
    prompts are everybody's work."""
    out = []
    for strategy in ("shard", "mirror"):
        out += [model(strategy, f"weights inputs {'kv' if heads else ''}", name=m) for m in MODELS]
        out += [] if heads else [model(strategy, "weights inputs kv", name=m, prompt=PROMPTS[1]) for m in MODELS]
    return [*out, model("shard", options="--threads 1"), *more]


def everything(m, nodes):
    """Both readers see the machine; its pages can be put on `nodes`."""
    lines = [*pages("bound", nodes), *pages("preferred", nodes), re.compile("^interleaved"), *pages("placed", nodes), "free 0: less than it has"]
    return [
        Run(f"{PROBE} topology rung bind prefer interleave place free", [*m.topology(), "rung bound", *lines]),
        Run(f"{PROBE} topology", m.topology("Sysfs"), env=SYSFS),
    ]


ONE = Machine([2], [512])
TWO = Machine([2, 2], [400, 400])
THREE = Machine([2, 1, 1], [400, 250, 250])
FOUR = Machine([1, 1, 1, 1], [300, 200, 200, 200], sockets=2)
UNEVEN = Machine([3, 1], [512, 256])
SMT = Machine([4, 4], [400, 300], threads=2)
MEMORY_ONLY = Machine([3, 1, 0], [512, 256, 128])
MEMORY_LESS = Machine([2, 2, 2], [512, 0, 256])
TEN = Machine([1] * 10, [300] + [80] * 9)
SHORT = Machine([2, 2], [700, 100])
BALANCED = Machine([2, 2], [400, 400], more=["--numa-balancing"])

# A cgroup with CPUs 1 to 4 and memory of node 0; the shell that says so is in it from then on.
ENTER = "sh -c 'echo $PPID > /sys/fs/cgroup/a/cgroup.procs'"
CGROUP = (
    "cd /sys/fs/cgroup && echo +cpuset > cgroup.subtree_control && mkdir a && "
    f"echo 1-4 > a/cpuset.cpus && echo 0 > a/cpuset.mems && {ENTER}"
)
OFF = "echo 0 > /sys/devices/system/cpu/cpu3/online"
SMALL = {"allowed": [1, 2, 3, 4], "mems": [0]}  # what the cgroup leaves of SMT
ONLINE = [0, 1, 2, 4, 5, 6, 7]


def forced(rung):
    return {"CAMELID_NUMA_RUNG": rung}


def refused(what):
    return re.compile(f"{what}: FAILED: Operation not permitted")


CASES = {
    "one": (ONE, everything(ONE, [0])),
    "two": (
        TWO,
        [
            *everything(TWO, [0, 1]),
            Run(
                f"{PROBE} topology",
                ["origin Injected", "node 0 memory yes cores [0 1 2]", "node 1 memory yes cores [3]"],
                env={"CAMELID_NUMA_TOPOLOGY": "cpus:3+1"},
            ),
            Run(
                f"{PROBE} topology",
                [re.compile("CAMELID_NUMA_TOPOLOGY=x: "), *TWO.topology()],
                env={"CAMELID_NUMA_TOPOLOGY": "x"},
            ),
            Run(
                f"taskset 6 {PROBE} topology limits",
                [*TWO.topology(allowed=[1, 2]), "numa: this process may run on CPUs 1-2 of 0-3, by its affinity"],
            ),
        ],
    ),
    "refused": (
        TWO,
        [
            Run(f"{PROBE} rung place", ["rung touched", re.compile("mbind: Operation"), *pages("touched", [0, 1])], refuse="mbind"),
            Run(f"{PROBE} rung place", ["rung interleaved", HALVES], refuse=NO_PINS),
            Run(f"{PROBE} rung place", ["rung plain", "nothing is placed"], refuse=f"{NO_PINS},set_mempolicy"),
            Run(f"{PROBE} rung bind", ["rung touched", refused("bind")], rc=1, refuse="mbind"),
            # A usual container's filter: nothing can be asked either.
            Run(f"{PROBE} rung place", ["rung touched", refused("place")], rc=1, refuse=CONTAINER),
            Run(f"{PROBE} rung", ["rung bound", re.compile("where pages lie is not told")], refuse="move_pages"),
        ],
    ),
    "forced": (
        TWO,
        [
            Run(f"{PROBE} rung place", ["rung bound", *pages("placed", [0, 1])], env=forced("bound")),
            Run(f"{PROBE} rung place", ["rung touched", *pages("touched", [0, 1])], env=forced("touched")),
            Run(f"{PROBE} rung place", ["rung interleaved", HALVES], env=forced("interleaved")),
            # Nothing but pinned threads is left: pieces of 2 MiB in turn.
            Run(f"{PROBE} rung place", ["rung interleaved", HALVES], env=forced("interleaved"), refuse="mbind,set_mempolicy"),
            Run(f"{PROBE} rung place", ["rung plain", "nothing is placed"], env=forced("plain")),
            Run(f"{PROBE} rung", [re.compile("CAMELID_NUMA_RUNG=high: not one of"), "rung bound"], env=forced("high")),
        ],
    ),
    "four": (FOUR, [*everything(FOUR, range(4)), Run(f"{PROBE} limits", [re.compile(r"node 3: .* of package 1, CPUs 3$")])]),
    "uneven": (UNEVEN, everything(UNEVEN, [0, 1])),
    "smt": (
        SMT,
        [
            *everything(SMT, [0, 1]),
            Run(
                f"{PROBE} topology limits",
                [*SMT.topology(**SMALL), re.compile("CPUs 1-4 of 0-7, by its cgroup$")],
                before=CGROUP,
            ),
            Run(f"{PROBE} topology", SMT.topology("Sysfs", **SMALL), env=SYSFS, before=ENTER),
            Run(f"{PROBE} topology rung bind", [*SMT.topology(allowed=ONLINE), *pages("bound", [0, 1])], before=OFF),
            Run(f"{PROBE} topology", SMT.topology("Sysfs", allowed=ONLINE), env=SYSFS),
        ],
    ),
    "memory-only": (MEMORY_ONLY, everything(MEMORY_ONLY, [0, 1, 2])),
    "memory-less": (MEMORY_LESS, everything(MEMORY_LESS, [0, 2])),
    "ten": (TEN, everything(TEN, range(10))),
    "models-one": (ONE, [model(s, "kv weights inputs activations") for s in ("disabled", "distribute", "shard", "mirror")]),
    "models-three": (THREE, models(heads=False)),
    "models": (
        TWO,
        models(
            model("disabled"),
            model("distribute", "kv"),
            model("isolate", "kv weights inputs activations"),
            model("numactl"),
            model("nonsense", expect=[re.compile("CAMELID_NUMA=nonsense is no strategy")]),
        ),
    ),
    "models-four": (FOUR, models(heads=False)),
    "models-uneven": (UNEVEN, models(model("shard", options="--threads 3"), heads=False)),
    "models-smt": (SMT, models(model("shard", "kv weights", env={"CAMELID_SMT": "1"}))),
    "models-memory-only": (MEMORY_ONLY, models(heads=False)),
    "models-memory-less": (MEMORY_LESS, models(heads=False)),
    "models-refused": (
        TWO,
        [
            model("shard", "kv weights inputs", refuse="mbind"),
            model("mirror", "kv weights inputs", refuse="mbind", name="gemma3"),
            model("shard", refuse=NO_PINS),
            model("shard", refuse=f"{NO_PINS},{CONTAINER}"),
            model("shard", "kv weights inputs", env=forced("touched")),
            model("shard", env=forced("interleaved")),
            model("shard", env=forced("plain")),
        ],
    ),
    # The kernel moves no page that was bound; of others it does not tell while it watches who reads them.
    "models-balanced": (
        BALANCED,
        [
            Run(f"{PROBE} limits", [re.compile("; kernel.numa_balancing 1$")]),
            model("shard", "kv weights inputs"),
            model("mirror", "kv weights inputs", name="gemma3"),
            model("shard", refuse="mbind"),
        ],
    ),
    "models-short": (
        SHORT,
        [
            model("mirror", "weights"),
            model(
                "mirror",
                before=f"{PROBE} fill 1 100",
                expect=[re.compile("node 1 has [0-3] MiB free for a copy of 3 MiB: matrices are cut by rows instead")],
            ),
            model("shard", name="gemma3"),
        ],
    ),
    "short": (SHORT, [Run(f"{PROBE} short 1", ["short 1: 2 nodes, most of what was free is taken"])]),
}


def build(names):
    """Paths of these programs, made now."""
    for package in {PROGRAMS[n][0] for n in names}:
        examples = [x for n in names if PROGRAMS[n][0] == package for x in ("--example", PROGRAMS[n][1])]
        subprocess.run([CARGO, "build", "--quiet", "--package", package, *examples], cwd=ROOT, check=True)
    target = json.loads(subprocess.check_output([CARGO, "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT))["target_directory"]
    return {n: stripped(Path(target, "debug", "examples", PROGRAMS[n][1])) for n in names}


def stripped(program):
    """A copy without debug information, where strip is at hand: programs are kept in the guest's memory."""
    if not shutil.which("strip"):
        return program
    copy = ROOT / "build/numa" / program.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["strip", "-o", copy, program], check=True)
    return copy


def reference(program):
    """What each model says to each prompt here, with the instructions that the guests have; nothing where this machine lacks them."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CAMELID_")} | {"CAMELID_ISA": "avx2", "CAMELID_LOG": "error"}
    if " avx2 " not in Path("/proc/cpuinfo").read_text():
        return {}
    said = {}
    for (name, path), n in itertools.product(MODELS.items(), map(str, PROMPTS)):
        out = subprocess.check_output([program, path, "--prompt", n, "--tokens", "4"], text=True, env=env)
        said[name, n] = LOGITS.search(out)[1]
    return said


def hwloc():
    """libhwloc as a file of the guest, in a folder that its loader knows."""
    folder = subprocess.check_output(["sh", ROOT / "tests/tools/hwloc.sh", ROOT / "build/hwloc"], text=True).strip()
    found = Path(folder, "libhwloc.so.15")
    return f"{found.resolve()}:/usr/lib/x86_64-linux-gnu/libhwloc.so.15"


def boot(vm, machine, script, files, timeout=300):
    added = [x for f in files for x in ("--add", str(f))]
    command = [vm, *machine.options(), "--timeout", str(timeout), *added, "--", "sh", "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout.replace("\r", "")


def missing(expect, lines):
    """The first of the expected lines that is not there, in order; None when all are."""
    rest = iter(lines)
    for want in expect:
        found = (lambda l: want.search(l)) if isinstance(want, re.Pattern) else (lambda l: l == want)
        if not any(found(l) for l in rest):
            return getattr(want, "pattern", want)
    return None


LOGITS = re.compile(r"^logits (\w+)", re.MULTILINE)


def check(run, text, said):
    """What is wrong with a run's output, its status in the last line; None when nothing is. `said`: logits of the models by name."""
    lines = text.strip("\n").split("\n")
    rc = lines.pop()
    if rc != f"rc {run.rc}":
        return f"ended with '{rc}', not {run.rc}"
    logits, asked = LOGITS.search(text), re.search(r"/models/(\w+) --prompt (\w+)", run.command)
    if logits:
        # Where this machine cannot tell, the first guest does.
        want = said.get(asked.groups()) or said.setdefault(asked.groups(), logits[1])
        if logits[1] != want:
            return f"says {logits[1]}, not {want}"
    lacks = missing(run.expect, lines)
    return lacks and f"does not say: {lacks}"


def run_case(name, vm, programs, files, said, verbose):
    machine, cases = CASES[name]
    variables = [f"{n.replace('-', '_')}={p}" for n, p in programs.items()]
    parts = [f"echo '{MARK}'; {r.script()} 2>&1; rc=$?; echo; echo rc $rc" for r in cases]
    rc, out = boot(vm, machine, "; ".join(variables + parts), [*programs.values(), *files])
    texts = out.split(MARK + "\n")[1:]
    if rc != 0 or len(texts) != len(cases):
        print(f"FAIL {name}: the machine ended with {rc} after {len(texts)} of {len(cases)} runs\n{out}")
        return 1
    failed = 0
    for run, text in zip(cases, texts):
        wrong = check(run, text, said)
        failed += bool(wrong)
        print(f"{'FAIL' if wrong else 'ok  '} {name}: {run.title()}", flush=True)
        if wrong or verbose:
            print(f"     {wrong or ''}\n     " + text.strip().replace("\n", "\n     "))
    return failed


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--vm", required=True, help="the script that boots a machine")
    p.add_argument("--only", default="", help="cases whose names match")
    p.add_argument("--list", action="store_true")
    p.add_argument("--verbose", action="store_true")
    args = p.parse_args()
    names = [n for n in CASES if re.search(args.only, n)]
    if args.list:
        print("\n".join(names))
        return 0
    if not os.access(args.vm, os.X_OK):
        print(f"SKIPPED: machines with several memory nodes. There is no {args.vm} (set SHARED= to the folder that has numa-vm).")
        return 0
    programs, files = build(list(PROGRAMS)), [hwloc(), *(f"{path}:/models/{name}" for name, path in MODELS.items())]
    said = reference(programs["camelid-numa"])
    failed = sum(run_case(n, args.vm, programs, files, said, args.verbose) for n in names)
    runs_of = sum(len(CASES[n][1]) for n in names)
    print(f"{len(names)} machines, {runs_of} runs, {failed} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
