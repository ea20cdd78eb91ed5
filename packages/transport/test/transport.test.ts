import { systemRuntime } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import {
  type Capabilities,
  createMemoryNetwork,
  createTransport,
  type LinkEvents,
  type MemoryNetworkOptions,
  namespace,
  type SendOutcome,
  type Transport,
  TransportError,
  transportEvents,
  withFaults,
  withFifo,
} from '@quorate/transport';
import fc from 'fast-check';
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

  it('says definitely why a request was not sent', async () => {
    const { network, transports } = await nodes(['a', 'b']);
    const [a] = transports;
    const ask = (to: string, timeoutMs = 1_000): Promise<TransportError> =>
      failure(a.request(to, 'any', bytes(''), { timeoutMs }));
    expect(await ask('c')).toMatchObject({ code: 'UNKNOWN_PEER', definite: true, peer: 'c' });
    expect(await ask('b', 0)).toMatchObject({ code: 'TIMEOUT', definite: true });
    network.sever('a', 'b');
    expect(await ask('b')).toMatchObject({ code: 'PEER_DOWN', definite: true });
    await a.close();
    expect(await ask('b')).toMatchObject({ code: 'CLOSED', definite: true });
    expect(
      await failure(createTransport(network.link('z')).request('b', 'any', bytes(''), { timeoutMs: 1 })),
    ).toMatchObject({ code: 'CLOSED', definite: true });
  });

  it('refuses, before their handlers run, more requests of a peer than it may handle at a time', async () => {
    const network = createMemoryNetwork();
    const a = createTransport(network.link('a'));
    const b = createTransport(network.link('b'), { maxConcurrentRequestsPerPeer: 2 });
    open.push(a, b);
    await a.start();
    await b.start();
    const release: (() => void)[] = [];
    b.respond('held', ({ body }) => new Promise((resolve) => release.push(() => resolve(body))));
    const ask = (): Promise<Uint8Array> => a.request('b', 'held', bytes(''), { timeoutMs: 5_000 });
    const held = [ask(), ask()];
    expect(await failure(ask())).toMatchObject({ code: 'OVERLOADED', definite: true });
    expect(release).toHaveLength(2);
    for (const answer of release) answer();
    await Promise.all(held);
    const last = ask();
    await Promise.resolve();
    await Promise.resolve();
    release[2]?.();
    await last;
  });

  it('drops frames that cannot be understood, counts and reports them, and goes on', async () => {
    const network = createMemoryNetwork();
    const a = createTransport(network.link('a'));
    open.push(a);
    const hostile = network.link('h');
    await a.start();
    a.respond('echo', ({ body }) => body);
    const frames: Uint8Array[] = [];
    await hostile.start({ frame: (_, __, frame) => frames.push(frame), up: () => {}, down: () => {} });
    const refused: unknown[] = [];
    const end = transportEvents.frameRefused.subscribe((event) => refused.push(event));
    try {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (frame) => {
          hostile.send('a', frame);
        }),
      );
      const garbage = [
        [],
        [9, 9],
        [1, 77],
        [1, 2, 0],
        [1, 3, 0, 0],
        [1, 5, 0, 0, 0, 1, 1],
        [1, 1, 0],
        [1, 1, 5, 65],
      ];
      for (const one of garbage) hostile.send('a', Uint8Array.from(one));
      hostile.send('a', Uint8Array.from([1, 2, 0, 0, 0, 7, 0, 0, 3, 232, 4, ...bytes('echo'), 42]));
      await new Promise(setImmediate);
    } finally {
      end();
    }
    expect(refused.length).toBeGreaterThanOrEqual(8);
    expect(refused.at(-1)).toMatchObject({ self: 'a', peer: 'h', count: refused.length });
    expect(frames.at(-1)).toEqual(Uint8Array.from([1, 3, 0, 0, 0, 7, 42]));
    expect(a.peers()).toMatchObject([{ id: 'h', up: true }]);
  });

  it('carries the trace context to the handler, and refuses one that cannot travel', async () => {
    const network = createMemoryNetwork();
    let trace: string | undefined = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const a = createTransport(network.link('a'), { traceparent: () => trace });
    const b = createTransport(network.link('b'));
    open.push(a, b);
    await a.start();
    await b.start();
    const seen: (string | undefined)[] = [];
    b.subscribe('traced', ({ traceparent }) => seen.push(traceparent));
    b.respond('traced', ({ traceparent, body }) => {
      seen.push(traceparent);
      return body;
    });
    const ask = (): Promise<Uint8Array> => a.request('b', 'traced', bytes('x'), { timeoutMs: 1_000 });
    a.send('b', 'traced', bytes(''));
    expect(text(await ask())).toBe('x');
    trace = undefined;
    await ask();
    expect(seen).toEqual([expect.stringMatching(/^00-/), expect.stringMatching(/^00-/), undefined]);
    trace = 'two\nlines';
    await expect(ask()).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('runs a handler once for a request that the link delivers twice, and not at all once it was refused', async () => {
    const { link, inject } = stubLink({ duplicates: 'possible' });
    const a = createTransport(link);
    open.push(a);
    await a.start();
    const request = Uint8Array.from([1, 2, 0, 0, 0, 7, 0, 0, 3, 232, 4, ...bytes('late'), 42]);
    inject(request);
    expect(link.sent.at(-1)?.slice(0, 7)).toEqual(Uint8Array.from([1, 4, 0, 0, 0, 7, 1]));
    let runs = 0;
    a.respond('late', ({ body }) => {
      runs++;
      return body;
    });
    inject(request);
    expect(runs).toBe(0);
    request[5] = 8;
    inject(request);
    inject(request);
    expect(runs).toBe(1);
  });

  it('keeps an answer until the queue of its caller has room', async () => {
    const { link, inject } = stubLink({});
    const a = createTransport(link);
    open.push(a);
    await a.start();
    const buffer = bytes('answer');
    a.respond('late', () => buffer);
    link.outcome = 'dropped-full';
    inject(Uint8Array.from([1, 2, 0, 0, 0, 7, 0, 0, 255, 255, 4, ...bytes('late'), 42]));
    await new Promise(setImmediate);
    buffer.fill(0);
    expect(link.sent).toEqual([]);
    link.outcome = 'queued';
    link.room();
    await new Promise(setImmediate);
    expect(link.sent).toEqual([Uint8Array.from([1, 3, 0, 0, 0, 7, ...bytes('answer')])]);
  });

  it('does not answer in a new session what was asked in an old one', async () => {
    const { link, inject, events } = stubLink({});
    const a = createTransport(link);
    open.push(a);
    await a.start();
    let answer: (() => void) | undefined;
    let signal: AbortSignal | undefined;
    a.respond('late', (request) => {
      signal = request.signal;
      return new Promise((resolve) => (answer = () => resolve(bytes('old'))));
    });
    inject(Uint8Array.from([1, 2, 0, 0, 0, 7, 0, 0, 255, 255, 4, ...bytes('late')]));
    events()?.down('p', 'error');
    expect(signal?.aborted).toBe(true);
    events()?.up('p', 2);
    answer?.();
    await new Promise(setImmediate);
    expect(link.sent).toEqual([]);
  });

  it('drains what is under way when it closes, refuses what is new, and can be hurried', async () => {
    const { transports } = await nodes(['a', 'b']);
    const [a, b] = transports;
    let answer: (() => void) | undefined;
    b.respond('held', ({ body }) => new Promise((resolve) => (answer = () => resolve(body))));
    const held = a.request('b', 'held', bytes('x'), { timeoutMs: 60_000 });
    await new Promise(setImmediate);
    const closed = b.close({ drainMs: 60_000 });
    expect(await failure(a.request('b', 'held', bytes('y'), { timeoutMs: 60_000 }))).toMatchObject({
      code: 'PEER_DOWN',
      definite: true,
    });
    answer?.();
    expect(text(await held)).toBe('x');
    await closed;
    a.respond('never', () => new Promise(() => {}));
    const pending = failure(a.request('a', 'never', bytes(''), { timeoutMs: 60_000 }));
    const draining = a.close({ drainMs: 60_000 });
    await a.close({ drainMs: 0 });
    await draining;
    expect(await pending).toMatchObject({ code: 'CLOSED', definite: false });
  });

  it('closes the link when its start is aborted or fails', async () => {
    const { link } = stubLink({});
    link.start = () => new Promise(() => {});
    const a = createTransport(link);
    const controller = new AbortController();
    const started = a.start({ signal: controller.signal });
    controller.abort(new Error('no patience'));
    await expect(started).rejects.toMatchObject({ code: 'ABORTED' });
    expect(link.closed).toBe(true);
    expect(a.send('p', 'x', bytes(''))).toBe('dropped-closed');
    const other = stubLink({}).link;
    other.start = () => Promise.reject(new Error('no such port'));
    await expect(createTransport(other).start()).rejects.toThrow('no such port');
    expect(other.closed).toBe(true);
  });

  it('serves many requests of one signal with one listener', async () => {
    const { transports } = await nodes(['a', 'b']);
    const [a, b] = transports;
    b.respond('never', () => new Promise(() => {}));
    const controller = new AbortController();
    const warnings: Error[] = [];
    const warn = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warn);
    const all = Array.from({ length: 50 }, () =>
      failure(a.request('b', 'never', bytes(''), { timeoutMs: 60_000, signal: controller.signal })),
    );
    await new Promise(setImmediate);
    process.off('warning', warn);
    controller.abort(new Error('enough'));
    for (const error of await Promise.all(all))
      expect(error).toMatchObject({ code: 'ABORTED', definite: false });
    expect(warnings).toEqual([]);
  });

  it('names the option or argument that cannot be honoured', async () => {
    const network = createMemoryNetwork();
    const { transports } = await nodes(['a', 'b']);
    const [a] = transports;
    const invalid: [string, () => unknown][] = [
      [
        'maxConcurrentRequestsPerPeer',
        () => createTransport(network.link('x'), { maxConcurrentRequestsPerPeer: 0 }),
      ],
      ['traceparent', () => createTransport(network.link('y'), { traceparent: 'x' as never })],
      ['id', () => network.link('')],
      ['latencyMs', () => createMemoryNetwork({ latencyMs: -1 })],
      ['maxPayload', () => createMemoryNetwork({ maxPayload: 0 })],
      ['queueBytes', () => createMemoryNetwork({ maxPayload: 1_000, queueBytes: 1_000 })],
      ['channel', () => a.send('b', '', bytes(''))],
      ['channel', () => a.subscribe('x'.repeat(256), () => {})],
      ['body', () => a.send('b', 'x', 'text' as never)],
      ['handle', () => a.respond('x', undefined as never)],
      ['loss', () => withFaults(a, { loss: 2 }, 1)],
      ['seed', () => withFaults(a, {}, 0.5)],
      ['delay.meanMs', () => withFaults(a, { delay: { minMs: 2, meanMs: 1, dist: 'uniform' } }, 1)],
      ['gapMs', () => withFifo(a, { gapMs: 0 })],
      ['prefix', () => namespace(a, '')],
    ];
    for (const [option, call] of invalid) {
      expect(call, option).toThrow(expect.objectContaining({ code: 'INVALID_OPTION', option }) as Error);
    }
    await expect(a.request('b', 'x', bytes(''), { timeoutMs: Number.NaN })).rejects.toMatchObject({
      option: 'timeoutMs',
    });
  });
});

/** A link whose peer `p` is played by the test. */
function stubLink(capabilities: Partial<Capabilities>) {
  let events: LinkEvents | undefined;
  const waiting: (() => void)[] = [];
  const declared: Capabilities = {
    maxPayload: 1_000,
    ordering: 'none',
    duplicates: 'never',
    multicast: 'fan-out',
    peerEvents: 'connection',
    identity: 'none',
    ...capabilities,
  };
  const link = {
    self: 'a',
    capabilities: declared,
    sent: [] as Uint8Array[],
    outcome: 'queued' as SendOutcome,
    closed: false,
    start(given: LinkEvents): Promise<void> {
      events = given;
      events.up('p', 1);
      return Promise.resolve();
    },
    send(_: string, frame: Uint8Array): SendOutcome {
      if (link.outcome === 'queued') link.sent.push(new Uint8Array(frame));
      return link.outcome;
    },
    peers: () => [{ id: 'p', session: 1, queuedBytes: 0 }],
    writable: () => new Promise<void>((resolve) => waiting.push(resolve)),
    room(): void {
      for (const resolve of waiting.splice(0)) resolve();
    },
    close(): Promise<void> {
      link.closed = true;
      return Promise.resolve();
    },
  };
  return {
    link,
    events: () => events,
    inject: (frame: Uint8Array) => events?.frame('p', 1, new Uint8Array(frame)),
  };
}
