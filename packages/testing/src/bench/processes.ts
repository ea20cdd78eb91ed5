import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { sleep, systemRuntime } from '@quorate/runtime';

const started = new Set<ChildProcess>();

/** Ends every process that is still there. */
export async function endProcesses(): Promise<void> {
  await Promise.all(
    [...started].map(async (child) => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }),
  );
}

/** Lets scripts end by themselves, so that they write their profiles. */
export async function endScripts(): Promise<void> {
  await Promise.all(
    [...started]
      .filter(({ connected }) => connected)
      .map(async (child) => {
        const exited = once(child, 'exit');
        child.disconnect();
        await exited;
      }),
  );
}

function track(child: ChildProcess): ChildProcess {
  started.add(child);
  child.once('exit', () => started.delete(child));
  return child;
}

/** Runs a script with one argument, in JSON. */
export function runScript(script: URL, argument: unknown, profile: string | undefined): ChildProcess {
  const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  return track(
    fork(script, [JSON.stringify(argument)], {
      execArgv: [...process.execArgv, ...flags],
    }),
  );
}

export function runProgram(command: string, args: readonly string[]): ChildProcess {
  return track(spawn(command, args, { stdio: 'ignore' }));
}

/** Sends a message to a script, and waits for its answer. */
export async function ask<T>(child: ChildProcess, question: unknown): Promise<T> {
  if (question !== undefined) child.send(question as object);
  const gone = new AbortController();
  try {
    const [answer] = (await Promise.race([
      once(child, 'message', { signal: gone.signal }),
      once(child, 'exit', { signal: gone.signal }).then(([code]) => {
        throw new Error(`a process of the benchmark ended with ${String(code)}`);
      }),
    ])) as [T];
    return answer;
  } finally {
    gone.abort();
  }
}

/** The CPU time that processes have had, in microseconds; not a number where the system does not tell. */
export function cpuUs(children: readonly ChildProcess[]): number {
  let ticks = 0;
  for (const { pid } of children) {
    try {
      // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      return Number.NaN;
    }
  }
  return ticks * 10_000;
}

/** Ports of 127.0.0.1 that nobody listens on at the moment. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Asks until there is an answer. */
export async function until<T>(find: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 500; tries++) {
    const found = await find();
    if (found !== undefined) return found;
    await sleep(systemRuntime, 20);
  }
  throw new Error('a server of the benchmark did not start');
}
