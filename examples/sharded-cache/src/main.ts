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
import { page, progressLine, type Scene, terminalView } from './view.js';

const { values } = parseArgs({
  options: { keys: { type: 'string', default: '20000' }, html: { type: 'string' } },
});
const count = integerOption('--keys', Number(values.keys), { min: 1, max: 1_000_000 });
const PUT_ENTRIES = 500;

const scenes: Scene[] = [];
let faults = 0;
const cluster = new Cluster();
try {
  const nodes = ['cache-a', 'cache-b', 'cache-c', 'cache-d'];
  await cluster.start(nodes);
  const entries = Array.from({ length: count }, (_, i): Entry => ({
    key: `user:${String(i)}`,
    value: 'v',
    version: 0,
  }));
  const traffic = new Traffic(cluster, entries);
  const first = await cluster.settled(nodes);
  await fill(first, entries);
  await change('Four nodes, filled', first, first, traffic);

  await cluster.join('cache-e');
  const second = await cluster.settled([...nodes, 'cache-e']);
  await change('cache-e joined', first, second, traffic);

  await cluster.kill('cache-b');
  const third = await cluster.settled(['cache-a', 'cache-c', 'cache-d', 'cache-e']);
  await change('cache-b was killed', second, third, traffic);
} finally {
  await cluster[Symbol.asyncDispose]();
}
if (values.html !== undefined) {
  writeFileSync(values.html, page(scenes));
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
  console.log(`\n${title}: checksum ${after.checksum}`);
  const served = traffic.operations;
  const result = await rebalance(cluster, before, after, traffic, ({ done, total, fraction }) =>
    progressLine(done, total, fraction),
  );
  faults += result.faults.length;
  const { movedFraction, needlessFraction } = result.plan;
  const text =
    `${(movedFraction * 100).toFixed(1)} % of the copies moved (${String(result.copied)} entries), ` +
    `${(needlessFraction * 100).toFixed(1)} % needlessly; clients were served ${String(traffic.operations - served)} times meanwhile; ` +
    `audit: ${result.faults.length === 0 ? 'every key is where the placement says' : `${String(result.faults.length)} faults`}`;
  console.log(terminalView(after));
  console.log(`  ${text}`);
  for (const fault of result.faults.slice(0, 10)) console.error(`  ${fault}`);
  scenes.push({ title, placement: after, plan: result.plan, text });
}
