"""Writes grids.bin: the code books of the IQ formats as the gguf package knows them, an element's place in the list of values as 2 or 3 bits.

Two bytes per entry, little-endian, element 0 lowest. In this order: IQ2_XXS (256 entries of 8 elements, 2 bits each), IQ2_XS (512), IQ2_S (1024),
IQ1_S (2048), IQ3_XXS (256 entries of 4 elements, 3 bits each), IQ3_S (512).
"""
import pathlib

import numpy
from gguf import quants

out = bytearray()
for q in (quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ1_S, quants.IQ3_XXS, quants.IQ3_S):
    q.init_grid()
    values, grid = list(q.grid_map), q.grid.reshape(q.grid_shape)
    bits = 2 if q.grid_shape[1] == 8 else 3
    for entry in grid:
        code = sum(values.index(int(v)) << (bits * i) for i, v in enumerate(entry))
        out += code.to_bytes(2, "little")
pathlib.Path(__file__).with_name("grids.bin").write_bytes(out)
