// A cache over several processes: four nodes, one joins, one is killed. Keys move by plan, clients go on meanwhile, and
// an audit checks every node after every change. Exits with 1 when the audit finds anything.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Ring } from '@quorate/hash-ring';
import { integerOption } from '@quorate/runtime';
import { Cluster, REPLICAS } from './cluster.js';
import type { Entry } from './protocol.js';
import { rebalance } from './rebalance.js';
import { Traffic } from './traffic.js';
import { factLines, page, progressLine, type Scene, terminalView } from './view.js';

const { values } = parseArgs({
  options: { keys: { type: 'string', default: '20000' }, html: { type: 'string' } },
});
const count = integerOption('--keys', Number(values.keys), { min: 1, max: 1_000_000 });
const PUT_ENTRIES = 500;
const NODES = ['cache-a', 'cache-b', 'cache-c', 'cache-d'];
const NEWCOMER = 'cache-e';
const VICTIM = 'cache-b';
const ALL = [...NODES, NEWCOMER];

const scenes: Scene[] = [];
let faults = 0;
const cluster = new Cluster();
try {
  await cluster.start(NODES);
  const entries = Array.from({ length: count }, (_, i): Entry => ({
    key: `user:${String(i)}`,
    value: 'v',
    version: 0,
  }));
  const traffic = new Traffic(cluster, entries);
  const first = await cluster.settled(NODES);
  await fill(first, entries);
  await change(`Four nodes, ${count.toLocaleString('en')} entries on two nodes each`, first, first, traffic);

  await cluster.join(NEWCOMER);
  const second = await cluster.settled(ALL);
  await change(`${NEWCOMER} joined`, first, second, traffic);

  await cluster.kill(VICTIM);
  const third = await cluster.settled(ALL.filter((node) => node !== VICTIM));
  await change(`${VICTIM} was killed`, second, third, traffic);
} finally {
  await cluster[Symbol.asyncDispose]();
}
if (values.html !== undefined) {
  writeFileSync(values.html, page(scenes, ALL));
  console.log(`The circles are drawn in ${values.html}`);
}
console.log(faults === 0 ? 'audit passed' : `audit failed: ${String(faults)} faults`);
process.exitCode = faults === 0 ? 0 : 1;

/** Stores entries on their replicas, batched by node. */
async function fill(placement: Ring, entries: readonly Entry[]): Promise<void> {
  const byNode = new Map<string, Entry[]>();
  for (const entry of entries) {
    for (const node of placement.pick(entry.key, REPLICAS)) {
      byNode.set(node, [...(byNode.get(node) ?? []), entry]);
    }
  }
  for (const [node, list] of byNode) {
    for (let at = 0; at < list.length; at += PUT_ENTRIES)
      await cluster.put([node], list.slice(at, at + PUT_ENTRIES));
  }
}

/** Moves what a change asks for, and shows it. */
async function change(title: string, before: Ring, after: Ring, traffic: Traffic): Promise<void> {
  console.log(`\n${title}`);
  const served = traffic.operations;
  const result = await rebalance(cluster, before, after, traffic, ({ done, total, fraction }) =>
    progressLine(done, total, fraction),
  );
  faults += result.faults.length;
  const { movedFraction, needlessFraction } = result.plan;
  const percent = (fraction: number): string => `${(fraction * 100).toFixed(1)} %`;
  const moved = {
    moved: `${percent(movedFraction)} of the copies (${result.copied.toLocaleString('en')}), ${percent(needlessFraction)} needlessly`,
    clients: `were served ${(traffic.operations - served).toLocaleString('en')} times meanwhile`,
  };
  const facts = {
    checksum: after.checksum,
    ...(before === after ? {} : moved),
    audit:
      result.faults.length === 0
        ? 'every key is where the placement says'
        : `${String(result.faults.length)} faults`,
  };
  console.log(terminalView(after, ALL));
  console.log(factLines(facts));
  for (const fault of result.faults.slice(0, 10)) console.error(`  ${fault}`);
  scenes.push({ title, placement: after, plan: result.plan, facts });
}
