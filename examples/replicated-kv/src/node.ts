/*
 * One node of the store, until it is told to stop:
 *
 *   KV_SECRET=... node ... src/node.ts --id a --data /var/lib/kv --http 5101 --core raft \
 *     --nodes a=10.0.0.1:5201,b=10.0.0.2:5201,c=10.0.0.3:5201
 */
import { parseArgs } from 'node:util';
import { createFileLog } from '@quorate/durable-log/file';
import { startNode } from '@quorate/replicated-log';
import { KvMachine } from '@quorate/replicated-log/kv';
import { systemRuntime } from '@quorate/runtime';
import { createTransport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { createApi } from './node/api.js';
import { CORE_NAMES, coreOf, isCoreName } from './node/cores.js';

const CLOSE_WITHIN_MS = 5_000;

const {
  id,
  data,
  http: port,
  nodes: list,
  core,
  host,
} = parseArgs({
  options: {
    id: { type: 'string', default: '' },
    data: { type: 'string', default: '' },
    http: { type: 'string', default: '' },
    host: { type: 'string', default: '127.0.0.1' },
    nodes: { type: 'string', default: '' },
    core: { type: 'string', default: 'raft' },
  },
}).values;
const secret = process.env['KV_SECRET'] ?? '';
const nodes = new Map(list.split(',').map((part) => part.split('=', 2) as [string, string]));
const own = nodes.get(id);
if (own === undefined || data === '' || !/^\d+$/.test(port) || !isCoreName(core) || secret.length < 16) {
  console.error(
    `A node needs --id, --data, --http PORT, --nodes with an address for the id, --core (${CORE_NAMES.join(', ')}), and KV_SECRET of at least 16 characters.`,
  );
  process.exit(2);
}

const address = new URL(`tcp://${own}`);
const transport = createTransport(
  createTcpLink({
    self: id,
    clusterId: 'replicated-kv',
    listen: { host: address.hostname, port: Number(address.port) },
    peers: nodes,
    // A node that was killed is back within seconds: look for it often.
    reconnect: { maxMs: 200 },
    auth: { secret },
  }),
);
const machine = new KvMachine();
const log = await startNode({
  ...coreOf(core, id, [...nodes.keys()]),
  transport,
  storage: createFileLog({ directory: data }),
  stateMachine: machine,
  snapshotEntries: 5_000,
});
const http = createApi(log, machine, 5_000);

let stopping = false;
const stop = (code: number): void => {
  if (stopping) return;
  stopping = true;
  systemRuntime.setTimer(CLOSE_WITHIN_MS, () => process.exit(1));
  void (async () => {
    await log.close();
    await http.close();
    await transport.close({ drainMs: 500 });
  })().then(
    () => process.exit(code),
    () => process.exit(1),
  );
};
process.on('SIGTERM', () => stop(0)).on('SIGINT', () => stop(0));
// Whoever started this process is gone, however it went.
process.on('disconnect', () => stop(0));
log.stopped.addEventListener('abort', () => {
  // A node that its disk failed must not go on as if nothing had happened.
  if (!stopping) console.error(log.stopped.reason);
  stop(1);
});

await transport.start();
await http.listen({ host, port: Number(port) });
// Whoever started this process waits for this message.
process.send?.('ready');
