#!/usr/bin/env python3
"""The tables of docs/numa.md: how long a token takes where memory has nodes, and what it reads from far away. Formulas are explained there."""
from dataclasses import dataclass

QUANT = 0.5625  # bytes of a Q4_K weight: 144 bytes for 256
PAGE, READAHEAD, HUGE = 4 << 10, 128 << 10, 2 << 20


@dataclass
class Machine:
    name: str
    nodes: int
    local: float  # GB/s that a node's cores read from its own memory
    remote: float  # GB/s that they read from other nodes
    cores: int  # of all nodes
    barrier: float  # seconds of a barrier of all nodes; of one node: INNER


INNER = 1e-6


@dataclass
class Model:
    name: str
    layers: int
    barriers: int  # a layer
    matrices: list  # (rows, columns, how many are read) of a layer
    head: tuple  # rows, columns
    exchanged: int  # floats of a layer that every node needs whole: inputs of the output matrix, of gate and up, of down, of QKV

    def slices(self):
        """(bytes of a row, rows, how many such matrices a token reads)"""
        for rows, columns, n in [(r, c, n * self.layers) for r, c, n in self.matrices] + [(*self.head, 1)]:
            yield columns * QUANT, rows, n

    def weights(self):
        return sum(row * rows * n for row, rows, n in self.slices())


DENSE8 = Model("dense 8B", 32, 10, [(4096, 4096, 2), (1024, 4096, 2), (14336, 4096, 2), (4096, 14336, 1)], (128256, 4096), 3 * 4096 + 14336)
DENSE70 = Model("dense 70B", 80, 10, [(8192, 8192, 2), (1024, 8192, 2), (28672, 8192, 2), (8192, 28672, 1)], (128256, 8192), 3 * 8192 + 28672)
MOE30 = Model("MoE 30B, 3B active", 48, 12, [(4096, 2048, 1), (512, 2048, 2), (2048, 4096, 1), (768, 2048, 16), (2048, 768, 8)], (151936, 2048), 2 * 2048 + 4096 + 8 * 768)
MODELS = [DENSE8, DENSE70, MOE30]

MACHINES = [
    Machine("two nodes, 552 / 247", 2, 552e9, 247e9, 256, 2e-6),
    Machine("two nodes, 82 / 37", 2, 82e9, 37e9, 64, 2e-6),
    Machine("four nodes, 276 / 124", 4, 276e9, 124e9, 256, 3e-6),
    Machine("four nodes, 41 / 18", 4, 41e9, 18e9, 64, 3e-6),
]


def reading(m, strategy):
    """Seconds a byte of weights, all nodes together."""
    n = m.nodes
    return {
        "one node (isolate)": 1 / m.local,
        "all on one node": max(1 / m.local, 1 / (n * m.remote)),
        # A core that waits for a far line does not read a near one: times add up, they do not overlap.
        "interleave": (1 / n / m.local + (n - 1) / n / m.remote) / n,
        "mirror": 1 / (n * m.local),
        "shard": 1 / (n * m.local),
    }[strategy]


def seconds(m, model, strategy):
    alone = strategy.startswith("one node")
    wait = INNER if alone else m.barrier
    far = 0 if alone else 4 * model.exchanged * model.layers * (m.nodes - 1) / m.nodes / m.remote
    return model.weights() * reading(m, strategy) + model.layers * model.barriers * wait + far


def remote(model, nodes, threads, granule):
    """Bytes of weights that `distribute` reads from other nodes when every granule lies where it was touched first."""
    total = 0
    for row, rows, n in model.slices():
        piece = rows / threads * row
        total += row * rows * n * min(granule / (2 * piece), (nodes - 1) / nodes)
    return total


def speeds():
    names = ["one node (isolate)", "all on one node", "interleave", "mirror", "shard"]
    print("| machine | model | one node, tokens/s | " + " | ".join(names[1:]) + " |")
    print("| --- | --- | --- |" + " --- |" * (len(names) - 1))
    for m in MACHINES:
        for model in MODELS:
            base = seconds(m, model, names[0])
            cells = [f"{base / seconds(m, model, s):.2f}" for s in names[1:]]
            print(f"| {m.name} | {model.name} | {1 / base:.1f} | " + " | ".join(cells) + " |")


def bytes_far():
    print("| model | nodes, threads | weights read | distribute: pages | readahead | huge pages | other history | interleave | mirror, shard: weights | activations |")
    print("| --- |" + " --- |" * 9)
    for model in MODELS:
        for nodes, threads in [(2, 64), (4, 128)]:
            w = model.weights()
            far = [remote(model, nodes, threads, g) for g in (PAGE, READAHEAD, HUGE)] + [w * (nodes - 1) / nodes] * 2
            cells = " | ".join(f"{x / 1e6:,.0f} ({100 * x / w:.1f} %)" for x in far)
            moved = 4 * model.exchanged * model.layers * (nodes - 1)
            print(f"| {model.name} | {nodes}, {threads} | {w / 1e6:,.0f} | {cells} | 0 | {moved / 1e6:.1f} ({100 * moved / w:.2f} %) |")


if __name__ == "__main__":
    speeds()
    print()
    bytes_far()
