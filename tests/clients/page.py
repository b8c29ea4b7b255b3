"""docs/CLIENTS.md: the table of outcomes between its markers, from the last run of each row."""
import os

from sides import ROOT

FILE = os.path.join(ROOT, "docs", "CLIENTS.md")
BEGIN, END = "<!-- outcomes -->", "<!-- /outcomes -->"


def cell(text):
    return " ".join(text.replace("|", "\\|").split())


def write(groups):
    with open(FILE) as f:
        page = f.read()
    table = ""
    for group, rows in groups.items():
        done = sum(r["outcome"] == "ok" for r in rows.values())
        table += f"\n### {group}: {done} of {len(rows)} as on the original's library\n\n| | outcome | what was compared |\n| --- | --- | --- |\n"
        table += "".join(f"| {n} | {r['outcome']} | {cell(r['note'])} |\n" for n, r in rows.items())
    with open(FILE, "w") as f:
        f.write(page[:page.index(BEGIN) + len(BEGIN)] + "\n" + table + "\n" + page[page.index(END):])
