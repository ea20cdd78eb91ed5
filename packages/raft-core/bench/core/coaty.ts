import { createRequire, Module } from 'node:module';
import { COMMAND_BYTES, type Contender, KEPT_ENTRIES, SNAPSHOT_ENTRIES } from './contender.js';

/** What is used of the port of etcd's raft. */
interface Entry {
  readonly index: number;
  readonly type: number;
  readonly data: unknown;
}
interface Message {
  readonly to: string;
}
interface Ready {
  readonly hardState: { isEmptyHardState(): boolean };
  readonly entries: readonly Entry[];
  readonly committedEntries: readonly Entry[];
  readonly messages: readonly Message[];
}
interface RawNode {
  readonly raft: { readonly id: string; readonly lead: string };
  hasReady(): boolean;
  ready(): Ready;
  advance(ready: Ready): void;
  step(message: Message): Error | null;
  propose(data: unknown): Error | null;
  campaign(): Error | null;
  applyConfChange(change: unknown): unknown;
}
interface Storage {
  Append(entries: readonly Entry[]): Error | null;
  SetHardState(state: unknown): Error | null;
  CreateSnapshot(index: number, configuration: unknown, data: unknown): [unknown, Error | null];
  Compact(index: number): Error | null;
}

interface Messages {
  readonly Message: new (fields: unknown) => Message;
  readonly Entry: new (fields: unknown) => Entry;
  readonly MessageType: { readonly MsgProp: unknown };
}

class Node {
  inbox: Message[] = [];
  snapshotAt = SNAPSHOT_ENTRIES;

  constructor(
    readonly raw: RawNode,
    readonly storage: Storage,
  ) {}
}

/**
 * The state machine of the port, by its own `RawNode`. Its `propose` takes one command and sends it at once; with
 * `inOneMessage` commands that are there together are proposed together, which the API of its makers does not offer.
 */
export function coaty(inOneMessage: boolean): Contender {
  const load = createRequire(new URL('../peers/package.json', import.meta.url));
  // Its persistence, which is not used here, wants a native module at once.
  const sqlite = load.resolve('sqlite3');
  load.cache[sqlite] = Object.assign(new Module(sqlite), { exports: {}, loaded: true });
  const port = '@coaty/consensus.raft/ported/';
  const { RawNode: RawNodes } = load(`${port}rawnode`) as {
    RawNode: { NewRawNode(config: unknown): RawNode };
  };
  const { RaftConfig } = load(`${port}raft`) as { RaftConfig: new (config: unknown) => unknown };
  const { MemoryStorage } = load(`${port}storage`) as { MemoryStorage: { NewMemoryStorage(): Storage } };
  const { Bootstrap } = load(`${port}bootstrap`) as {
    Bootstrap: (node: RawNode, peers: unknown) => Error | null;
  };
  const { Message: MessageClass, Entry: EntryClass, MessageType } = load(`${port}raftpb/raft.pb`) as Messages;
  const logger = load(`${port}logger`) as { setLogger(logger: unknown): void; discardLogger: unknown };
  logger.setLogger(logger.discardLogger);
  const peers = ['1', '2', '3'].map((id) => ({ id, context: '' }));
  const nodes = new Map<string, Node>();
  for (const { id } of peers) {
    const storage = MemoryStorage.NewMemoryStorage();
    const raw = RawNodes.NewRawNode(
      new RaftConfig({
        id,
        storage,
        electionTick: 10,
        heartbeatTick: 1,
        maxSizePerMsg: 1024 * 1024,
        maxInflightMsgs: 256,
        checkQuorum: true,
        preVote: true,
        logger: logger.discardLogger,
      }),
    );
    check(Bootstrap(raw, peers));
    nodes.set(id, new Node(raw, storage));
  }
  const command = 'x'.repeat(COMMAND_BYTES);
  const turn = (): number => {
    let applied = 0;
    for (const [id, node] of nodes) {
      const { raw, storage } = node;
      const messages = node.inbox;
      node.inbox = [];
      for (const message of messages) check(raw.step(message));
      while (raw.hasReady()) {
        const ready = raw.ready();
        if (!ready.hardState.isEmptyHardState()) check(storage.SetHardState(ready.hardState));
        check(storage.Append([...ready.entries]));
        for (const message of ready.messages) nodes.get(message.to)?.inbox.push(message);
        for (const { type, data } of ready.committedEntries) {
          if (type === 0) {
            if (id === '1' && data === command) applied++;
          } else {
            raw.applyConfChange(data);
          }
        }
        raw.advance(ready);
        const last = ready.committedEntries.at(-1);
        if (last === undefined || last.index < node.snapshotAt) continue;
        node.snapshotAt = last.index + SNAPSHOT_ENTRIES;
        check(storage.CreateSnapshot(last.index, null, '')[1]);
        check(storage.Compact(last.index - KEPT_ENTRIES));
      }
    }
    return applied;
  };
  const leader = nodes.get('1')?.raw;
  turn();
  leader?.campaign();
  for (let turns = 0; turns < 20; turns++) turn();
  if (leader?.raft.lead !== leader?.raft.id) throw new Error('no leader');
  return {
    propose(count) {
      if (inOneMessage) {
        const entries = Array.from({ length: count }, () => new EntryClass({ data: command }));
        check(leader?.step(new MessageClass({ type: MessageType.MsgProp, from: '1', entries })) ?? null);
      } else {
        for (let left = count; left > 0; left--) check(leader?.propose(command) ?? null);
      }
    },
    turn,
  };
}

function check(error: Error | null): void {
  if (error !== null) throw error;
}
