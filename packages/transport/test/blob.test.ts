import { createHash } from 'node:crypto';
import {
  createMemoryNetwork,
  createTransport,
  type IncomingBlob,
  receiveBlobs,
  sendBlob,
  type Transport,
  withFaults,
} from '@quorate/transport';
import { seededRandom } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { afterEach, describe, expect, it } from 'vitest';

const open: Transport[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((transport) => transport.close({ drainMs: 0 })));
});

async function pair(decorate: (transport: Transport) => Transport = (transport) => transport) {
  const network = createMemoryNetwork({ maxPayload: 4096 });
  const a = decorate(createTransport(network.link('a')));
  const b = decorate(createTransport(network.link('b')));
  open.push(a, b);
  await a.start();
  await b.start();
  return { a, b, network };
}

function payload(bytes: number): Uint8Array {
  const random = seededRandom(bytes);
  return Uint8Array.from({ length: bytes }, () => Math.floor(random() * 256));
}

function* pieces(whole: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
}

/** Collects everything; resolves with the whole payload. */
function collector(transport: Transport, channel: string) {
  const whole: Uint8Array[] = [];
  const failures: unknown[] = [];
  const end = receiveBlobs(transport, channel, async ({ chunks }) => {
    const got: Uint8Array[] = [];
    try {
      for await (const chunk of chunks) got.push(chunk);
      whole.push(Buffer.concat(got));
    } catch (error) {
      failures.push(error);
      throw error;
    }
  });
  return { whole, failures, end };
}

describe('sendBlob and receiveBlobs', () => {
  for (const size of [0, 1, 4095, 4096, 100_000]) {
    it(`carries ${String(size)} bytes and both sides agree on the hash`, async () => {
      const { a, b } = await pair();
      const { whole } = collector(b, 'files');
      const body = payload(size);
      const summary = await sendBlob(a, 'b', 'files', pieces(body, 9_999), { timeoutMs: 5_000 });
      expect(summary).toEqual({ bytes: size, sha256: createHash('sha256').update(body).digest('hex') });
      expect(whole).toEqual([Buffer.from(body)]);
    });
  }

  it('puts pieces in order over a link that reorders and repeats', async () => {
    let seed = 0;
    const { a, b } = await pair((inner) =>
      withFaults(inner, { reorder: 0.5, reorderMs: 3, duplicate: 0.5 }, ++seed),
    );
    const { whole } = collector(b, 'files');
    const body = payload(50_000);
    await sendBlob(a, 'b', 'files', [body], { timeoutMs: 5_000, chunkBytes: 1_000 });
    expect(whole).toEqual([Buffer.from(body)]);
  });

  it('refuses what arrives changed', async () => {
    const { a, b } = await pair();
    const { whole, failures } = collector(b, 'files');
    const flipping = new Proxy(a, {
      get(target, key) {
        if (key !== 'request') {
          const member: unknown = Reflect.get(target, key);
          return typeof member === 'function' ? (member.bind(target) as unknown) : member;
        }
        return (...[to, channel, body, options]: Parameters<Transport['request']>) => {
          // Byte 25 is the last of the piece's number, byte 26 the first of its content.
          const changed = new Uint8Array(body);
          if (changed[25] === 3) changed[26] = (changed[26] ?? 0) ^ 1;
          return target.request(to, channel, changed, options);
        };
      },
    });
    const sending = sendBlob(flipping, 'b', 'files', [payload(50_000)], {
      timeoutMs: 5_000,
      chunkBytes: 1_000,
    });
    await expect(sending).rejects.toThrow('arrived changed');
    expect(whole).toEqual([]);
    expect(failures).toMatchObject([{ code: 'PROTOCOL' }]);
  });

  it('reads no further ahead of a slow receiver than its window', async () => {
    const { a, b } = await pair();
    let produced = 0;
    const source = function* () {
      for (let index = 0; index < 100; index++) {
        produced++;
        yield payload(1_000);
      }
    };
    let taken = 0;
    let most = 0;
    receiveBlobs(b, 'slow', async ({ chunks }) => {
      for await (const chunk of chunks) {
        // The piece that is taken, and the one that waits for its place in the window, are on top.
        most = Math.max(most, produced - taken);
        taken += chunk.length / 1_000;
        for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      }
    });
    await sendBlob(a, 'b', 'slow', source(), { timeoutMs: 5_000, window: 4 });
    expect(taken).toBe(100);
    expect(most).toBeLessThanOrEqual(4 + 2);
  });

  it('ends the chunks of the receiver when the sender aborts, also while its source is silent', async () => {
    const { a, b } = await pair();
    const controller = new AbortController();
    let returned = false;
    const source: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => {
        let first = true;
        return {
          next: () => {
            if (!first) return new Promise(() => {});
            first = false;
            return Promise.resolve({ done: false, value: payload(10) });
          },
          return: () => {
            returned = true;
            return Promise.resolve({ done: true, value: undefined });
          },
        };
      },
    };
    const failed = new Promise<unknown>((resolve) => {
      receiveBlobs(b, 'files', async ({ chunks }) => {
        try {
          for await (const chunk of chunks) if (chunk.length > 0) controller.abort(new Error('enough'));
        } catch (error) {
          resolve(error);
        }
      });
    });
    const sending = sendBlob(a, 'b', 'files', source, { timeoutMs: 60_000, signal: controller.signal });
    await expect(sending).rejects.toMatchObject({ code: 'ABORTED', definite: false });
    expect(await failed).toMatchObject({ code: 'PEER_DOWN' });
    expect(returned).toBe(true);
  });

  it('tells the sender when the receiver leaves the loop early, and when its handler throws', async () => {
    const { a, b } = await pair();
    receiveBlobs(b, 'early', async ({ chunks }) => {
      for await (const chunk of chunks) if (chunk.length > 0) return;
    });
    receiveBlobs(b, 'throws', () => Promise.reject(new Error('disk full')));
    for (const [channel, text] of [
      ['early', 'did not want the rest'],
      ['throws', 'disk full'],
    ] as const) {
      const sending = sendBlob(a, 'b', channel, pieces(payload(50_000), 1_000), { timeoutMs: 5_000 });
      await expect(sending, channel).rejects.toThrow(text);
    }
  });

  it('fails both sides when the connection is cut', async () => {
    const { a, b, network } = await pair();
    const { failures } = collector(b, 'files');
    let count = 0;
    const source = function* () {
      for (;;) {
        if (count++ === 20) network.sever('a', 'b');
        yield payload(100);
      }
    };
    await expect(sendBlob(a, 'b', 'files', source(), { timeoutMs: 5_000 })).rejects.toMatchObject({
      code: 'PEER_DOWN',
    });
    expect(failures).toHaveLength(1);
  });

  it('gives a silent sender up after the idle timeout', async () => {
    const runtime = createVirtualRuntime();
    const network = createMemoryNetwork({ runtime });
    const [a, b] = [
      createTransport(network.link('a'), { runtime }),
      createTransport(network.link('b'), { runtime }),
    ];
    open.push(a, b);
    await a.start();
    await b.start();
    const errors: unknown[] = [];
    receiveBlobs(
      b,
      'files',
      async ({ chunks }: IncomingBlob) => {
        try {
          for await (const chunk of chunks) expect(chunk).toHaveLength(10);
        } catch (error) {
          errors.push(error);
        }
      },
      { idleTimeoutMs: 1_000 },
    );
    const source = async function* () {
      yield payload(10);
      await new Promise(() => {});
    };
    const sending = sendBlob(a, 'b', 'files', source(), { timeoutMs: 5_000 });
    sending.catch(() => undefined);
    await runtime.advance(999);
    expect(errors).toEqual([]);
    await runtime.advance(1);
    expect(errors).toMatchObject([{ code: 'PEER_DOWN' }]);
  });

  it('bounds how many payloads one channel receives at a time', async () => {
    const { a, b } = await pair();
    receiveBlobs(b, 'files', () => new Promise(() => {}), { maxConcurrent: 1 });
    const first = sendBlob(a, 'b', 'files', [payload(10)], { timeoutMs: 60_000 });
    first.catch(() => undefined);
    await expect(sendBlob(a, 'b', 'files', [payload(10)], { timeoutMs: 5_000 })).rejects.toThrow(
      '1 payloads are being received',
    );
  });

  it('names the option that cannot be honoured', async () => {
    const { a } = await pair();
    for (const [option, value] of [
      ['chunkBytes', 4_096],
      ['window', 0],
      ['timeoutMs', Number.NaN],
    ] as const) {
      await expect(
        sendBlob(a, 'b', 'files', [], { timeoutMs: 1_000, [option]: value }),
        option,
      ).rejects.toMatchObject({ code: 'INVALID_OPTION', option });
    }
  });
});
