"""worker.py MODULE:FUNCTION JOB RESULT: one call on one side's library; see sides.run."""
import importlib, os, pickle, sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "python")]


def main(what, given, made):
    module, function = what.split(":")
    with open(given, "rb") as f:
        job = pickle.load(f)
    result = getattr(importlib.import_module(module), function)(job)
    with open(made + ".part", "wb") as f:
        pickle.dump(result, f)
    os.rename(made + ".part", made)
    sys.stdout.flush()
    os._exit(0)  # what a library does when the process ends is tested elsewhere


main(*sys.argv[1:4])
