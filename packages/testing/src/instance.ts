import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { QuorateError, sleep, systemRuntime } from '@quorate/runtime';
import type { Plan, ServiceDescriptor } from './descriptor.js';
import type { Source } from './source.js';
import { type Account, type SupervisedProcess, Supervisor } from './supervised.js';

const START_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 10_000;
const PROBE_INTERVAL_MS = 20;
/** A free port can be taken by somebody else before the server listens on it. */
const START_ATTEMPTS = 3;
/** The account that has no rights anywhere; PostgreSQL and MariaDB refuse to run as root. */
const NOBODY: Account = { uid: 65_534, gid: 65_534 };

/** How a private instance differs from the shared one. */
export interface InstanceOptions {
  /** Settings of the server by name, such as `{ max_connections: '5' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A server that was started for the caller alone, who may stop, kill, pause and restart it. */
export interface Instance extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Where the program came from, such as `local binary`. */
  readonly origin: string;
  readonly version: string;
  /** How long the first start took, in milliseconds, from an empty folder to the first answer. */
  readonly startedInMs: number;
  /** The process; of a container, the `docker` command that holds it. A restart gives a new one. */
  readonly pid: number;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
  /** Ends the server and all its processes with SIGKILL, as a power failure would. Its data stays. */
  kill(): Promise<void>;
  /** Freezes the server and all its processes with SIGSTOP: connections stay open and nobody answers. */
  pause(): Promise<void>;
  /** Undoes {@link Instance.pause}. */
  resume(): Promise<void>;
  /** Starts the server again on its port and its data, after ending it when it runs. */
  restart(): Promise<void>;
}

/** Starts a private instance and waits until it answers. */
export async function startInstance(
  descriptor: ServiceDescriptor,
  source: Source,
  options: InstanceOptions = {},
): Promise<Instance> {
  const started = systemRuntime.monotonic();
  for (let attempt = 1; ; attempt++) {
    const instance = await PrivateInstance.create(descriptor, source, options);
    try {
      await instance.start();
      instance.startedInMs = Math.round(systemRuntime.monotonic() - started);
      return instance;
    } catch (error) {
      const log = await instance.log();
      await instance.stop();
      if (attempt < START_ATTEMPTS && /address already in use|bind on TCP|EADDRINUSE/i.test(log)) continue;
      throw new QuorateError(
        'SERVICE_START_FAILED',
        `${descriptor.name} (${source.origin}) did not start; it printed:\n${log || '(nothing)'}`,
        { cause: error },
      );
    }
  }
}

class PrivateInstance implements Instance {
  readonly origin: string;
  readonly url: string;
  startedInMs = 0;
  version = 'unknown';
  #process: SupervisedProcess | undefined;
  #stopped = false;

  private constructor(
    private readonly descriptor: ServiceDescriptor,
    source: Source,
    private readonly plan: Plan & Pick<Instance, 'port'>,
    private readonly folder: string,
    private readonly account: Account | undefined,
    private readonly container: Container | undefined,
  ) {
    this.origin = source.origin;
    this.url = descriptor.url(plan.port);
  }

  static async create(
    descriptor: ServiceDescriptor,
    source: Source,
    { settings = {} }: InstanceOptions,
  ): Promise<PrivateInstance> {
    const supervisor = Supervisor.shared();
    const account = descriptor.unprivileged === true && process.getuid?.() === 0 ? NOBODY : undefined;
    const folder = await supervisor.folder(`quorate-${descriptor.name}-`, account);
    const ports = await freePorts(descriptor.ports ?? 1);
    if (source.kind === 'container') {
      const container = new Container(folder, descriptor.name, ports[0]);
      return new PrivateInstance(descriptor, source, container.plan, folder, undefined, container);
    }
    const plan = { ...descriptor.plan({ program: source.program, folder, ports, settings }), port: ports[0] };
    for (const [name, text] of Object.entries(plan.files ?? {})) await writeFile(join(folder, name), text);
    for (const command of plan.initialise ?? []) await supervisor.run(command, account);
    return new PrivateInstance(descriptor, source, plan, folder, account, undefined);
  }

  get port(): number {
    return this.plan.port;
  }

  get pid(): number {
    return this.#running().pid;
  }

  async start(): Promise<void> {
    const server = await Supervisor.shared().start(
      {
        ...this.plan.run,
        log: join(this.folder, 'server.log'),
        stopSignal: this.plan.stopSignal ?? 'SIGTERM',
        cleanup: this.plan.cleanup,
      },
      this.account,
    );
    this.#process = server;
    void server.exited.then(() => {
      if (this.#process === server) this.#process = undefined;
    });
    const due = systemRuntime.monotonic() + START_TIMEOUT_MS;
    for (;;) {
      try {
        this.version = await this.descriptor.probe(this.url);
        return;
      } catch (error) {
        if (this.#process !== server || systemRuntime.monotonic() > due) throw error;
      }
      await sleep(systemRuntime, PROBE_INTERVAL_MS);
    }
  }

  /** The end of what the server printed. */
  async log(): Promise<string> {
    const text = await readFile(join(this.folder, 'server.log'), 'utf8').catch(() => '');
    return text.split('\n').slice(-30).join('\n').trim();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.#process?.stop(STOP_GRACE_MS);
    await Supervisor.shared().remove(this.folder);
  }

  async kill(): Promise<void> {
    await this.container?.control('kill');
    const server = this.#running();
    if (this.container === undefined) await server.signal('SIGKILL');
    await server.exited;
  }

  async pause(): Promise<void> {
    await (this.container?.control('pause') ?? this.#running().signal('SIGSTOP'));
  }

  async resume(): Promise<void> {
    await (this.container?.control('unpause') ?? this.#running().signal('SIGCONT'));
  }

  async restart(): Promise<void> {
    if (this.#stopped) throw new QuorateError('SERVICE_STOPPED', `this ${this.descriptor.name} was stopped`);
    await this.#process?.stop(STOP_GRACE_MS);
    await this.start();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #running(): SupervisedProcess {
    if (this.#process === undefined) {
      throw new QuorateError('SERVICE_STOPPED', `this ${this.descriptor.name} is not running`);
    }
    return this.#process;
  }
}

/** One service of compose.yaml as a compose project of its own. */
class Container {
  readonly plan: Plan & Pick<Instance, 'port'>;
  readonly #compose: (...args: string[]) => { command: string; args: string[]; env: Record<string, string> };

  constructor(folder: string, service: string, port: number) {
    const project = folder.slice(folder.lastIndexOf('/') + 1).toLowerCase();
    const file = join(import.meta.dirname, '..', 'compose.yaml');
    this.#compose = (...args) => ({
      command: 'docker',
      args: ['compose', '-p', project, '-f', file, ...args],
      env: { QUORATE_PORT: String(port) },
    });
    this.plan = {
      port,
      run: this.#compose('up', '--no-log-prefix', '--abort-on-container-exit', service),
      cleanup: this.#compose('down', '-v', '-t', '1'),
    };
  }

  async control(verb: 'kill' | 'pause' | 'unpause'): Promise<void> {
    await Supervisor.shared().run(this.#compose(verb));
  }
}

/** Ports of 127.0.0.1 that nobody listens on at the moment. */
async function freePorts(count: number): Promise<[number, ...number[]]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject).listen(0, '127.0.0.1', () => {
            resolve((server.address() as AddressInfo).port);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports as [number, ...number[]];
}
