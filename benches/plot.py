"""Results as SVG text. Knows shapes and colours, no files and no processes."""
import html
import math

INK, FAINT, GRID = '#1f2933', '#7b8794', '#e4e7eb'
GOOD, FAIR, POOR, LIGHT = '#0b7285', '#228be6', '#e8590c', '#99d5e0'
FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'


class Canvas:
    def __init__(self, width, height):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" {FONT}>',
                      f'<rect width="{width}" height="{height}" fill="#ffffff"/>']

    def text(self, x, y, words, size=12, fill=INK, anchor='start', weight='normal'):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}">'
                          f'{html.escape(str(words))}</text>')

    def line(self, x1, y1, x2, y2, stroke=GRID, width=1.0, dash=''):
        dashed = f' stroke-dasharray="{dash}"' if dash else ''
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}"{dashed}/>')

    def bar(self, x, y, width, height, fill):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2" fill="{fill}"/>')

    def dot(self, x, y, radius, fill):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"/>')

    def done(self):
        return '\n'.join([*self.parts, '</svg>']) + '\n'


# Ratios: a row per case, how many times better ours is, on a logarithmic axis

WIDTH, LEFT, RIGHT, TOP, ROW, GAP = 960, 330, 90, 92, 19, 34


def better(row):
    """[low, middle, high] of how many times better ours is: speeds as they are, times and memory upside down."""
    return row['ratio'] if row['unit'] == 't/s' else [1 / v for v in reversed(row['ratio'])]


def required(row, cases):
    """How many times better ours must be, or None."""
    found = cases.target(row)
    return found and (found[0] if row['unit'] == 't/s' else 1 / found[0])


def colour(row, cases):
    met = cases.met(row) or ('goal' if better(row)[1] >= 1 else 'no')
    return {'goal': GOOD, 'must': FAIR, 'no': POOR}[met]


class LogAxis:
    def __init__(self, low, high, left, right):
        self.low, self.high, self.left, self.right = low, high, left, right

    def at(self, v):
        v = min(max(v, self.low), self.high)
        return self.left + (self.right - self.left) * math.log(v / self.low) / math.log(self.high / self.low)

    def ticks(self):
        return [t for t in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64) if self.low <= t <= self.high]


def axis_for(rows):
    values = [v for r in rows for v in better(r)]
    return LogAxis(min(0.7, 0.95 * min(values)), max(4.2, 1.08 * max(values)), LEFT, WIDTH - RIGHT)


def ratios(rows, groups, cases):
    rows = [r for r in rows if 'ratio' in r]
    listed = [(title, [r for r in rows if r['group'] == group]) for group, title in groups.items()]
    listed = [(title, members) for title, members in listed if members]
    height = TOP + sum(GAP + ROW * len(members) for _, members in listed) + 34
    c, axis = Canvas(WIDTH, height), axis_for(rows)
    ratio_head(c, axis, height)
    y = TOP
    for title, members in listed:
        c.text(24, y + GAP - 12, title, 13, INK, weight='600')
        y += GAP
        for before, row in zip([None, *members], members):
            ratio_row(c, axis, y, row, cases, before)
            y += ROW
    return c.done()


def ratio_head(c, axis, height):
    c.text(24, 32, 'How many times better than the original', 18, INK, weight='600')
    c.text(24, 52, 'Medians of paired runs with 95 % intervals. Speeds: ours / original; times and memory: original / ours.', 12, FAINT)
    for x, fill, words in ((24, GOOD, 'goal reached'), (130, FAIR, 'required reached'), (262, POOR, 'below what is required')):
        c.dot(x + 5, 70, 5, fill)
        c.text(x + 15, 74, words, 12, FAINT)
    c.line(424, 64, 424, 76, INK, 1.5)
    c.text(431, 74, 'required', 12, FAINT)
    for t in axis.ticks():
        c.line(axis.at(t), TOP, axis.at(t), height - 30, INK if t == 1 else GRID, 1.2 if t == 1 else 1)
        c.text(axis.at(t), height - 14, f'{t:g}×', 11, FAINT, 'middle')


def ratio_row(c, axis, y, row, cases, before):
    low, middle, high = better(row)
    fill, centre, must = colour(row, cases), y + ROW / 2, required(row, cases)
    name = row['model'] + (f' ({row["isa"]})' if row['isa'] else '')
    if not before or (before['model'], before['isa']) != (row['model'], row['isa']):
        c.text(24, centre + 4, name, 12, INK)
    c.text(LEFT - 14, centre + 4, ' '.join(filter(None, (row['figure'], row['label']))), 12, FAINT, 'end')
    if must:
        c.line(axis.at(must), centre - 6, axis.at(must), centre + 6, INK, 1.5)
    c.line(axis.at(low), centre, axis.at(high), centre, fill, 2.5)
    c.dot(axis.at(middle), centre, 4.5, fill)
    c.text(WIDTH - RIGHT + 14, centre + 4, f'{middle:.2f}×', 12, fill, weight='600')


# Roofline: a row per format and instruction set, bytes a second of one token and products a second of many, beside what the machine can do

PANEL, FIRST, HEAD, STEP = 320, 170, 118, 42
SECOND = FIRST + PANEL + 120


def shown(rows):
    """Of every format the best level, which comes first, and AVX2, in the layout that comes first."""
    chosen = {}
    for r in rows:
        level = 'avx2' if r['isa'] == 'avx2' else 'best'
        chosen.setdefault((r['format'], level), r)
    return sorted(chosen.values(), key=lambda r: [x['format'] for x in rows].index(r['format']))


def roofline(kernels):
    rows = shown(kernels['rows'])
    c = Canvas(WIDTH + 60, HEAD + STEP * len(rows) + 24)
    roofline_head(c)
    most_gb = max(max(r['all_cores'], *r['read_limit']) for r in rows)
    most_mac = max(max(r['mac_512'], r['mac_8'], r['mac_limit']) for r in rows)
    for i, r in enumerate(rows):
        y = HEAD + STEP * i
        if i == 0 or rows[i - 1]['format'] != r['format']:
            c.text(24, y + 16, r['format'], 13, INK, weight='600')
        c.text(24, y + 31, f'{r["isa"]}, {r["layout"]}', 11, FAINT)
        bars(c, FIRST, y, most_gb, (r['all_cores'], r['read_limit'][1]), (r['one_core'], r['read_limit'][0]))
        bars(c, SECOND, y, most_mac, (r['mac_512'], r['mac_limit']), (r['mac_8'], r['mac_limit']))
    return c.done()


def roofline_head(c):
    c.text(24, 32, 'Matrix kernels beside what the machine can do', 18, INK, weight='600')
    c.text(24, 52, 'A line is the limit that the same program measured: of reading, side by side with the kernel; of the instruction that products use, '
                   'on one core.', 12, FAINT)
    for x, title, dark, light in ((FIRST, 'One token, weights from memory: GB/s', 'all cores', 'one core'),
                                  (SECOND, 'Many tokens, one core: GMAC/s', '512 tokens', '8 tokens')):
        c.text(x, 82, title, 13, INK, weight='600')
        for at, fill, words in ((x, GOOD, dark), (x + 90, LIGHT, light), (x + 170, None, 'limit')):
            c.bar(at, 94, 10, 10, fill) if fill else c.line(at + 5, 93, at + 5, 105, POOR, 2)
            c.text(at + 15, 103, words, 11, FAINT)


def bars(c, x, y, most, upper, lower):
    for at, thick, fill, (value, limit) in ((y + 4, 15, GOOD, upper), (y + 21, 10, LIGHT, lower)):
        scale = PANEL / most
        c.bar(x, at, value * scale, thick, fill)
        c.line(x + limit * scale, at - 1, x + limit * scale, at + thick + 1, POOR, 2)
        c.text(x + max(value, limit) * scale + 6, at + thick - (4 if thick > 12 else 1), f'{value:.0f} · {100 * value / limit:.0f} %', 10.5, FAINT)
