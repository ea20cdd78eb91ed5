/*
 * Three nodes that stay, and who leads them, drawn live: keys kill nodes and start them again.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { leaderOf } from './cluster/http.js';
import { Cluster } from './cluster/processes.js';
import { watchLeader } from './cluster/view.js';
import { CORE_NAMES, isCoreName } from './node/cores.js';

const { core, data } = parseArgs({
  options: { core: { type: 'string', default: 'raft' }, data: { type: 'string' } },
}).values;
if (!isCoreName(core)) {
  console.error(`--core is one of ${CORE_NAMES.join(', ')}, not ${core}`);
  process.exit(2);
}

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop.abort());
process.stdout.on('error', () => stop.abort());

const directory = data ?? (await mkdtemp(join(tmpdir(), 'replicated-kv-')));
const cluster = await Cluster.start(directory, { core });
console.log(`Three nodes: ${[...cluster.urls].map(([id, url]) => `${id} ${url}`).join(', ')}`);
console.log(
  `KV_NODES=${[...cluster.urls.values()].join()} npm run kv -w @quorate/example-replicated-kv -- put greeting hello\n`,
);

const { stdin } = process;
if (stdin.isTTY) {
  stdin.setRawMode(true);
  stdin.on('data', (bytes: Buffer) => {
    for (const key of bytes.toString()) press(key);
  });
}
await watchLeader(
  cluster.urls,
  process.stdout,
  stop.signal,
  'a, b, c: kill or start that node   l: kill whoever leads   q: quit',
);
stdin.pause();
await cluster.stop();
if (data === undefined) await rm(directory, { recursive: true, force: true });

function press(key: string): void {
  if (key === 'q' || key === '\u0003') {
    stop.abort();
  } else if (key === 'l') {
    void leaderOf(cluster.urls).then((id) => (id === undefined ? undefined : cluster.kill(id)));
  } else if (cluster.urls.has(key)) {
    // What a node printed when it did not start is shown; the others go on.
    (cluster.isUp(key) ? cluster.kill(key) : cluster.up(key)).catch(console.error);
  }
}
