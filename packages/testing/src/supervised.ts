import { type ChildProcess, spawn } from 'node:child_process';
import { type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { QuorateError } from '@quorate/runtime';

/** A program with its arguments. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** @defaultValue `/` */
  readonly cwd?: string;
}

/** Whom a program runs as; only root can choose. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** A server that the supervisor started. */
export interface SupervisedProcess {
  readonly pid: number;
  /** Settles when the process ended, for whatever reason; never rejects. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  /** Signals the process and its descendants; SIGKILL resolves when the process is gone. */
  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  /** Asks it to end, and kills it after `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

interface Exit {
  readonly promise: SupervisedProcess['exited'];
  readonly resolve: (exit: Awaited<SupervisedProcess['exited']>) => void;
}

interface Reply {
  readonly id?: number;
  readonly error?: string;
  readonly exited?: number;
  readonly code?: number | null;
  readonly signal?: string | null;
  readonly [field: string]: unknown;
}

/**
 * This process's supervisor: it starts servers, and stops them and removes their folders as soon as this process
 * ends, however it ends. An idle supervisor does not keep this process alive.
 */
export class Supervisor {
  static #shared: Supervisor | undefined;

  /** The one of this process, started when first needed. */
  static shared(): Supervisor {
    return (Supervisor.#shared ??= new Supervisor());
  }

  readonly #child: ChildProcess & { stdin: Socket; stdout: Socket };
  readonly #pending = new Map<number, { resolve: (reply: Reply) => void; reject: (error: Error) => void }>();
  readonly #exits = new Map<number, Exit>();
  #lastId = 0;

  private constructor() {
    const program = join(import.meta.dirname, 'supervisor.mjs');
    // Without this run's own loaders and inspectors, which the supervisor has no use for.
    const env = { ...process.env };
    delete env['NODE_OPTIONS'];
    const child = spawn(process.execPath, [program], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
      env,
    });
    // A pipe of a child process is a socket, whatever its declared type.
    this.#child = child as ChildProcess & { stdin: Socket; stdout: Socket };
    this.#child.stdin.on('error', () => undefined);
    this.#child.stdin.unref();
    this.#child.unref();
    this.#idle();
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#receive(JSON.parse(line) as Reply);
    });
    const lost = (): void => {
      Supervisor.#shared = undefined;
      for (const waiting of this.#pending.values()) {
        waiting.reject(new QuorateError('SUPERVISOR_LOST', 'the supervisor of the test servers ended'));
      }
      this.#pending.clear();
      for (const exit of this.#exits.values()) exit.resolve({ code: null, signal: null });
      this.#exits.clear();
    };
    child.once('error', lost);
    child.once('exit', lost);
  }

  /** A new folder in the system's temporary folder. */
  async folder(prefix: string, owner?: Account): Promise<string> {
    return String((await this.#request('folder', { prefix, ...owner }))['path']);
  }

  /** Removes a folder that {@link Supervisor.folder} made. */
  async remove(path: string): Promise<void> {
    await this.#request('remove', { path });
  }

  /** Runs a program to its end and returns what it printed; rejects when it fails. */
  async run(command: Command, account?: Account): Promise<string> {
    const reply = await this.#request('run', { ...command, ...account });
    const output = String(reply['output']);
    if (reply.code !== 0) {
      throw new QuorateError(
        'COMMAND_FAILED',
        `${[command.command, ...command.args].join(' ')} ended with ${String(reply.code)}:\n${output}`,
      );
    }
    return output;
  }

  /** Starts a server that writes what it prints to the file `log`. */
  async start(
    command: Command & {
      readonly log: string;
      readonly stopSignal: NodeJS.Signals;
      readonly cleanup?: Command | undefined;
    },
    account?: Account,
  ): Promise<SupervisedProcess> {
    const pid = Number((await this.#request('start', { ...command, ...account }))['pid']);
    const exited = this.#exitOf(pid).promise.finally(() => this.#exits.delete(pid));
    return {
      pid,
      exited,
      signal: async (signal) => {
        await this.#request('signal', { pid, signal });
      },
      stop: async (graceMs) => {
        await this.#request('stop', { pid, graceMs });
      },
    };
  }

  #request(op: string, fields: object): Promise<Reply> {
    const id = ++this.#lastId;
    return new Promise<Reply>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#child.stdout.ref();
      this.#child.stdin.write(`${JSON.stringify({ id, op, ...fields })}\n`);
    });
  }

  #receive(reply: Reply): void {
    if (reply.exited !== undefined) {
      this.#exitOf(reply.exited).resolve({ code: reply.code ?? null, signal: reply.signal ?? null });
      return;
    }
    const waiting = this.#pending.get(reply.id ?? 0);
    if (waiting === undefined) return;
    this.#pending.delete(reply.id ?? 0);
    if (this.#pending.size === 0) this.#idle();
    if (reply.error === undefined) waiting.resolve(reply);
    else waiting.reject(new QuorateError('SUPERVISOR_FAILED', reply.error));
  }

  /** A process may end before whoever started it has seen that it began. */
  #exitOf(pid: number): Exit {
    let exit = this.#exits.get(pid);
    if (exit === undefined) {
      let resolve: Exit['resolve'] = () => undefined;
      const promise: Exit['promise'] = new Promise((done) => {
        resolve = done;
      });
      exit = { promise, resolve };
      this.#exits.set(pid, exit);
    }
    return exit;
  }

  #idle(): void {
    this.#child.stdout.unref();
  }
}
