import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { abortable, randomId, sleep, systemRuntime } from '@quorate/runtime';
import { compiled } from '@quorate/testing';
import { type ServiceName, SERVICES } from '../lib/names.js';
import { eachService } from './databases.js';

const STOP_WITHIN_MS = 6_000;
const READY_WITHIN_MS = 60_000;
const KEPT_LINES = 200;
/** Errors of a service name the lines of its sources. */
const NODE_FLAGS = ['--enable-source-maps'];

/** Something happened to a service. */
export interface ServiceEvent {
  readonly service: ServiceName;
  readonly type: 'starting' | 'up' | 'killed' | 'crashed' | 'stopped';
  readonly pid: number;
  /** Since the process was started; for `up` how long the start took. */
  readonly afterMs: number;
  /** The end of what it printed. */
  readonly log: string;
}

interface Running {
  readonly child: ChildProcess;
  readonly startedAt: number;
  readonly ready: Promise<void>;
  readonly exited: Promise<void>;
  /** Whether its end is wanted. */
  ending: 'killed' | 'stopped' | undefined;
}

/** Where to reach the services; fixed for the life of a shop, so that a restarted one is found again. */
export interface Addresses {
  readonly http: Readonly<Record<ServiceName, string>>;
  readonly nodes: Readonly<Record<ServiceName, string>>;
}

/**
 * The four services as processes. They end with this process, however it ends: each holds a channel to it and
 * stops when that closes.
 */
export class ShopProcesses implements AsyncDisposable {
  readonly #running = new Map<ServiceName, Running>();
  readonly #log: Record<ServiceName, string[]> = eachService(() => []);
  readonly #secret = randomId(systemRuntime);

  constructor(
    readonly addresses: Addresses,
    private readonly databases: Readonly<Record<ServiceName, string>>,
    private readonly onEvent: (event: ServiceEvent) => void = () => {},
    /** More flags for Node, for tests that want to be inside a service. */
    private readonly nodeFlags: readonly string[] = [],
  ) {}

  /** Finds free ports and starts all four. */
  static async start(
    databases: Readonly<Record<ServiceName, string>>,
    onEvent?: (event: ServiceEvent) => void,
    nodeFlags?: readonly string[],
  ): Promise<ShopProcesses> {
    const processes = new ShopProcesses(await freeAddresses(), databases, onEvent, nodeFlags);
    try {
      await Promise.all(SERVICES.map((service) => processes.start(service)));
    } catch (error) {
      await processes.stop();
      throw error;
    }
    return processes;
  }

  /** Starts a service that is not running and resolves when it can be used. */
  async start(service: ServiceName): Promise<void> {
    const { http, nodes } = this.addresses;
    const program = await compiled(join(import.meta.dirname, '..', 'services', `${service}.ts`));
    const child = spawn(process.execPath, [...NODE_FLAGS, ...this.nodeFlags, program], {
      env: {
        ...process.env,
        SHOP_DATABASE_URL: this.databases[service],
        SHOP_HTTP_PORT: new URL(http[service]).port,
        SHOP_NODES: SERVICES.map((name) => `${name}=${nodes[name]}`).join(','),
        SHOP_SECRET: this.#secret,
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const startedAt = systemRuntime.monotonic();
    const emit = (type: ServiceEvent['type']): void => {
      const afterMs = systemRuntime.monotonic() - startedAt;
      this.onEvent({ service, type, pid: child.pid ?? 0, afterMs, log: this.logOf(service) });
    };
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#keep(service, line));
    }
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => {
        if (this.#running.get(service) === running) this.#running.delete(service);
        emit(running.ending ?? 'crashed');
        resolve();
      });
    });
    const ready = new Promise<void>((resolve) => {
      child.once('message', () => resolve());
    });
    const running: Running = { child, startedAt, ready, exited, ending: undefined };
    this.#running.set(service, running);
    emit('starting');

    const outcome = await Promise.race([
      ready.then(() => 'ready' as const),
      exited.then(() => 'exited' as const),
      sleep(systemRuntime, READY_WITHIN_MS, { keepAlive: false }).then(() => 'silent' as const),
    ]);
    if (outcome === 'ready') emit('up');
    // A service that is killed while it starts has not failed: whoever killed it knows.
    else if (outcome === 'silent' || running.ending === undefined) {
      throw new Error(`The ${service} service did not start. It printed:\n${this.logOf(service)}`);
    }
  }

  /** SIGKILL: no goodbye, no cleaning up. Resolves when the process is gone. */
  async kill(service: ServiceName): Promise<void> {
    const running = this.#running.get(service);
    if (running === undefined) return;
    running.ending = 'killed';
    running.child.kill('SIGKILL');
    await running.exited;
  }

  /** The process of a service, for tests that talk to what they put inside it. */
  processOf(service: ServiceName): ChildProcess | undefined {
    return this.#running.get(service)?.child;
  }

  /** Resolves when the service's process is gone. */
  async exited(service: ServiceName, signal?: AbortSignal): Promise<void> {
    await abortable(this.#running.get(service)?.exited ?? Promise.resolve(), signal);
  }

  /** The end of what a service printed. */
  logOf(service: ServiceName, lines = 20): string {
    return this.#log[service].slice(-lines).join('\n') || '(nothing)';
  }

  /** Asks all services to stop, and kills those that do not. */
  async stop(): Promise<void> {
    await Promise.all(
      [...this.#running.values()].map(async (running) => {
        running.ending = 'stopped';
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

  #keep(service: ServiceName, line: string): void {
    const log = this.#log[service];
    log.push(line);
    if (log.length > KEPT_LINES) log.shift();
  }
}

/** HTTP on 4101 to 4104 and the transport on 4201 to 4204, or somewhere else when any of these is taken. */
export async function freeAddresses(): Promise<Addresses> {
  for (let base = 4100, attempt = 0; attempt < 100; attempt++) {
    const http = eachService((_, index) => base + 1 + index);
    const nodes = eachService((_, index) => base + 101 + index);
    const free = await Promise.all([...Object.values(http), ...Object.values(nodes)].map(isFree));
    if (free.every(Boolean)) {
      return {
        http: eachService((name) => `http://127.0.0.1:${String(http[name])}`),
        nodes: eachService((name) => `127.0.0.1:${String(nodes[name])}`),
      };
    }
    // Below the range from which the system takes the ports of outgoing connections: while a service is down,
    // nobody else gets its port by chance.
    base = 5_000 + 200 * Math.floor(systemRuntime.random() * 120);
  }
  throw new Error('No eight free ports were found between 4100 and 29000.');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
      .once('error', () => resolve(false))
      .listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
