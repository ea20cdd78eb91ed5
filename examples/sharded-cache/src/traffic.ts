import type { Ring } from '@quorate/hash-ring';
import type { NodeId } from '@quorate/transport';
import type { Cluster } from './cluster.js';
import { REPLICAS } from './cluster.js';
import { call, type Entry } from './protocol.js';

/** Where clients read and write while keys move. */
export interface Route {
  readonly before: Ring;
  readonly after: Ring;
  /** Nodes that do not answer any more. */
  readonly gone: readonly NodeId[];
}

const CLIENTS = 8;

/** Clients that read and overwrite entries, each those of its own, and notice a value that is too old. */
export class Traffic {
  readonly #cluster: Cluster;
  /** The latest version of every key that was acknowledged. */
  readonly entries: Map<string, Entry>;
  readonly faults: string[] = [];
  operations = 0;
  #running = false;
  #done: Promise<void> = Promise.resolve();

  constructor(cluster: Cluster, entries: Iterable<Entry>) {
    this.#cluster = cluster;
    this.entries = new Map(Array.from(entries, (entry) => [entry.key, entry]));
  }

  start(route: Route): void {
    this.#running = true;
    const clients = Array.from({ length: CLIENTS }, (_, client) => this.#run(route, client));
    this.#done = Promise.all(clients).then(
      () => undefined,
      (error: unknown) => {
        this.faults.push(`traffic failed: ${String(error)}`);
      },
    );
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #run({ before, after, gone }: Route, client: number): Promise<void> {
    const keys = [...this.entries.keys()].filter((_, index) => index % CLIENTS === client);
    for (let turn = 0; this.#running; turn++) {
      const key = keys[(turn * 7919) % keys.length];
      const entry = key === undefined ? undefined : this.entries.get(key);
      if (entry === undefined) return;
      const readers = before.pick(entry.key, REPLICAS, { exclude: gone });
      const [reader] = readers;
      if (reader === undefined) continue;
      const found = await call(this.#cluster.transport, reader, 'get', { key: entry.key });
      if ((found?.version ?? -1) < entry.version) {
        this.faults.push(
          `${reader} answered version ${String(found?.version)} of ${entry.key}, ${String(entry.version)} was written`,
        );
      }
      if (turn % 4 === 0) {
        const next = { ...entry, value: `${entry.value}'`, version: entry.version + 1 };
        await this.#cluster.put(new Set([...readers, ...after.pick(entry.key, REPLICAS)]), [next]);
        this.entries.set(next.key, next);
      }
      this.operations++;
    }
  }
}
