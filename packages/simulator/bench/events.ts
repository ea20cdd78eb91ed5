import { systemRuntime } from '@quorate/runtime';
import { Simulation } from '@quorate/simulator';

/** Frames there and back between two nodes on a bare link, and how many events a second of one core that makes. */
async function pingPong(promises: boolean, events: number): Promise<number> {
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
  const start = systemRuntime.monotonic();
  await simulation.runUntil(() => simulation.steps >= events, Number.MAX_SAFE_INTEGER);
  return (simulation.steps / (systemRuntime.monotonic() - start)) * 1_000;
}

/** The limit: promise callbacks drained by one immediate per event that does nothing. */
async function bareImmediates(events: number): Promise<number> {
  const start = systemRuntime.monotonic();
  for (let one = 0; one < events; one++) await new Promise((resolve) => setImmediate(resolve));
  return (events / (systemRuntime.monotonic() - start)) * 1_000;
}

for (let round = 0; round < 3; round++) {
  const rates = {
    'ping-pong, promises drained': await pingPong(true, 500_000),
    'ping-pong, without promises': await pingPong(false, 1_000_000),
    'one immediate per event, nothing else': await bareImmediates(200_000),
  };
  for (const [name, rate] of Object.entries(rates)) {
    console.log(
      `${name.padEnd(40)} ${Math.round(rate).toLocaleString('en')} events/s, ${(rate / 300_000).toFixed(2)} of the goal`,
    );
  }
}
