"""Shows the results of `driver.measure`: a Markdown table, a picture of ratios, growth curves."""

import statistics

import matplotlib
from matplotlib.figure import Figure

from experiments.benchmarks import cases, limits
from experiments.benchmarks.driver import MISSING
from sirl.reporting import drawing

NOTHING = '-'  # the cell of a side that does not run the case
NO_RUNS: dict = {'runs': []}
CACHED = 2**28  # bytes that may fit in a processor's cache


# ---------------------------------------------------------------- numbers


def seconds(entry, by):
  """Median over the runs of one variant, None without runs. Args: by: 'wall' or 'cpu'."""
  values = [run[by] for run in entry['runs']]
  return statistics.median(values) if values else None


def best(variants, by):
  """(variant, entry) with the smallest median among variants without errors, or None."""
  ran = [
    (seconds(entry, by), name)
    for name, entry in variants.items()
    if entry['runs'] and 'error' not in entry and name != cases.FIRST
  ]
  return (min(ran)[1], variants[min(ran)[1]]) if ran else None


def why(variants):
  """The text of a cell that has no number."""
  if not variants:
    return NOTHING
  if any('missing' in entry for entry in variants.values()):
    return MISSING
  if any('error' in entry for entry in variants.values()):
    return 'failed'
  return NOTHING


def ratio(row, side):
  """How many times faster per token our best variant is than the best of a side.

  Returns a word with the reason if there is no number.
  """
  by, sides = row['case']['by'], row['sides']
  ours, theirs = best(sides[cases.OURS], by), best(sides.get(side, {}), by)
  if ours is None:
    return why(sides[cases.OURS])
  if theirs is None:
    return why(sides.get(side, {}))
  return cost(theirs[1], by) / cost(ours[1], by)


def cost(entry, by):
  """Median seconds per token."""
  return seconds(entry, by) / entry['runs'][0]['tokens']


def machine_limits(rows):
  """{(what, cores): rate}: the best rate over all measurements of each limit."""
  found = {}
  for row in rows:
    if row['case']['kind'] == 'limit':
      what = row['case']['what'], row['case']['cores']
      for entry in row['sides'][cases.OURS].values():
        found[what] = max([found.get(what, 0.0), *(run['rate'] for run in entry['runs'])])
  return {what: rate for what, rate in found.items() if rate}


def turn_seconds(row):
  """Seconds per token of every row in a rollout, without the first token; None if unknown."""
  variants, by = row['sides'][cases.OURS], row['case']['by']
  first, whole = (seconds(variants.get(name, NO_RUNS), by) for name in (cases.FIRST, 'plain'))
  if first is None or whole is None or whole <= first:
    return None
  return (whole - first) / (row['case']['new'] - 1)


def share_of_limit(row, found):
  """Time at the machine's limit over the time taken; None if no limit applies.

  The limit of a rollout is that of its turns (a turn decodes one token for every row): arithmetic
  or reading, whichever is slower. The time of a turn is known for the plain variant alone. Reading
  is no limit for a model whose weights may fit in the processor's cache, so such a model gets None
  where reading would be slower.
  """
  case, by = row['case'], row['case']['by']
  ours = best(row['sides'][cases.OURS], by)
  product = found.get(('matrix product', case['cores']))
  if ours is None or product is None or case['lengths'] != 'fixed':
    return None
  if case['kind'] == 'decode' and ours[0] != 'plain':
    return None
  if case['kind'] != 'decode':
    return row['flops'] / product / seconds(ours[1], by) if row['flops'] else None
  turn, read = turn_seconds(row), found.get(('memory read', case['cores']))
  if turn is None or read is None:
    return None
  arithmetic = limits.turn_flops(row['shape'], cases.from_json(case)) / product
  reading = limits.turn_bytes(row['shape'], cases.from_json(case)) / read
  if reading > arithmetic and limits.turn_bytes(row['shape'], cases.from_json(case)) < CACHED:
    return None
  return max(arithmetic, reading) / turn


def host_shares(entry):
  """For each run the share of a round outside the two compiled programs, ascending."""
  runs = entry['runs']
  return sorted(1 - (run['decode'] + run['optimize']) / run['round'] for run in runs)


# ---------------------------------------------------------------- table


def table(results):
  """The results as a Markdown table without growth curves, and a legend of its columns."""
  found = machine_limits(results['rows'])
  head = ['case', 'ours', 'of the limit', *(f'/ {peer}' for peer in cases.PEERS)]
  lines = [_line(head), _line(['---'] * len(head))]
  shown = set()
  for row in results['rows']:
    if row['case']['kind'] == 'limit':
      if row['case']['name'] not in shown:
        lines.append(_line([row['case']['name'], _limit(row['case'], found), *[NOTHING] * 4]))
      shown.add(row['case']['name'])
    elif row['case']['kind'] != 'growth':
      lines.append(_line(_cells(row, found, results['rows'])))
  machine, loads = results['machine'], [row['load'] for row in results['rows']]
  versions = '; '.join(
    f'{side}: {", ".join(f"{name} {version}" for name, version in found.items())}'
    for side, found in results['versions'].items()
  )
  lines += [
    '',
    f'Medians of {results["repeats"]}, sides in turn; {machine["cpu"]}, {machine["cores"]} cores. '
    'One-core cases compare CPU seconds of pinned processes, the others, and steps whose rewards '
    'sleep, wall time; the best variant of every side counts. A number under a peer is how '
    'many times faster we are. Of the limit: of a matrix product or a memory read measured in the '
    'same run, whichever binds, the best of its measurements before and after every lot of cases.',
    f'Load average after each case {min(loads):.1f} to {max(loads):.1f}. Versions: {versions}.',
  ]
  return '\n'.join(lines) + '\n'


def _line(cells):
  return '| ' + ' | '.join(cells) + ' |'


def _cells(row, found, rows):
  case = row['case']
  ours = best(row['sides'][cases.OURS], case['by'])
  ratios = [ratio(row, peer) for peer in cases.PEERS]
  cells = [x if isinstance(x, str) else f'{x:.2f}' for x in ratios]
  if ours is None:
    return [case['name'], why(row['sides'][cases.OURS]), NOTHING, *cells]
  share = share_of_limit(row, found)
  shown = NOTHING if share is None else f'{share:.2f}'
  return [case['name'], _absolute(row, *ours, rows), shown, *cells]


def _limit(case, found):
  """The best rate of a limit, with its unit."""
  rate = found.get((case['what'], case['cores']))
  if rate is None:
    return 'failed'
  return {
    'matrix product': f'{rate / 1e9:.0f} GFLOP/s',
    'memory read': f'{rate / 1e9:.1f} GB/s',
    'empty call': f'{1e6 / rate:.0f} us',
  }[case['what']]


def _absolute(row, name, entry, rows):
  """The number of our side in a case, with its unit."""
  case, by = row['case'], row['case']['by']
  if case['kind'] == 'sampling':
    draw = seconds(entry, by) / entry['runs'][0]['draws']
    turn = next((turn_seconds(row) for row in rows if row['case']['name'] == cases.SAMPLED), None)
    share = f', {100 * draw / turn:.0f} % of a turn' if turn else ''
    return f'{1000 * draw:.1f} ms a draw{share}'
  if case['kind'] == 'overhead':
    shares = [100 * share for share in host_shares(entry)]
    return f'{statistics.median(shares):.1f} % of a round ({shares[0]:.1f} to {shares[-1]:.1f})'
  if case['kind'] == 'speculate':
    held = lambda run: f'{run["acceptance"]:.2f} of the guesses held'
    return _times(row, entry, 'prompt lookup', 'plain', held)
  if case['kind'] == 'refill':
    used = lambda run: f'slot use {run["slot_use"]:.2f}'
    return _times(row, entry, 'refill', 'static', used)
  if case['kind'] == 'memory':
    ran = {
      name: entry['runs'][0] for name, entry in row['sides'][cases.OURS].items() if entry['runs']
    }
    mib = '; '.join(f'{name} {found["temporary"] / 2**20:.0f} MiB' for name, found in ran.items())
    largest = ', '.join(f'{found["largest"] / found["logits"]:.2f}' for found in ran.values())
    return f'{mib}; largest array {largest} of all logits'
  return f'{1 / cost(entry, by):.0f} tok/s ({name}, {seconds(entry, by):.3g} s)'


def _times(row, entry, name, base, more):
  """The speed of our variant `name` in multiples of `base`, and the text of `more` for its first
  run.
  """
  by, ours = row['case']['by'], row['sides'][cases.OURS]
  one, other = ours.get(name, NO_RUNS), ours.get(base, NO_RUNS)
  if not (one['runs'] and other['runs']):
    return f'{1 / cost(entry, by):.0f} tok/s {base}; {name} {why({name: one})}'
  return f'{name} {cost(other, by) / cost(one, by):.2f} times {base}, {more(one["runs"][0])}'


# ---------------------------------------------------------------- pictures


def picture(results, path):
  """Writes a PNG: for every case, how many times faster we are than each peer.

  Returns: whether there was anything to draw.
  """
  rows = [
    (row['case']['name'], {peer: ratio(row, peer) for peer in cases.PEERS})
    for row in results['rows']
    if row['case']['peers']
  ]
  rows = [
    (name, {p: x for p, x in found.items() if not isinstance(x, str)}) for name, found in rows
  ]
  rows = [(name, found) for name, found in rows if found][::-1]
  if not rows:
    return False
  with matplotlib.rc_context(drawing.STYLE):
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(rows)), layout='constrained')
    axes = figure.subplots()
    for peer, colour in zip(cases.PEERS, drawing.COLOURS):
      points = [(found[peer], y) for y, (_, found) in enumerate(rows) if peer in found]
      if points:
        axes.plot(*zip(*points), 'o', color=colour, label=peer)
    axes.axvline(1, color=drawing.INK, linewidth=1)
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xlabel('times faster per token than the peer')
    drawing.legend(axes)
    figure.savefig(path, dpi=150)
  return True


def growth(results, path):
  """Writes a PNG: time and FLOPs of a step along each size, both relative to the smallest size.

  Returns: whether there was anything to draw.
  """
  curves = {}
  for row in results['rows']:
    ours = best(row['sides'][cases.OURS], row['case']['by'])
    if row['case']['kind'] == 'growth' and ours is not None:
      what = row['case']['what']
      point = (row['case'][what], seconds(ours[1], row['case']['by']), row['flops'])
      curves.setdefault(what, []).append(point)
  if not curves:
    return False
  with matplotlib.rc_context(drawing.STYLE):
    figure = Figure(figsize=(2.6 * len(curves), 2.6), layout='constrained')
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axes, (what, points) in zip(panels, curves.items()):
      x, time, flops = zip(*sorted(points))
      axes.plot(
        x, [t / time[0] for t in time], 'o-', color=drawing.COLOURS[0], label='time of a step'
      )
      axes.plot(x, [f / flops[0] for f in flops], '--', color=drawing.FAINT, label='its FLOPs')
      axes.set_xscale('log', base=2)
      axes.set_yscale('log', base=2)
      axes.set_xticks(x, [str(value) for value in x])
      axes.yaxis.set_major_formatter('{x:g}')
      axes.set_xlabel({'new': 'completion length'}.get(what, what.replace('_', ' ')))
    panels[0].set_ylabel('times the smallest')
    drawing.legend(panels[0])
    figure.savefig(path, dpi=150)
  return True
