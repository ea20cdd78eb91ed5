import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { randomId, sleep, systemRuntime } from '@quorate/runtime';
import type { CoreName } from '../node/cores.js';

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 6_000;
/** How Node is started so that it reads TypeScript and this repository's sources. */
const NODE_FLAGS = ['--conditions=@quorate/source', '--import', 'tsx'];

interface Running {
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
  /** Whether its end is wanted. */
  ending: boolean;
}

/** Something happened to a node's process. */
export interface ProcessEvent {
  readonly id: string;
  readonly type: 'up' | 'killed' | 'ended';
  readonly pid: number;
}

/** Three nodes as processes. They end with this process, however it ends. */
export class Cluster implements AsyncDisposable {
  readonly #running = new Map<string, Running>();
  readonly #printed = new Map<string, string[]>();
  readonly #secret = randomId(systemRuntime);
  /** Told what happens to the processes. */
  onEvent: (event: ProcessEvent) => void = () => {};

  private constructor(
    readonly directory: string,
    readonly core: CoreName,
    /** Where each node is asked over HTTP. */
    readonly urls: ReadonlyMap<string, string>,
    private readonly addresses: ReadonlyMap<string, string>,
  ) {}

  /** Starts the nodes `ids`, each with a folder of its own below `directory`. */
  static async start(
    directory: string,
    { ids = ['a', 'b', 'c'], core = 'raft' }: { ids?: readonly string[]; core?: CoreName } = {},
  ): Promise<Cluster> {
    const ports = await freePorts(2 * ids.length);
    const at = (offset: number, scheme: string): Map<string, string> =>
      new Map(ids.map((id, n) => [id, `${scheme}127.0.0.1:${String(ports[offset + n])}`]));
    const cluster = new Cluster(directory, core, at(0, 'http://'), at(ids.length, ''));
    try {
      await Promise.all(ids.map((id) => cluster.up(id)));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get ids(): string[] {
    return [...this.urls.keys()];
  }

  isUp(id: string): boolean {
    return this.#running.has(id);
  }

  pidOf(id: string): number | undefined {
    return this.#running.get(id)?.child.pid;
  }

  /** Starts a node that is not running. Resolves when it answers. */
  async up(id: string): Promise<void> {
    if (this.#running.has(id)) return;
    const nodes = [...this.addresses].map(([node, address]) => `${node}=${address}`).join();
    const { port } = new URL(this.urls.get(id) ?? '');
    const flags = ['--id', id, '--data', join(this.directory, id), '--http', port, '--nodes', nodes];
    const child = spawn(
      process.execPath,
      [...NODE_FLAGS, join(import.meta.dirname, '..', 'node.ts'), ...flags, '--core', this.core],
      { env: { ...process.env, KV_SECRET: this.#secret }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
    );
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#keep(id, line));
    }
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => {
        if (this.#running.get(id) === running) this.#running.delete(id);
        this.onEvent({ id, type: running.ending ? 'killed' : 'ended', pid: child.pid ?? 0 });
        resolve();
      });
    });
    const running: Running = { child, exited, ending: false };
    this.#running.set(id, running);
    const ready = new Promise<'ready'>((resolve) => child.once('message', () => resolve('ready')));
    const late = sleep(systemRuntime, READY_WITHIN_MS, { keepAlive: false });
    if ((await Promise.race([ready, exited, late])) === 'ready') {
      this.onEvent({ id, type: 'up', pid: child.pid ?? 0 });
    } else if (!running.ending) {
      throw new Error(`Node ${id} did not start. It printed:\n${this.printed(id)}`);
    }
  }

  /** SIGKILL: no goodbye, no cleaning up. Resolves when the process is gone. */
  async kill(id: string): Promise<void> {
    const running = this.#running.get(id);
    if (running === undefined) return;
    running.ending = true;
    running.child.kill('SIGKILL');
    await running.exited;
  }

  /** The end of what a node printed. */
  printed(id: string): string {
    return this.#printed.get(id)?.join('\n') ?? '(nothing)';
  }

  /** Asks all nodes to stop, and kills those that do not. */
  async stop(): Promise<void> {
    await Promise.all(
      [...this.#running.values()].map(async (running) => {
        running.ending = true;
        running.child.kill('SIGTERM');
        const impatience = systemRuntime.setTimer(STOP_WITHIN_MS, () => running.child.kill('SIGKILL'));
        await running.exited;
        impatience.cancel();
      }),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #keep(id: string, line: string): void {
    const lines = this.#printed.get(id) ?? [];
    lines.push(line);
    this.#printed.set(id, lines.slice(-20));
  }
}

/** Ports below the range from which the system takes those of outgoing connections: 5101 and up, where they are free. */
async function freePorts(count: number): Promise<number[]> {
  for (let base = 5_101, attempt = 0; attempt < 100; attempt++) {
    const ports = Array.from({ length: count }, (_, at) => base + at);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return ports;
    base = 5_200 + 20 * Math.floor(systemRuntime.random() * 1_200);
  }
  throw new Error('No free ports were found between 5101 and 29000.');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
      .once('error', () => resolve(false))
      .listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
