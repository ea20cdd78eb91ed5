// The core alone: three nodes in one thread that pass messages in memory and write to memory.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { CoreRun } from './core/process.js';
import { median, ratio, readable } from '@quorate/testing/bench';

const WINDOWS = [1, 64, 1024];
const WARM_UP_CPU_US = 1_500_000;
/** Where Debian's golang-etcd-server-dev puts the sources of etcd, and what they import. */
const GO_PATH = process.env['BENCH_GOPATH'] ?? '/usr/share/gocode';
const PEERS = new URL('./peers/', import.meta.url).pathname;

interface Contender {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Only so many proposals in flight: with more it stands still. A process for each run, because it keeps all. */
  readonly onlyWindow?: number;
}

/** A process that runs when it is told to. */
class Worker {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor([command, ...args]: Contender['command']) {
    this.#process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#process.stdout === null) throw new Error('no output');
    this.#reader = createInterface({ input: this.#process.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async run(window: number, forMs: number): Promise<CoreRun> {
    this.#process.stdin?.write(`${window} ${forMs}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`${this.#process.spawnargs.join(' ')} ended`);
    return JSON.parse(line.value) as CoreRun;
  }

  end(): void {
    this.#reader.close();
    this.#process.kill('SIGKILL');
  }
}

/** Measures, and prints a table. */
export async function benchCore(rounds: number, forMs: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-raft-'));
  const workers: Worker[] = [];
  try {
    const contenders = [...ours(), ...ports(), ...go(folder)];
    const results = new Map<string, CoreRun[][]>();
    for (const { name } of contenders)
      results.set(
        name,
        WINDOWS.map(() => []),
      );
    const standing = new Map<string, Worker>();
    for (const { name, command, onlyWindow } of contenders) {
      if (onlyWindow !== undefined) continue;
      const worker = new Worker(command);
      workers.push(worker);
      standing.set(name, worker);
      for (const window of WINDOWS) {
        // Compiled by then, also where the machine is busy.
        for (let cpuUs = 0; cpuUs < WARM_UP_CPU_US;) cpuUs += (await worker.run(window, forMs)).cpuUs;
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const [at, window] of WINDOWS.entries()) {
        for (const { name, command, onlyWindow = window } of contenders) {
          if (onlyWindow !== window) continue;
          const worker = standing.get(name) ?? new Worker(command);
          if (!standing.has(name)) workers.push(worker);
          results.get(name)?.[at]?.push(await worker.run(window, forMs));
          if (!standing.has(name)) worker.end();
        }
      }
    }
    print(results, rounds, forMs);
  } finally {
    for (const worker of workers) worker.end();
    await rm(folder, { recursive: true });
  }
}

function script(contender: string): Contender['command'] {
  const path = new URL('./core/process.ts', import.meta.url).pathname;
  return [process.execPath, ...process.execArgv, path, contender];
}

function ours(): Contender[] {
  return [{ name: '@quorate/raft-core', command: script('quorate') }];
}

function ports(): Contender[] {
  if (!existsSync(join(PEERS, 'node_modules'))) {
    console.log(`The npm ports are not installed, and are left out: npm ci --prefix ${PEERS}`);
    return [];
  }
  return [
    { name: '@coaty/consensus.raft', command: script('coaty') },
    { name: '@coaty/consensus.raft, in one message', command: script('coaty-together') },
    { name: '@markwylde/liferaft', command: script('liferaft'), onlyWindow: 1 },
  ];
}

/** Compiles the Go program, where Go and the sources are there. */
function go(folder: string): Contender[] {
  const isThere =
    (process.env['PATH'] ?? '').split(delimiter).some((path) => existsSync(join(path, 'go'))) &&
    existsSync(join(GO_PATH, 'src/go.etcd.io/etcd/raft'));
  if (!isThere) {
    console.log('Go or etcd is not there, and is left out: apt-get install golang-go golang-etcd-server-dev');
    return [];
  }
  const program = join(folder, 'etcd-raft');
  execFileSync('go', ['build', '-o', program, '.'], {
    cwd: new URL('./core/etcd/', import.meta.url),
    env: { ...process.env, GO111MODULE: 'off', GOPATH: GO_PATH, GOFLAGS: '' },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return [
    { name: 'Go etcd/raft', command: [program] },
    { name: 'Go etcd/raft, in one message', command: [program, 'together'] },
  ];
}

function print(results: ReadonlyMap<string, readonly CoreRun[][]>, rounds: number, forMs: number): void {
  const perSecond = ({ count, ms }: CoreRun): number => (count * 1_000) / ms;
  const cpu = ({ count, cpuUs }: CoreRun): number => cpuUs / count;
  console.log(
    `\nThe core alone: three nodes in one thread, messages and storage in memory, commands of 256 bytes, ` +
      `medians of ${rounds} rounds of ${forMs} ms, interleaved; in parentheses how much CPU ours takes of theirs`,
  );
  const [own] = results.values();
  const table: Record<string, Record<string, string>> = {};
  for (const [name, windows] of results) {
    const row: Record<string, string> = {};
    for (const [at, window] of WINDOWS.entries()) {
      const runs = windows[at] ?? [];
      if (runs.length === 0) continue;
      const share = ratio((own?.[at] ?? []).map(cpu), runs.map(cpu));
      row[`${window} in flight: per second`] = readable(median(runs.map(perSecond)));
      row[`${window}: CPU µs each`] = `${readable(median(runs.map(cpu)))} (${share.toPrecision(2)})`;
    }
    table[name] = row;
  }
  console.table(table);
}
