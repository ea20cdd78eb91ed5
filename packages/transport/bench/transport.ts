// Requests and messages of 256 bytes between two processes over the loopback interface:
// `npm run bench -w @quorate/transport`, with `-- --rounds 9 --only bare,quorate` to look closer,
// and with `--profile DIR` to have CPU profiles of every process written there.
//
// Every contender has a server process and a client process of its own for each load. The rounds are interleaved, so that
// a slow moment of the machine hits all of them, and the ratios are medians of the ratios within one round.
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

async function startPair(name: string): Promise<Pair> {
  const server = new End(name);
  const { port = 0 } = await server.ask({ do: 'serve' });
  const client = new End(name);
  await client.ask({ do: 'connect', port });
  return { name, server, client, messages: 0 };
}

async function endPair({ server, client }: Pair): Promise<void> {
  for (const end of [client, server]) {
    const exited = once(end.process, 'exit');
    end.process.disconnect();
    await exited;
  }
}

async function cpuUs({ server, client }: Pair): Promise<number> {
  const ends = await Promise.all([server.ask({ do: 'cpu' }), client.ask({ do: 'cpu' })]);
  return ends.reduce((sum, { cpuUs: us = 0 }) => sum + us, 0);
}

function perSecond({ count = 0, startMs = 0, endMs = 0 }: Answer): number {
  return (count * 1_000) / (endMs - startMs);
}

/** What one contender did under one load in one round. */
interface Round {
  readonly perSecond: number;
  readonly latencies: readonly number[];
  readonly cpuUs: number;
}

async function requests(pair: Pair, inFlight: number): Promise<Round> {
  const load = { do: 'requests', inFlight, forMs: PHASE_MS } as const;
  // While the others were measured V8 has handed memory back: a service under load has it.
  await pair.client.ask(load);
  const cpuBefore = await cpuUs(pair);
  const answer = await pair.client.ask(load);
  const cpu = (await cpuUs(pair)) - cpuBefore;
  return {
    perSecond: perSecond(answer),
    latencies: answer.latencies ?? [],
    cpuUs: cpu / (answer.count ?? 1),
  };
}

async function messages(pair: Pair): Promise<Round> {
  const cpuBefore = await cpuUs(pair);
  const sent = await pair.client.ask({ do: 'messages', forMs: PHASE_MS });
  pair.messages += sent.count ?? 0;
  const arrived = await pair.server.ask({ do: 'await', messages: pair.messages });
  const cpu = (await cpuUs(pair)) - cpuBefore;
  return { perSecond: perSecond({ ...sent, ...arrived }), latencies: [], cpuUs: cpu / (sent.count ?? 1) };
}

/**
 * Measures all contenders under one load, in processes that see no other load: what a flood of messages leaves in a heap
 * is no cost of requests.
 */
async function measure(
  load: (pair: Pair) => Promise<Round>,
  afterwards: (pair: Pair) => Promise<void> = () => Promise.resolve(),
): Promise<ReadonlyMap<string, readonly Round[]>> {
  const rounds = new Map<string, Round[]>(names.map((name) => [name, []]));
  const pairs: Pair[] = [];
  for (const name of names) pairs.push(await startPair(name));
  for (const pair of pairs) await load(pair); // to warm up
  for (let index = 0; index < ROUNDS; index++) {
    for (const pair of pairs) rounds.get(pair.name)?.push(await load(pair));
  }
  for (const pair of pairs) await afterwards(pair);
  for (const pair of pairs) await endPair(pair);
  return rounds;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}
const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Offers more than a stopped receiver takes. */
async function stall({ name, server, client }: Pair): Promise<void> {
  server.process.kill('SIGSTOP');
  const { accepted = 0, grownBytes = 0 } = await client.ask({ do: 'flood', bytes: FLOOD_BYTES });
  server.process.kill('SIGCONT');
  const mib = (grownBytes / 2 ** 20).toFixed(0);
  stalls.push(`  ${name.padEnd(10)} accepted ${accepted} messages, the sender grew by ${mib} MiB at most`);
}

const stalls: string[] = [];
const serial = await measure((pair) => requests(pair, 1));
const loaded = await measure((pair) => requests(pair, 64));
const oneWay = await measure(messages, stall);

const thousands = (value: number): string => `${(value / 1_000).toFixed(1)}k`;
type Rounds = ReadonlyMap<string, readonly Round[]>;
/** The median of the ratios within one round. */
function times(rounds: Rounds, name: string, of: string): number {
  const others = rounds.get(of) ?? [];
  const own = rounds.get(name) ?? [];
  return median(own.map((one, index) => one.perSecond / (others[index]?.perSecond ?? Number.NaN)));
}
const rate = (rounds: Rounds, name: string): string =>
  `${thousands(median((rounds.get(name) ?? []).map((one) => one.perSecond)))} (${times(rounds, name, names[0] ?? '').toPrecision(2)})`;
const latency = (rounds: Rounds, name: string): string =>
  [0.5, 0.99]
    .map((q) => median((rounds.get(name) ?? []).map(({ latencies }) => quantile(latencies, q))))
    .map((ms) => Math.round(ms * 1_000))
    .join(' / ');
const cpu = (name: string): string => median((loaded.get(name) ?? []).map((one) => one.cpuUs)).toFixed(1);

console.log(
  `bodies of 256 bytes, Node ${process.version}, medians of ${ROUNDS} interleaved rounds; in parentheses the ratio to ${names[0]}`,
);
console.table(
  Object.fromEntries(
    names.map((name) => [
      name,
      {
        'serial/s': rate(serial, name),
        '64 in flight/s': rate(loaded, name),
        'one-way/s': rate(oneWay, name),
        'CPU µs/request': cpu(name),
        'serial p50/p99 µs': latency(serial, name),
        '64: p50/p99 µs': latency(loaded, name),
      },
    ]),
  ),
);
if (names.includes('quorate')) {
  for (const name of names.filter((other) => other !== 'quorate'))
    console.log(
      `quorate does ${times(loaded, 'quorate', name).toPrecision(3)} times the requests of ${name} with 64 in flight`,
    );
}
console.log(
  `\nA receiver that stalls (SIGSTOP) while ${FLOOD_BYTES / 2 ** 20} MiB of bodies are offered without regard to back pressure:`,
);
for (const line of stalls) console.log(line);
