import { once } from 'node:events';
import { MessageChannel, Worker } from 'node:worker_threads';
import { createTransport, type PeerEvent, type Transport } from '@quorate/transport';
import { createPortLink } from '@quorate/transport/worker';
import { afterEach, expect, it } from 'vitest';

const open: (Transport | Worker)[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await ('terminate' in one ? one.terminate() : one.close({ drainMs: 0 }));
});

async function mainAndWorker() {
  const link = createPortLink({ self: 'main' });
  const main = createTransport(link);
  open.push(main);
  const events: PeerEvent[] = [];
  const waiting: (() => void)[] = [];
  main.onPeer((event) => {
    events.push(event);
    for (const wake of waiting.splice(0)) wake();
  });
  const seen = async (count: number): Promise<PeerEvent[]> => {
    while (events.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
    return events;
  };
  const spawn = (): Worker => {
    const { port1, port2 } = new MessageChannel();
    const worker = new Worker(new URL('fixtures/thread.mjs', import.meta.url), {
      workerData: { port: port2 },
      transferList: [port2],
      execArgv: ['--conditions=@quorate/source'],
    });
    open.push(worker);
    link.connect('worker', port1);
    return worker;
  };
  await main.start();
  return { main, spawn, seen };
}

const ask = async (main: Transport, text: string): Promise<string> =>
  Buffer.from(await main.request('worker', 'upper', Buffer.from(text), { timeoutMs: 10_000 })).toString();

it('asks a thread, notices its death, and asks its successor', async () => {
  const { main, spawn, seen } = await mainAndWorker();
  const first = spawn();
  await seen(1);
  expect(await ask(main, 'hello')).toBe('HELLO');
  const pending = main.request('worker', 'never', new Uint8Array(1), { timeoutMs: 60_000 });
  const failed = expect(pending).rejects.toMatchObject({ code: 'PEER_DOWN', definite: false });
  await first.terminate();
  await failed;
  spawn();
  const events = await seen(3);
  expect(events.map(({ type }) => type)).toEqual(['up', 'down', 'up']);
  expect(await ask(main, 'again')).toBe('AGAIN');
});

it('lets a thread end once its transport is closed, and its last answer arrives', async () => {
  const { main, spawn, seen } = await mainAndWorker();
  const worker = spawn();
  const exited = once(worker, 'exit');
  await seen(1);
  await main.request('worker', 'leave', new Uint8Array(1), { timeoutMs: 10_000 });
  expect(await exited).toEqual([0]);
  expect((await seen(2)).at(-1)).toMatchObject({ type: 'down', reason: 'closed' });
});
