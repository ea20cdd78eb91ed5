import {
  type CheckpointStore,
  createRing,
  inRange,
  migrate,
  plan,
  type Release,
  type Ring,
} from '@quorate/hash-ring';
import type { FileSystem } from '@quorate/durable-log';
import { sleep } from '@quorate/runtime';
import type { Scenario, SimProcess, Simulation } from '@quorate/simulator';
import { createTransport, type Transport } from '@quorate/transport';

const REPLICAS = 2;
const KEYS = Array.from({ length: 40 }, (_, i) => `key-${String(i)}`);
const CONCURRENCY = 3;
const CLIENTS = 4;
const NODES = ['n0', 'n1', 'n2', 'n3'];
const NEWCOMER = 'n4';

/** What everybody agrees on: reads go to `before`, writes to both; dead nodes are asked no more. */
interface Route {
  readonly before: Ring;
  readonly after: Ring;
  readonly dead: ReadonlySet<string>;
  /** Once keys have moved: the copies that are to go. */
  readonly releases?: readonly Release[];
}

/** What happened in the runs, so that a test can tell that the hard cases occurred. */
export const counts = { restarts: 0, killedWhileMoving: 0, resumedMoves: 0, repeatedMoves: 0, writes: 0 };

/**
 * A cache node joins. While its keys move, clients read and write, the coordinator crashes and comes back with its
 * checkpoint, and one of the nodes, the new one perhaps, is killed for good, which calls for another plan.
 */
const migration: Scenario = {
  name: 'migration',
  options: { network: { straggle: 0.05 }, clock: { maxSkewMs: 200, maxDriftPpm: 200 } },
  async run(simulation) {
    const world = new World(simulation);
    for (const id of [...NODES, NEWCOMER]) simulation.node(id, (process) => serve(process, world));
    let clients = CLIENTS;
    simulation.node('client', async (process) => {
      const transport = await connect(process);
      await world.fill(transport, process);
      await Promise.all(
        Array.from({ length: CLIENTS }, (_, client) => world.client(client, transport, process)),
      );
      clients = 0;
    });
    await simulation.runUntil(() => world.filled, 5000);
    let ready = false;
    void world
      .goTo({ ...world.route, after: world.route.before.with({ add: [NEWCOMER] }) })
      .then(() => (ready = true));
    await simulation.runUntil(() => ready, 5000);
    const coordinator = simulation.node('coordinator', (process) => coordinate(process, world));
    for (let crash = 0; crash < 3; crash++) {
      simulation.after(simulation.random() * 60, () => {
        if (!coordinator.up || world.done) return;
        counts.restarts++;
        coordinator.crash();
        simulation.after(1 + simulation.random() * 10, () => coordinator.start());
      });
    }
    if (simulation.random() < 0.7) {
      const victim = [...NODES, NEWCOMER][Math.floor(simulation.random() * 5)] ?? NEWCOMER;
      simulation.after(simulation.random() * 60, () => {
        // Once the new placement is in force, one more death is another change.
        if (world.route.before === world.route.after) return;
        counts.killedWhileMoving++;
        simulation.nodes.get(victim)?.crash();
        simulation.after(simulation.random() * 30, () => void world.bury(victim));
      });
    }
    await simulation.runUntil(() => world.done, 60_000);
    world.stopping = true;
    await simulation.runUntil(() => clients === 0, 5000);
    world.audit();
  },
};

/** For `npm run simulate -- packages/hash-ring/test/simulation/migration.scenario.ts`. */
export const scenarios = [migration] as const;

class World {
  route: Route;
  /** Of a migration that is under way: aborted when the route changes. */
  rerouted = new AbortController();
  filled = false;
  done = false;
  stopping = false;
  /** What each node holds; a new life begins with nothing. */
  readonly stores = new Map<string, Map<string, number>>();
  /** By plan: how often each move was done. */
  readonly moved = new Map<string, Map<number, number>>();
  readonly #acknowledged = new Map<string, number>();
  /** Operations under way, by the route that they took. */
  readonly #underWay = new Map<Route, number>();

  constructor(readonly simulation: Simulation) {
    const ring = createRing(NODES, { pointsPerWeight: 6, seed: Math.floor(simulation.random() * 2 ** 32) });
    this.route = { before: ring, after: ring, dead: new Set() };
  }

  /** Goes over to another route, and waits for the operations that took the one before. */
  async goTo(next: Route): Promise<void> {
    const last = this.route;
    this.route = next;
    this.rerouted.abort(new Error('rerouted'));
    while ((this.#underWay.get(last) ?? 0) > 0) await this.simulation.sleep(1);
    this.rerouted = new AbortController();
  }

  /** A node is dead for good. The placement in force stays, without it as a source; the one that comes never has it. */
  async bury(node: string): Promise<void> {
    const { route } = this;
    const dead = new Set([...route.dead, node]);
    if (route.before === route.after) this.route = { ...route, dead };
    else {
      const after = route.after.node(node) === undefined ? route.after : route.after.with({ remove: [node] });
      await this.goTo({ ...route, after, dead });
    }
  }

  async fill(transport: Transport, { runtime }: SimProcess): Promise<void> {
    for (const key of KEYS) await this.#write(key, 1, transport, () => sleep(runtime, 5));
    this.filled = true;
  }

  async client(client: number, transport: Transport, { runtime }: SimProcess): Promise<void> {
    const keys = KEYS.filter((_, index) => index % CLIENTS === client);
    while (!this.stopping) {
      const key = keys[Math.floor(runtime.random() * keys.length)] ?? '';
      const version = this.#acknowledged.get(key) ?? 0;
      await this.#during(async ({ before, dead }) => {
        const [reader] = before.pick(key, REPLICAS, { exclude: dead });
        const found = await ask(transport, reader ?? '', 'get', { key }).catch(() => undefined);
        if (typeof found === 'number' && found < version)
          this.simulation.fail(
            'stale read',
            `${key} of ${String(reader)} is ${String(found)}, ${version} was written`,
          );
      });
      await this.#write(key, version + 1, transport, () => sleep(runtime, 5));
      await sleep(runtime, runtime.random() * 3);
    }
  }

  async #write(key: string, version: number, transport: Transport, wait: () => Promise<void>): Promise<void> {
    for (;;) {
      const stored = await this.#during(async ({ before, after, dead }) => {
        const nodes = new Set([...before.pick(key, REPLICAS), ...after.pick(key, REPLICAS)]);
        const living = [...nodes].filter((node) => !dead.has(node));
        const puts = await Promise.allSettled(
          living.map((node) => ask(transport, node, 'put', { key, version })),
        );
        return puts.every(({ status }) => status === 'fulfilled');
      });
      if (stored) break;
      await wait();
    }
    counts.writes++;
    this.#acknowledged.set(key, version);
  }

  async #during<T>(work: (route: Route) => Promise<T>): Promise<T> {
    const { route } = this;
    this.#underWay.set(route, (this.#underWay.get(route) ?? 0) + 1);
    try {
      return await work(route);
    } finally {
      this.#underWay.set(route, (this.#underWay.get(route) ?? 1) - 1);
    }
  }

  /** Every key is on the nodes where the placement says, in the version that was acknowledged last, and nowhere else. */
  audit(): void {
    const { after, dead } = this.route;
    for (const [node, store] of this.stores) {
      if (dead.has(node)) continue;
      for (const key of KEYS) {
        const wanted = after.pick(key, REPLICAS).includes(node) ? this.#acknowledged.get(key) : undefined;
        if (store.get(key) !== wanted)
          this.simulation.fail(
            'audit',
            `${node} has ${key} as ${String(store.get(key))}, not ${String(wanted)}`,
          );
      }
    }
  }
}

async function connect({ link, runtime }: SimProcess): Promise<Transport> {
  const transport = createTransport(link, { runtime });
  await transport.start();
  return transport;
}

async function ask(transport: Transport, to: string, channel: string, body: unknown): Promise<unknown> {
  const answer = await transport.request(to, channel, Buffer.from(JSON.stringify(body)), { timeoutMs: 40 });
  return JSON.parse(Buffer.from(answer).toString());
}

/** A cache node: it keeps what it has in memory. */
async function serve(process: SimProcess, world: World): Promise<void> {
  const store = new Map<string, number>();
  world.stores.set(process.id, store);
  const { before } = world.route;
  const put = (key: string, version: number): void => {
    store.set(key, Math.max(version, store.get(key) ?? 0));
  };
  const transport = createTransport(process.link, { runtime: process.runtime });
  const answer = (channel: string, handle: (ask: never) => unknown): void => {
    transport.respond(channel, async ({ body }) => {
      const result = await handle(JSON.parse(Buffer.from(body).toString()) as never);
      return Buffer.from(JSON.stringify(result ?? null));
    });
  };
  const inside = (range: { start: number; end: number }) =>
    [...store].filter(([key]) => inRange(range, before.token(key)));
  answer('get', ({ key }: { key: string }) => store.get(key) ?? 0);
  answer('put', ({ key, version }: { key: string; version: number }) => put(key, version));
  answer('page', inside);
  answer('release', (range: { start: number; end: number }) => {
    for (const [key] of inside(range)) store.delete(key);
  });
  answer('fetch', async (move: { start: number; end: number; from: string[] }) => {
    let failure: unknown;
    for (const source of move.from) {
      try {
        const page = (await ask(transport, source, 'page', move)) as [string, number][];
        for (const [key, version] of page) put(key, version);
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  });
  await transport.start();
}

/** Runs plans until one is done, from the checkpoint that the last life left. */
async function coordinate(process: SimProcess, world: World): Promise<void> {
  const transport = await connect(process);
  while (!world.done) {
    const { route } = world;
    try {
      if (route.releases === undefined) await move(route, transport, process, world);
      else {
        for (const { node, start, end } of route.releases)
          if (!world.route.dead.has(node)) await ask(transport, node, 'release', { start, end });
        world.done = true;
      }
    } catch {
      // The route changed, or a node did not answer.
      await sleep(process.runtime, 5);
    }
  }
}

async function move(route: Route, transport: Transport, process: SimProcess, world: World): Promise<void> {
  const { simulation } = world;
  const { signal } = world.rerouted;
  const movement = plan(route.before, route.after, { replicas: REPLICAS, unavailable: route.dead });
  const moved = world.moved.get(movement.checksum) ?? new Map<number, number>();
  world.moved.set(movement.checksum, moved);
  const report = await migrate(
    movement,
    async ({ start, end, from, to }, { index }) => {
      const body = Buffer.from(JSON.stringify({ start, end, from }));
      await transport.request(to, 'fetch', body, { timeoutMs: 120 });
      moved.set(index, (moved.get(index) ?? 0) + 1);
    },
    {
      concurrency: CONCURRENCY,
      signal,
      checkpoint: checkpointFile(process.fileSystem, `/${movement.checksum}`),
    },
  );
  counts.resumedMoves += report.resumed;
  if (movement.lost.length > 0) simulation.fail('lost', 'two copies, one death, and a range is lost');
  for (const index of movement.moves.keys())
    if (!moved.has(index)) simulation.fail('moves', `move ${String(index)} never ran`);
  const repeats = [...moved.values()].reduce((sum, times) => sum + times - 1, 0);
  counts.repeatedMoves += repeats;
  // Whatever was under way when a life or a route ended may run again, and nothing else.
  if (repeats > CONCURRENCY * (process.restarts + 1))
    simulation.fail('moves', `${String(repeats)} moves ran again after ${String(process.restarts)} restarts`);
  if (!signal.aborted && world.route === route)
    await world.goTo({ ...route, before: route.after, releases: movement.releases });
}

function checkpointFile(files: FileSystem, path: string): CheckpointStore {
  return {
    async load() {
      try {
        const file = await files.open(path, 'must-exist');
        const bytes = Buffer.alloc(await file.size());
        await file.read(bytes, 0);
        await file.close();
        return bytes;
      } catch (error) {
        if ((error as { code?: string }).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    async save(bytes) {
      const file = await files.open(`${path}.new`, 'create');
      await file.write(bytes, 0);
      await file.sync();
      await file.close();
      await files.rename(`${path}.new`, path);
      await files.syncDirectory('');
    },
  };
}
