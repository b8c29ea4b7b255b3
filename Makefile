# Targets: demo, examples, test, test-slow, test-no-mmap, test-memory, test-calls, test-properties, test-numa (needs ../shared), numa-map, test-differential, test-clients, headers, install PREFIX=..., dist (GLIBC=2.28), test-conformance (needs ../shared), bench,
#          bench-kernels, bench-plot, bench-state, bench-words, clean
PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
CC      ?= cc
MODEL   ?= models/tinystories-llama-q8_0.gguf
N       ?= 300
SHARED  ?= ../shared
SEEDS   ?= 0..10000
CASES   ?= 20000

TARGET  := $(shell $(CARGO) metadata --format-version 1 --no-deps 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
RELEASE := $(TARGET)/release
PROMPT  := <|im_start|>user\nTell me a story about a fox who lost her hat.<|im_end|>\n<|im_start|>assistant\n
EXAMPLES := $(addprefix build/,simple chat batched prefix_cache embedding state grammar lora quantize)

.PHONY: all lib demo examples test test-slow test-no-mmap test-memory test-calls test-properties test-numa numa-map headers install dist tools test-differential test-conformance test-clients bench bench-kernels bench-plot bench-state bench-words clean

all: lib examples

lib:
	$(CARGO) build --release --quiet

demo: build/simple
	@CAMELID_LOG=$${CAMELID_LOG:-error} build/simple $(MODEL) '$(PROMPT)' $(N)

examples: $(EXAMPLES)

# The libraries under the names that the loader and the linker ask for.
LINK_LIBS = ln -sf $(RELEASE)/libllama.so build/libllama.so.0; ln -sf libllama.so.0 build/libllama.so; \
	ln -sf $(RELEASE)/libggml.so build/libggml.so.0; ln -sf libggml.so.0 build/libggml.so
WITH_LIBS = -Iinclude $< -o $@ -Lbuild -Wl,--as-needed -lllama -lggml -Wl,-rpath,'$$ORIGIN'

build/%: c_examples/%.c lib | build
	@$(LINK_LIBS)
	$(CC) -O2 -std=c11 -Wall -Wextra -Werror $(WITH_LIBS)

build/%: c_examples/%.cpp lib | build
	@$(LINK_LIBS)
	$(CXX) -O2 -std=c++17 -Wall -Wextra -Werror $(WITH_LIBS)

build:
	@mkdir -p build

test:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet
	$(CARGO) xtask headers --check
	$(CARGO) xtask matrix --check
	PROPTEST_RNG_SEED=1 $(WITH_HWLOC) $(CARGO) test --workspace --quiet
	$(NO_MMAP) check --workspace --all-targets --quiet
	$(MAKE) --no-print-directory test-differential test-conformance

# Tests of topologies must have libhwloc; elsewhere they are skipped where it is absent.
WITH_HWLOC = CAMELID_TEST_HWLOC=1 LD_LIBRARY_PATH=$$(sh tests/tools/hwloc.sh $(abspath build/hwloc))$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}

# Machines with several memory nodes, each a virtual machine; minutes. MACHINES='two|smt' runs some.
test-numa:
	python3 tests/numa/run.py --vm $(abspath $(SHARED))/numa-vm/numa-vm --only '$(MACHINES)'

# Ten thousand random sequences of memory operations against a memory that forgets nothing; minutes. SEEDS=a..b picks some.
test-memory:
	CAMELID_TEST_SEEDS=$(SEEDS) $(CARGO) test --test memory -- --include-ignored --nocapture

# A hundred thousand random sequences of calls (ten minutes), and a thousand under valgrind, where that is installed (ten more). CALLS=a..b picks some.
CALLS ?= 0..100000
test-calls:
	CAMELID_TEST_CALLS=$(CALLS) $(CARGO) test --test campaign -- --nocapture
	command -v valgrind && CAMELID_TEST_CALLS=0..1000 $(CARGO) test --test campaign --config "target.'cfg(all())'.runner='valgrind --error-exitcode=9 --leak-check=no -q'" -- --nocapture --test-threads=1

# The properties on many more cases, other ones each time: what it finds becomes a test. CASES=n.
test-properties:
	PROPTEST_CASES=$(CASES) $(CARGO) test --release -p camelid --lib -- vocab:: grammar:: sampling:: memory:: --quiet

# Where weights, heads and threads are on this machine's memory nodes, and what decodes read where: text, and build/numa.svg. NUMA=mirror, MODEL=...
NUMA ?= shard
numa-map:
	@mkdir -p build
	CAMELID_NUMA=$(NUMA) CAMELID_NUMA_AUDIT=1 CAMELID_LOG=warn $(CARGO) run --release --quiet --example camelid-numa -- $(MODEL) --svg build/numa.svg
	@echo build/numa.svg

# A platform without memory maps: models are read, KV lies on the heap. In a target folder of its own, or every build would undo the other's.
NO_MMAP := RUSTFLAGS='--cfg camelid_no_mmap' CARGO_TARGET_DIR=$(TARGET)/no-mmap $(CARGO)

test-no-mmap:
	$(NO_MMAP) test --package platform --package camelid --lib --test session --test state --quiet

headers:
	$(CARGO) xtask headers
	$(CARGO) xtask matrix

# Libraries with versions and links, headers, llama.pc, CMake packages. A libggml of somebody else under PREFIX stays.
install: lib
	sh packaging/install.sh $(RELEASE) '$(PREFIX)' '$(DESTDIR)'

# dist/: what people download. Says which glibc it needs: this machine's, unless GLIBC=2.28 asks for an older one.
GLIBC ?=
dist: $(if $(GLIBC),,lib)
	sh packaging/dist.sh $(if $(GLIBC),"$$(sh packaging/build-for.sh $(GLIBC) $(TARGET))",$(RELEASE)) dist

# What takes gigabytes or minutes: the same tests, larger.
test-slow:
	$(CARGO) test --release -p platform --quiet -- --ignored pages::

# Speed against the original, every case (20 minutes); bench-kernels: the kernels beside the machine's limits. Both write benches/*.json, the
# tables of benches/RESULTS.md and the plots, which bench-plot makes anew. BENCH='--full --isa avx2': options of benches/run.py.
bench:
	python3 benches/run.py --suite $(BENCH)

bench-kernels:
	python3 benches/run.py --kernels

bench-plot:
	python3 benches/report.py

# The same for states: STATE='--pairs 3 --dry': options of benches/state.py.
bench-state: lib tools
	@mkdir -p build && ln -sf $(RELEASE)/libllama.so build/libllama.so.0 && ln -sf libllama.so.0 build/libllama.so
	$(PYTHON) benches/state.py $(STATE)

# Tokenizers and the usual chain of samplers: WORDS='--only english': options of benches/words.py.
bench-words: lib tools
	@mkdir -p build && ln -sf $(RELEASE)/libllama.so build/libllama.so.0 && ln -sf libllama.so.0 build/libllama.so
	$(PYTHON) benches/words.py $(WORDS)

PYTHON := build/tools/venv/bin/python

# The bindings and the original, from PyPI and npm: for tests only.
tools:
	@sh tests/tools/setup.sh

# Our library beside the original. NAMES="codes client" runs some of it.
test-differential: examples tools
	$(PYTHON) tests/differential/run.py $(NAMES)

test-conformance: build/simple tools
	@sh tests/conformance/run.sh $(abspath build) $(SHARED) $(PYTHON)

# The original's programs, examples and tests, and other people's bindings, with our libllama in the place of its own; builds them first, which
# takes a quarter of an hour. NAMES="llama-server node" runs some; the table is docs/CLIENTS.md.
test-clients: lib tools
	@mkdir -p build && ln -sf $(RELEASE)/libllama.so build/libllama.so.0 && ln -sf libllama.so.0 build/libllama.so
	@sh tests/clients/setup.sh
	$(PYTHON) tests/clients/run.py $(NAMES)

clean:
	rm -rf build
	$(CARGO) clean
