"""Everything that compares our library with the original: python run.py [-v] [NAME ...], where NAME picks test files (codes, client ..).

Set up by ../tools/setup.sh; the library and the examples lie in build/ (`make test-differential` sees to all of it).
"""
import os, sys, time, unittest

# One thread for NumPy: the libraries run two at a time as it is.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
HERE = os.path.dirname(os.path.abspath(__file__))


def main(args):
    names = [a for a in args if not a.startswith("-")]
    loader, failed, n = unittest.TestLoader(), 0, 0
    for folder in (HERE, os.path.join(os.path.dirname(HERE), "python")):
        sys.path.insert(0, folder)
        for file in sorted(os.listdir(folder)):
            if not (file.startswith("test_") and file.endswith(".py")) or names and file[5:-3] not in names:
                continue
            start = time.time()
            print(f"{file}", flush=True)
            result = unittest.TextTestRunner(verbosity=2 if "-v" in args else 0, stream=sys.stdout).run(loader.loadTestsFromName(file[:-3]))
            failed += len(result.failures) + len(result.errors)
            n += result.testsRun
            print(f"{file}: {time.time() - start:.0f} s", flush=True)
    print(f"differential tests: {n} run, {failed} failures")
    return 0 if n and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
