// One node of a key-value store, in a process of its own: TCP, a log in files, raft. Answers `put` requests.
import { createFileLog } from '@quorate/durable-log/file';
import { createRaft, raftCodec } from '@quorate/raft-core';
import { startNode } from '@quorate/replicated-log';
import { createKvClient, KvMachine } from '@quorate/replicated-log/kv';
import { ByteReader } from '@quorate/runtime/bytes';
import { createTransport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { TCP } from './address.js';

/** What the parent gives as the only argument, in JSON. */
export interface NodeArguments {
  readonly id: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly directory: string;
  readonly blockingSync: boolean;
}

const { id, ports, directory, blockingSync } = JSON.parse(process.argv[2] ?? '') as NodeArguments;
const voters = Object.keys(ports);
const peers = Object.fromEntries(
  voters.filter((peer) => peer !== id).map((peer) => [peer, `127.0.0.1:${ports[peer]}`]),
);
const link = createTcpLink({
  ...TCP,
  self: id,
  listen: { port: ports[id] ?? 0 },
  peers,
  acceptUnknown: true,
});
const transport = createTransport(link);
const log = await startNode({
  core: (recovered, seed) => createRaft({ id, seed, recovered, membership: { voters, learners: [] } }),
  codec: raftCodec({ group: 'bench' }),
  transport,
  storage: createFileLog({ directory, blockingSync }),
  stateMachine: new KvMachine(),
});
const kv = createKvClient(log);
const DONE = new Uint8Array(1);
transport.respond('put', async ({ body }) => {
  const reader = new ByteReader(body);
  await kv.put(reader.string(), reader.raw(reader.remaining));
  return DONE;
});
await transport.start();

process.on('message', () => {
  process.send?.(log.status().leader ?? '');
});
process.on('disconnect', () => process.exit());
log.stopped.addEventListener('abort', () => {
  throw log.stopped.reason;
});
