// One end of one contender, in a process of its own. Started by ../transport.ts, which tells it what to do.
import { systemRuntime } from '@quorate/runtime';
import { bare, split } from './bare.js';
import { BODY_BYTES, type Client, type Contender } from './contender.js';
import { moleculer } from './moleculer.js';
import { nest } from './nest.js';
import { quorate } from './quorate.js';
import { ws } from './ws.js';

const contenders: Readonly<Record<string, Contender>> = { bare, split, quorate, ws, moleculer, nest };

/** What the parent asks for. */
export type Command =
  | { readonly do: 'serve' }
  | { readonly do: 'connect'; readonly port: number }
  | { readonly do: 'requests'; readonly inFlight: number; readonly forMs: number }
  | { readonly do: 'messages'; readonly forMs: number }
  | { readonly do: 'flood'; readonly bytes: number }
  | { readonly do: 'await'; readonly messages: number }
  | { readonly do: 'cpu' };

/** What it is answered. Times are in milliseconds of the machine's monotonic clock, which all processes share. */
export interface Answer {
  readonly port?: number;
  readonly count?: number;
  readonly startMs?: number;
  readonly endMs?: number;
  /** Milliseconds of every sixteenth request. */
  readonly latencies?: readonly number[];
  readonly cpuUs?: number;
  /** Of a flood: how many messages were taken, and by how many bytes the process grew at most. */
  readonly accepted?: number;
  readonly grownBytes?: number;
}

const SAMPLED = 16;
const name = process.argv[2] ?? '';
const contender = present(contenders[name], `no contender is called ${name}`);

let client: Client | undefined;
let received = 0;
let onReceived = (): void => {};

const clock = (): number => Number(process.hrtime.bigint()) / 1e6;

async function requests(to: Client, inFlight: number, forMs: number): Promise<Answer> {
  const latencies: number[] = [];
  let count = 0;
  const startMs = clock();
  const until = systemRuntime.monotonic() + forMs;
  let over = false;
  const worker = async (): Promise<void> => {
    while (!over) {
      if (++count % SAMPLED !== 0) {
        await to.request();
        continue;
      }
      const sentMs = systemRuntime.monotonic();
      await to.request();
      const nowMs = systemRuntime.monotonic();
      latencies.push(nowMs - sentMs);
      over = nowMs >= until;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return { count, startMs, endMs: clock(), latencies };
}

async function messages(to: Client, forMs: number): Promise<Answer> {
  const startMs = clock();
  const until = systemRuntime.monotonic() + forMs;
  let count = 0;
  // As a sender in a service would: a few thousand, then a look at the clock.
  while (systemRuntime.monotonic() < until) {
    for (let index = 0; index < 1_000; index++) {
      // Only what was accepted counts.
      const accepted = to.send();
      if (accepted || countsRefused) count++;
      if (!accepted) await to.ready();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { count, startMs };
}
/** With the others false means "taken, but pause"; here it means "not taken". */
const countsRefused = name !== 'quorate';

/** Sends without regard to back pressure, as a broken caller would, and watches how the process grows. */
async function flood(to: Client, bytes: number): Promise<Answer> {
  globalThis.gc?.();
  const before = process.memoryUsage.rss();
  let grownBytes = 0;
  let accepted = 0;
  const total = Math.floor(bytes / BODY_BYTES);
  for (let sent = 1; sent <= total; sent++) {
    if (to.send() || countsRefused) accepted++;
    if (sent % 1_000 === 0) {
      grownBytes = Math.max(grownBytes, process.memoryUsage.rss() - before);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return { accepted, grownBytes };
}

function present<T>(value: T | undefined, otherwise: string): T {
  if (value === undefined) throw new Error(otherwise);
  return value;
}

function connected(): Client {
  return present(client, 'not connected yet');
}

async function run(command: Command): Promise<Answer> {
  switch (command.do) {
    case 'serve':
      return contender.serve(() => {
        received++;
        onReceived();
      });
    case 'connect':
      client = await contender.connect(command.port);
      return {};
    case 'requests':
      return requests(connected(), command.inFlight, command.forMs);
    case 'messages':
      return messages(connected(), command.forMs);
    case 'flood':
      return flood(connected(), command.bytes);
    case 'await':
      await new Promise<void>((resolve) => {
        onReceived = () => {
          if (received >= command.messages) resolve();
        };
        onReceived();
      });
      onReceived = () => {};
      return { endMs: clock() };
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      return { cpuUs: user + system };
    }
  }
}

process.on('message', (command: Command) => {
  void run(command).then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit(0));
