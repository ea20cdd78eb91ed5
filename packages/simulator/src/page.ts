import type { Operation } from './core/linearizability.js';
import { SimulationStateError, ViolationError } from './errors.js';
import type { FaultRecord } from './faults.js';
import type { History } from './history.js';
import { PAGE_SCRIPT } from './page/script.js';
import { PAGE_STYLE } from './page/style.js';
import type { Simulation } from './simulation.js';

/** What a page says besides what the simulation knows. */
export interface PageOptions {
  readonly scenario: string;
  /** Why the run failed, or nothing. */
  readonly failure?: unknown;
  /** The command that replays the run. */
  readonly replay?: string;
}

/** An operation as the page's script takes it. */
interface Bar {
  readonly process: string;
  readonly label: string;
  readonly input: string;
  readonly output: string;
  readonly outcome: string;
  readonly reason: string;
  readonly from: number;
  /** Where it was answered or given up; nothing where neither happened. */
  readonly to: number | null;
  readonly core: boolean;
}

interface Picture {
  readonly name: string;
  readonly note: string;
  readonly bars: readonly Bar[];
  readonly left: number;
}

/** More bars than this are no picture any more. The last ones are drawn, and all of a counterexample. */
const MOST_BARS = 5_000;

/**
 * A run as one HTML page that needs nothing else: what failed, the faults and the clients' operations over time, the
 * operations that no order explains highlighted, the values of each on a tooltip, and the last events.
 */
export function drawRun(simulation: Simulation, options: PageOptions): string {
  const { failure, scenario, replay } = options;
  const { seed, hash, nowMs, steps, faults } = simulation;
  return page({
    title: `${scenario}, seed ${String(seed)}`,
    failure: failure === undefined ? '' : failure instanceof Error ? failure.message : text(failure),
    replay: replay ?? '',
    facts: [
      ['seed', String(seed)],
      ['trace', hash],
      ['virtual time', `${nowMs.toFixed(1)} ms`],
      ['events', steps.toLocaleString('en')],
      ['faults', String(faults.filter(({ began }) => began).length)],
    ],
    endMs: nowMs,
    faults: faults.filter(({ began }) => began),
    pictures: simulation.histories.map(pictureOf),
    tail: failure instanceof ViolationError ? failure.place.tail : [],
  });
}

/** A history by itself as such a page; throws `SIMULATION_STATE` where it has no operation. */
export function drawHistory<Input, Output>(history: History<Input, Output>): string {
  const last = history.events.at(-1);
  if (last === undefined) throw new SimulationStateError(`the history ${history.name} is empty`);
  const picture = pictureOf(history);
  return page({
    title: history.name,
    failure: '',
    replay: '',
    facts: [['events', String(history.events.length)]],
    endMs: last.atMs,
    faults: [],
    pictures: [picture],
    tail: [],
  });
}

function pictureOf(history: History<unknown, unknown>): Picture {
  const { result, partition, counterexample = [] } = history.check();
  const { model } = history;
  const key = (one: Operation<unknown, unknown>): number => one.invokedAt;
  const core = new Set(counterexample.map(key));
  const of = partition === undefined || partition === '' ? '' : ` of ${JSON.stringify(partition)}`;
  const all = history.operations();
  const relevant = all.filter(
    (one) => result !== 'not-linearizable' || (model.partition?.(one.input) ?? '') === partition,
  );
  const cut = Math.max(0, relevant.length - MOST_BARS);
  const shown = relevant.filter((one, at) => at >= cut || core.has(key(one)));
  const note = {
    linearizable: 'Linearizable: some order explains all answers.',
    undecided: `Undecided${of}: the limits were reached before an order was found or excluded.`,
    'not-linearizable':
      `Not linearizable: no order explains the ${String(core.size)} highlighted operations${of}, whatever all the ` +
      `others did. With any of them left out there might be one.`,
  }[result];
  return {
    name: `${history.name}${of}`,
    note,
    left: all.length - shown.length,
    bars: shown.map((one) => {
      const { process, input, output, outcome, reason, invokedAtMs = 0, returnedAtMs } = one;
      const known = outcome === 'ok';
      return {
        process,
        label: model.describe?.(input, output, known) ?? `${text(input)}${known ? ` → ${text(output)}` : ''}`,
        input: text(input),
        output: known ? text(output) : '',
        outcome: outcome === 'unknown' && returnedAtMs === undefined ? 'still open' : outcome,
        reason: reason ?? '',
        from: invokedAtMs,
        to: returnedAtMs ?? null,
        core: core.has(key(one)),
      };
    }),
  };
}

function text(value: unknown): string {
  if (value === undefined) return '∅';
  try {
    return JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? `${String(one)}n` : one));
  } catch {
    // Such as an object that contains itself.
    return typeof value;
  }
}

interface PageData {
  readonly title: string;
  readonly failure: string;
  readonly replay: string;
  readonly facts: readonly (readonly [string, string])[];
  readonly endMs: number;
  readonly faults: readonly FaultRecord[];
  readonly pictures: readonly Picture[];
  readonly tail: readonly {
    readonly atMs: number;
    readonly kind: string;
    readonly who: string;
    readonly detail: number;
  }[];
}

function page(data: PageData): string {
  const { title, failure, replay, facts, tail, pictures } = data;
  // No content can end the script element or begin a comment in it.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c').replaceAll('\u2028', '\\u2028');
  const sections = pictures
    .map(
      ({ name, note, left }, at) =>
        `<section><div class="head"><h2>${escape(name)}</h2><div class="zoom" data-at="${String(at)}">` +
        `<button data-zoom="out" title="Zoom out">−</button><button data-zoom="in" title="Zoom in">+</button>` +
        `<button data-zoom="fit">whole run</button><button data-zoom="core">counterexample</button></div></div>` +
        `<p class="note">${escape(note)}${left > 0 ? ` ${String(left)} other operations are not shown.` : ''}</p>` +
        `<div class="chart" id="chart-${String(at)}"></div></section>`,
    )
    .join('\n');
  const events = tail
    .map(
      ({ atMs, kind, who, detail }) =>
        `<tr><td class="number">${atMs.toFixed(3)}</td><td>${escape(kind)}</td><td>${escape(who)}</td><td class="number">${String(Math.round(detail * 1_000) / 1_000)}</td></tr>`,
    )
    .join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<header>
<h1>${escape(title)}</h1>
${failure === '' ? '' : `<p class="failure">${escape(failure)}</p>`}
<dl>${facts.map(([name, value]) => `<div><dt>${escape(name)}</dt><dd>${escape(value)}</dd></div>`).join('')}</dl>
${replay === '' ? '' : `<p class="replay"><code>${escape(replay)}</code><button id="copy">copy</button></p>`}
</header>
<main>
${sections === '' ? '<section><div class="head"><h2>Faults</h2></div><div class="chart" id="chart-0"></div></section>' : sections}
${events === '' ? '' : `<section><details open><summary>The last events</summary><table><thead><tr><th class="number">ms</th><th>event</th><th>who</th><th class="number">detail</th></tr></thead><tbody>${events}</tbody></table></details></section>`}
</main>
<div id="tip" role="tooltip" hidden></div>
<script>const data = ${json};
${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

function escape(value: string): string {
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
