import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import { COMMAND_BYTES, type Contender } from './contender.js';

/** What is used of the port. */
interface LifeRaft {
  readonly state: number;
  command(command: unknown): Promise<void>;
  join(
    address: string,
    write: (packet: unknown, callback: (error?: Error, data?: unknown) => void) => void,
  ): void;
  on(event: string, listen: (command: { readonly number: number }) => void): void;
  emit(event: string, packet: unknown, write: (data: unknown) => void): void;
  promote(): Promise<unknown>;
  end(): void;
}

/** Its own log over its own adapter for memory: each node sends to the others by a function call. */
export async function liferaft(): Promise<Contender> {
  const load = createRequire(new URL('../peers/package.json', import.meta.url));
  const Raft = load('@markwylde/liferaft') as {
    new (address: string, options: unknown): LifeRaft;
    readonly LEADER: number;
  };
  const Log = load('@markwylde/liferaft/log') as unknown;
  const adapter = load('memdown') as unknown;
  const options = { 'election min': '10 s', 'election max': '20 s', heartbeat: '1 s' };
  const addresses = ['a', 'b', 'c'];
  const nodes = new Map(addresses.map((id) => [id, new Raft(id, { ...options, Log, adapter, path: id })]));
  for (const [id, node] of nodes) {
    node.on('error', () => undefined);
    for (const [other, target] of nodes) {
      if (other === id) continue;
      node.join(other, (packet, callback) => {
        target.emit('data', packet, (data) => callback(undefined, data));
      });
    }
  }
  const leader = nodes.get('a');
  if (leader === undefined) throw new Error('no node');
  let applied = 0;
  let proposed = 0;
  // It tells of some commits more than once.
  const waiting = new Set<number>();
  leader.on('commit', ({ number }: { readonly number: number }) => {
    if (waiting.delete(number)) applied++;
  });
  await leader.promote();
  for (let turns = 0; turns < 1_000 && leader.state !== Raft.LEADER; turns++) await setImmediate();
  const value = 'x'.repeat(COMMAND_BYTES);
  return {
    async propose(count) {
      for (let left = count; left > 0; left--) {
        waiting.add(++proposed);
        await leader.command({ number: proposed, value });
      }
    },
    async turn() {
      await setImmediate();
      const count = applied;
      applied = 0;
      return count;
    },
  };
}
