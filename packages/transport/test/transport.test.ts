import { systemRuntime } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import {
  createMemoryNetwork,
  createTransport,
  type MemoryNetworkOptions,
  type Transport,
  TransportError,
} from '@quorate/transport';
import { afterEach, describe, expect, it } from 'vitest';

const open: Transport[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((transport) => transport.close({ drainMs: 0 })));
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (body: Uint8Array): string => new TextDecoder().decode(body);

async function nodes(ids: readonly string[], options: MemoryNetworkOptions = {}) {
  const network = createMemoryNetwork(options);
  const { runtime = systemRuntime } = options;
  const transports = ids.map((id) => createTransport(network.link(id), { runtime }));
  open.push(...transports);
  for (const transport of transports) await transport.start();
  return { network, transports: transports as [Transport, Transport, ...Transport[]] };
}

async function failure(promise: Promise<unknown>): Promise<TransportError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TransportError)) throw new Error(`expected a TransportError, got ${String(error)}`);
  return error;
}

describe('createTransport', () => {
  it('delivers messages and answers requests', async () => {
    const {
      transports: [a, b],
    } = await nodes(['a', 'b']);
    const got: string[] = [];
    b.subscribe('news', ({ from, body, channel, session }) =>
      got.push(`${from} ${channel} ${String(session)} ${text(body)}`),
    );
    b.respond('upper', ({ body }) => bytes(text(body).toUpperCase()));
    b.respond('slow', async ({ body }) => {
      await Promise.resolve();
      return body;
    });
    expect(a.send('b', 'news', bytes('one'))).toBe('queued');
    expect(text(await a.request('b', 'upper', bytes('x'), { timeoutMs: 1000 }))).toBe('X');
    expect(text(await a.request('b', 'slow', bytes('x'), { timeoutMs: 1000 }))).toBe('x');
    expect(got).toEqual(['a news 1 one']);
  });

  it('answers its own requests, later and not at once', async () => {
    const {
      transports: [a],
    } = await nodes(['a']);
    let ran = false;
    a.respond('echo', ({ body, from }) => {
      ran = true;
      return bytes(`${from}:${text(body)}`);
    });
    const answer = a.request('a', 'echo', bytes('hi'), { timeoutMs: 1000 });
    expect(ran).toBe(false);
    expect(text(await answer)).toBe('a:hi');
  });

  it('fires the deadline at its millisecond in virtual time, and aborts the handler', async () => {
    const runtime = createVirtualRuntime();
    const {
      transports: [a, b],
    } = await nodes(['a', 'b'], { runtime });
    let reason: unknown;
    b.respond('never', ({ signal }) => {
      signal.addEventListener('abort', () => {
        reason = signal.reason;
      });
      return new Promise(() => {});
    });
    const failed = failure(a.request('b', 'never', bytes(''), { timeoutMs: 1000 }));
    let settled = false;
    void failed.then(() => (settled = true));
    await runtime.advance(999);
    expect(settled).toBe(false);
    await runtime.advance(1);
    expect(await failed).toMatchObject({ code: 'TIMEOUT', definite: false, peer: 'b' });
    expect(reason).toBeInstanceOf(TransportError);
  });

  it('says definitely that an unknown channel has no handler', async () => {
    const {
      transports: [a],
    } = await nodes(['a', 'b']);
    expect(await failure(a.request('b', 'nothing', bytes(''), { timeoutMs: 1000 }))).toMatchObject({
      code: 'NO_HANDLER',
      definite: true,
    });
  });
});
