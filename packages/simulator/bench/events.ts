import { systemRuntime } from '@quorate/runtime';
import { Simulation } from '@quorate/simulator';
import { createTransport } from '@quorate/transport';

/*
 * Events a second of one core: frames there and back between two nodes, on the bare link and through the transport,
 * with and without promise callbacks between events; and the physical limit that such a run has without a simulator.
 */
const GOAL = 300_000;

async function rate(simulation: Simulation, events: number): Promise<number> {
  const start = systemRuntime.monotonic();
  await simulation.runUntil(() => simulation.steps >= events, Number.MAX_SAFE_INTEGER);
  return (simulation.steps / (systemRuntime.monotonic() - start)) * 1_000;
}

function bareLink(promises: boolean, events: number): Promise<number> {
  const simulation = new Simulation({ seed: 1, promises });
  const frame = new Uint8Array(32);
  for (const id of ['a', 'b']) {
    simulation.node(id, ({ link }) =>
      link.start({
        frame: (from) => void link.send(from, frame),
        up: (peer) => {
          if (id === 'a') link.send(peer, frame);
        },
        down: () => undefined,
      }),
    );
  }
  return rate(simulation, events);
}

function messages(events: number): Promise<number> {
  const simulation = new Simulation({ seed: 1 });
  const body = new Uint8Array(32);
  for (const id of ['a', 'b']) {
    simulation.node(id, ({ link, runtime }) => {
      const transport = createTransport(link, { runtime });
      transport.subscribe('ping', ({ from }) => void transport.send(from, 'ping', body));
      transport.onPeer(({ type, peer }) => {
        if (id === 'a' && type === 'up') transport.send(peer, 'ping', body);
      });
      return transport.start();
    });
  }
  return rate(simulation, events);
}

/** Ten requests under way at a time, each with a deadline, awaited. */
function requests(events: number): Promise<number> {
  const simulation = new Simulation({ seed: 1 });
  const body = new Uint8Array(32);
  simulation.node('b', ({ link, runtime }) => {
    const transport = createTransport(link, { runtime });
    transport.respond('ask', () => body);
    return transport.start();
  });
  simulation.node('a', async ({ link, runtime }) => {
    const transport = createTransport(link, { runtime });
    await transport.start();
    await new Promise((resolve) => transport.onPeer(resolve));
    const ask = async (): Promise<never> => {
      for (;;) await transport.request('b', 'ask', body, { timeoutMs: 1_000 });
    };
    await Promise.all(Array.from({ length: 10 }, ask));
  });
  return rate(simulation, events);
}

/** What one core does in promise callbacks drained by one immediate per event that does nothing. */
async function bareImmediates(events: number): Promise<number> {
  const start = systemRuntime.monotonic();
  for (let one = 0; one < events; one++) await new Promise((resolve) => setImmediate(resolve));
  return (events / (systemRuntime.monotonic() - start)) * 1_000;
}

const runs: readonly (readonly [string, () => Promise<number>])[] = [
  ['bare link, promises drained', () => bareLink(true, 500_000)],
  ['bare link, without promises', () => bareLink(false, 1_000_000)],
  ['transport: messages', () => messages(500_000)],
  ['transport: requests, awaited', () => requests(500_000)],
  ['one immediate per event, nothing else', () => bareImmediates(200_000)],
];
const results = new Map<string, number[]>();
const ROUNDS = 5;
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, run] of runs) results.set(name, [...(results.get(name) ?? []), await run()]);
}
for (const [name, rates] of results) {
  const median = rates.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
  console.log(
    `${name.padEnd(40)} ${Math.round(median).toLocaleString('en').padStart(10)} events/s, ` +
      `${(median / GOAL).toFixed(2)} of the goal (median of ${String(ROUNDS)}; ` +
      `${Math.round(rates[0] ?? 0).toLocaleString('en')} to ${Math.round(rates.at(-1) ?? 0).toLocaleString('en')})`,
  );
}
