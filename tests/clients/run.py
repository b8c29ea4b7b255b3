"""The original's own programs, its tests and the bindings on our library: python run.py [NAME ...], where NAME is part of a row's name.

Writes build/clients/outcomes.json as it goes, and docs/CLIENTS.md from it. Exit status 0 where everything that ran is as the original.
"""
import json, os, sys, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import alone, bindings, install, page, programs, server, theirs, vision
from sides import SCRATCH, Failed, Partly, Skipped

GROUPS = {"Programs and examples": programs.ALL, "llama-server": server.ALL, "Images": vision.ALL, "Tests of the original": theirs.ALL,
          "Bindings": bindings.ALL, "Without the original's libggml": alone.ALL, "Install": install.ALL}


def one(check):
    try:
        return "ok", check()
    except Skipped as e:
        return "skipped", str(e)
    except Partly as e:
        return "partly", str(e)
    except Failed as e:
        return "FAILED", str(e)
    except Exception as e:  # what a check did not foresee is a failure of what it checks
        traceback.print_exc()
        return "FAILED", f"{type(e).__name__}: {e}"


def main(args):
    os.makedirs(SCRATCH, exist_ok=True)
    file = os.path.join(SCRATCH, "outcomes.json")
    known = json.load(open(file)) if os.path.exists(file) else {}
    rows = [(g, n, c) for g, all in GROUPS.items() for n, c in all.items() if not args or any(a in n for a in args)]
    counts = {}
    for group, name, check in rows:
        start = time.time()
        outcome, note = one(check)
        known[name] = {"outcome": outcome, "note": note, "seconds": round(time.time() - start, 1)}
        counts[outcome] = counts.get(outcome, 0) + 1
        print(f"{name}: {outcome}: {note} ({known[name]['seconds']} s)", flush=True)
        with open(file, "w") as f:
            json.dump(known, f, indent=1)
    page.write({g: {n: known[n] for n in all if n in known} for g, all in GROUPS.items()})
    print("clients: " + ", ".join(f"{n} {o}" for o, n in counts.items()))
    return 0 if rows and not counts.get("FAILED") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
