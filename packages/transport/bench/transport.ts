// Requests and messages of 256 bytes between two processes over the loopback interface:
// `npm run bench -w @quorate/transport`, with `-- --rounds 9 --only bare,quorate` to look closer,
// and with `--profile DIR` to have CPU profiles of every process written there.
//
// Every contender has a server process and a client process of its own. The rounds are interleaved, so that a slow
// moment of the machine hits all of them, and the ratios are medians of the ratios within one round.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import type { Answer, Command } from './contenders/process.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: 'bare,split,quorate,ws,moleculer,nest' },
    ms: { type: 'string', default: '500' },
    profile: { type: 'string' },
  },
});
const ROUNDS = Number(values.rounds);
const PHASE_MS = Number(values.ms);
const FLOOD_BYTES = 64 * 2 ** 20;
const names = values.only.split(',');

class End {
  readonly process: ChildProcess;

  constructor(contender: string) {
    const profile = values.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.profile}`];
    this.process = fork(new URL('contenders/process.ts', import.meta.url), [contender], {
      execArgv: [...process.execArgv, ...profile],
    });
  }

  async ask(command: Command): Promise<Answer> {
    this.process.send(command);
    const [answer] = (await once(this.process, 'message')) as [Answer];
    return answer;
  }
}

interface Pair {
  readonly name: string;
  readonly server: End;
  readonly client: End;
  messages: number;
}

/** One round of one contender. */
interface Round {
  serial: number;
  serialLatencies: readonly number[];
  inFlight: number;
  latencies: readonly number[];
  oneWay: number;
  cpuUs: number;
}

async function cpuUs({ server, client }: Pair): Promise<number> {
  const ends = await Promise.all([server.ask({ do: 'cpu' }), client.ask({ do: 'cpu' })]);
  return ends.reduce((sum, { cpuUs: us = 0 }) => sum + us, 0);
}

function perSecond({ count = 0, startMs = 0, endMs = 0 }: Answer): number {
  return (count * 1_000) / (endMs - startMs);
}

async function round(pair: Pair, phaseMs: number): Promise<Round> {
  const serial = await pair.client.ask({ do: 'requests', inFlight: 1, forMs: phaseMs / 2 });
  const cpuBefore = await cpuUs(pair);
  const loaded = await pair.client.ask({ do: 'requests', inFlight: 64, forMs: phaseMs });
  const cpu = (await cpuUs(pair)) - cpuBefore;
  const sent = await pair.client.ask({ do: 'messages', forMs: phaseMs });
  pair.messages += sent.count ?? 0;
  const arrived = await pair.server.ask({ do: 'await', messages: pair.messages });
  return {
    serial: perSecond(serial),
    serialLatencies: serial.latencies ?? [],
    inFlight: perSecond(loaded),
    latencies: loaded.latencies ?? [],
    oneWay: perSecond({ ...sent, ...arrived }),
    cpuUs: cpu / (loaded.count ?? 1),
  };
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}
const median = (values: readonly number[]): number => quantile(values, 0.5);

const pairs: Pair[] = [];
for (const name of names) {
  const server = new End(name);
  const { port = 0 } = await server.ask({ do: 'serve' });
  const client = new End(name);
  await client.ask({ do: 'connect', port });
  pairs.push({ name, server, client, messages: 0 });
}

const rounds = new Map<string, Round[]>(names.map((name) => [name, []]));
for (const pair of pairs) await round(pair, PHASE_MS); // to warm up
for (let index = 0; index < ROUNDS; index++) {
  for (const pair of pairs) rounds.get(pair.name)?.push(await round(pair, PHASE_MS));
}

const base = rounds.get('bare') ?? rounds.get(names[0] ?? '') ?? [];
const thousands = (value: number): string => `${(value / 1_000).toFixed(1)}k`;
const rows = names.map((name) => {
  const own = rounds.get(name) ?? [];
  const ratio = (of: (one: Round) => number): string =>
    median(own.map((one, index) => of(one) / of(base[index] ?? one))).toPrecision(2);
  const rate = (of: (one: Round) => number): string => `${thousands(median(own.map(of)))} (${ratio(of)})`;
  const us = (of: (one: Round) => readonly number[], q: number): number =>
    Math.round(median(own.map((one) => quantile(of(one), q))) * 1_000);
  return {
    contender: name,
    'serial/s': rate((one) => one.serial),
    '64 in flight/s': rate((one) => one.inFlight),
    'one-way/s': rate((one) => one.oneWay),
    'CPU µs/request': median(own.map((one) => one.cpuUs)).toFixed(1),
    'serial p50/p99 µs': `${us((one) => one.serialLatencies, 0.5)} / ${us((one) => one.serialLatencies, 0.99)}`,
    '64: p50/p99 µs': `${us((one) => one.latencies, 0.5)} / ${us((one) => one.latencies, 0.99)}`,
  };
});
console.log(
  `bodies of 256 bytes, Node ${process.version}, median of ${ROUNDS} interleaved rounds; in parentheses the ratio to bare node:net`,
);
console.table(Object.fromEntries(rows.map(({ contender, ...row }) => [contender, row])));

const ours = rounds.get('quorate');
if (ours !== undefined) {
  for (const name of names) {
    const theirs = rounds.get(name) ?? [];
    if (name === 'quorate') continue;
    const times = median(ours.map((one, index) => one.inFlight / (theirs[index]?.inFlight ?? Number.NaN)));
    console.log(`quorate does ${times.toPrecision(3)} times the requests of ${name} with 64 in flight`);
  }
}

console.log(
  `\nA receiver that stalls (SIGSTOP) while ${FLOOD_BYTES / 2 ** 20} MiB of bodies are offered without regard to back pressure:`,
);
for (const { name, server, client } of pairs) {
  server.process.kill('SIGSTOP');
  const { accepted = 0, grownBytes = 0 } = await client.ask({ do: 'flood', bytes: FLOOD_BYTES });
  server.process.kill('SIGCONT');
  const mib = (grownBytes / 2 ** 20).toFixed(0);
  console.log(`  ${name.padEnd(10)} accepted ${accepted} messages, the sender grew by ${mib} MiB at most`);
}

for (const { server, client } of pairs) {
  for (const end of [client, server]) {
    const exited = once(end.process, 'exit');
    end.process.disconnect();
    await exited;
  }
}
