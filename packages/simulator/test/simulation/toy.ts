import { createTransport } from '@quorate/transport';
import type { Scenario, SimProcess, Simulation } from '@quorate/simulator';

/** A bug planted in the toy, or none. */
export type Planted = 'none' | 'ack-before-sync' | 'lost-update';

/**
 * One server keeps a counter in a file; a client adds to it. What was acknowledged must survive power cuts, and two
 * additions must both count.
 */
export function counterScenario(planted: Planted): Scenario {
  return {
    name: `counter-${planted}`,
    options: { clock: { maxSkewMs: 500, maxDriftPpm: 100 } },
    async run(simulation) {
      let acknowledged = 0;
      let asked = 0;
      simulation.node('server', (process) => serve(process, planted));
      simulation.node('client', async ({ link, runtime }) => {
        const transport = createTransport(link, { runtime });
        await transport.start();
        const wait = (ms: number): Promise<void> => new Promise((resolve) => runtime.setTimer(ms, resolve));
        const add = async (): Promise<void> => {
          asked++;
          try {
            await transport.request('server', 'add', new Uint8Array(), { timeoutMs: 50 });
            acknowledged++;
          } catch {
            await wait(10);
          }
        };
        for (let round = 0; round < 15; round++) await Promise.all([add(), add()]);
      });
      disturb(simulation);
      await simulation.runFor(400);
      simulation.heal();
      let value = -1;
      simulation.node('reader', async ({ link, runtime }) => {
        const transport = createTransport(link, { runtime });
        await transport.start();
        while (value < 0) {
          try {
            const reply = await transport.request('server', 'read', new Uint8Array(), { timeoutMs: 100 });
            value = Number(Buffer.from(reply).toString());
          } catch {
            await new Promise<void>((resolve) => runtime.setTimer(20, resolve));
          }
        }
      });
      await simulation.runUntil(() => value >= 0, 10_000);
      if (value < acknowledged || value > asked) {
        simulation.fail(
          'check',
          `the counter is ${value}; ${acknowledged} of ${asked} additions were acknowledged`,
        );
      }
    },
  };
}

function disturb(simulation: Simulation): void {
  const server = simulation.nodes.get('server');
  if (server === undefined) return;
  const crashAt = 5 + simulation.random() * 200;
  simulation.after(crashAt, () => server.crash());
  simulation.after(crashAt + 20, () => {
    server.start();
  });
  simulation.after(simulation.random() * 300, () => server.pause());
  simulation.after(simulation.random() * 300, () => {
    const open = simulation.network.block('client', 'server');
    simulation.after(30, open);
  });
}

async function serve({ fileSystem, link, runtime }: SimProcess, planted: Planted): Promise<void> {
  const transport = createTransport(link, { runtime });
  const path = '/data/counter';
  let value = 0;
  try {
    const old = await fileSystem.open(path, 'must-exist');
    const bytes = Buffer.alloc(await old.size());
    await old.read(bytes, 0);
    value = bytes.length === 8 ? Number(bytes.readBigUInt64BE()) : 0;
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    await fileSystem.mkdir('/data');
  }
  const save = async (next: number): Promise<void> => {
    const file = await fileSystem.open(`${path}.new`, 'create');
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(next));
    await file.write(bytes, 0);
    if (planted !== 'ack-before-sync') await file.sync();
    await fileSystem.rename(`${path}.new`, path);
    if (planted !== 'ack-before-sync') await fileSystem.syncDirectory('/data');
  };
  let turn = Promise.resolve();
  transport.respond('add', async () => {
    const add = async (): Promise<void> => {
      const next = value + 1;
      await save(next);
      value = next;
    };
    const done = planted === 'lost-update' ? add() : turn.then(add);
    turn = done.catch(() => undefined);
    await done;
    return Buffer.from(String(value));
  });
  transport.respond('read', () => Buffer.from(String(value)));
  await transport.start();
}
