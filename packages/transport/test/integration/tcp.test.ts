import { afterEach, describe, expect, test } from 'vitest';
import { systemRuntime } from '@quorate/runtime';
import { TransportError } from '@quorate/transport';
import { TcpListenError, type TcpLinkOptions } from '@quorate/transport/tcp';
import { type Node, Nodes } from './tcp-nodes.js';
import { Proxy } from './tcp-proxy.js';

const nodes = new Nodes();
const node = (self: string, options: Partial<TcpLinkOptions> = {}): Promise<Node> =>
  nodes.start(self, options);
const proxies: Proxy[] = [];
const proxyTo = async (target: Node): Promise<Proxy> => {
  const proxy = await Proxy.to(target.address);
  proxies.push(proxy);
  return proxy;
};
afterEach(async () => {
  await nodes.close();
  await Promise.all(proxies.splice(0).map((proxy) => proxy[Symbol.asyncDispose]()));
});

describe('sessions', () => {
  test('two nodes that list each other share one session, and frames go both ways', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: a.address } });
    a.link.setPeers({ b: b.address });
    await a.up('b');
    await b.up('a');
    expect(a.link.send('b', Buffer.from('hello'))).toBe('queued');
    expect(await b.next()).toEqual({ from: 'a', session: 1, text: 'hello' });
    expect(b.link.send('a', Buffer.from('and back'))).toBe('queued');
    expect(await a.next()).toEqual({ from: 'b', session: 1, text: 'and back' });
  });

  test('when all nodes dial each other at once, each pair has one session and none is torn down', async () => {
    for (let round = 0; round < 10; round++) {
      const all = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => node(id)));
      const peers = Object.fromEntries(all.map((one) => [one.link.self, one.address]));
      for (const one of all) one.link.setPeers(peers);
      for (const one of all) for (const other of all) if (other !== one) await one.up(other.link.self);
      // What is said now travels behind every handshake, so that a late change of sessions would show.
      for (const one of all) {
        for (const other of all)
          if (other !== one) expect(one.link.send(other.link.self, Buffer.from('x'))).toBe('queued');
      }
      for (const one of all) for (let index = 1; index < all.length; index++) await one.next();
      for (const one of all) {
        expect(one.log.toSorted().map((line) => line.slice(0, 4))).toEqual(
          all.filter((other) => other !== one).map((other) => `up ${other.link.self}`),
        );
      }
      await nodes.close();
    }
  });

  test.each(['a', 'z'])(
    'a cut connection to %s gives one down, then one up with a new number',
    async (dialler) => {
      const m = await node('m');
      const proxy = await proxyTo(m);
      const d = await node(dialler, { peers: { m: proxy.address } });
      await m.up(dialler);
      await d.up('m');
      proxy.cut();
      await m.until(() => m.log.length === 3);
      await d.until(() => d.log.length === 3);
      expect(m.log).toEqual([
        `up ${dialler} 1`,
        expect.stringMatching(`^down ${dialler} (error|closed)$`),
        `up ${dialler} 2`,
      ]);
      expect(d.log).toEqual(['up m 1', expect.stringMatching(/^down m (error|closed)$/), 'up m 2']);
    },
  );

  test.each(['a', 'z'])(
    'a connection that is gone for the dialler %s only is replaced at once, not when heartbeats are missed',
    async (dialler) => {
      const m = await node('m', { heartbeatMs: 600_000 });
      const proxy = await proxyTo(m);
      const d = await node(dialler, { peers: { m: proxy.address }, heartbeatMs: 600_000 });
      await m.up(dialler);
      await d.up('m');
      proxy.cutNear();
      await m.until(() => m.log.length === 3);
      expect(m.log).toEqual([`up ${dialler} 1`, `down ${dialler} closed`, `up ${dialler} 2`]);
      await d.until(() => d.log.length === 3);
      d.link.send('m', Buffer.from('again'));
      expect(await m.next()).toEqual({ from: dialler, session: 2, text: 'again' });
    },
  );

  test.each(['a', 'z'])('a restarted %s replaces its stale session at once', async (restarted) => {
    const m = await node('m', { heartbeatMs: 600_000 });
    const proxy = await proxyTo(m);
    const first = await node(restarted, { peers: { m: proxy.address } });
    await m.up(restarted);
    await first.up('m');
    proxy.stall();
    await first.link.close(0);
    const second = await node(restarted, { peers: { m: m.address } });
    await second.up('m');
    await m.until(() => m.log.length === 3);
    expect(m.log).toEqual([`up ${restarted} 1`, `down ${restarted} closed`, `up ${restarted} 2`]);
    expect(second.log).toEqual(['up m 1']);
  });

  test.each(['a', 'z'])('two processes called %s do not take the session from each other', async (name) => {
    const m = await node('m');
    const clock = (byMs: number): Partial<TcpLinkOptions> => ({
      runtime: { ...systemRuntime, now: () => systemRuntime.now() + byMs },
      peers: { m: m.address },
    });
    const older = await node(name, clock(0));
    await older.up('m');
    const newer = await node(name, clock(1_000));
    await newer.up('m');
    await older.down('m');
    for (let refusals = 0; refusals < 3; refusals++) {
      expect(await older.refused('superseded')).toMatchObject({ by: 'peer', peer: 'm' });
    }
    expect(newer.log).toEqual(['up m 1']);
    expect(m.log).toEqual([`up ${name} 1`, `down ${name} closed`, `up ${name} 2`]);
  });

  test('a silent peer is down by heartbeat, at both ends', async () => {
    const fast = { heartbeatMs: 20, heartbeatMisses: 2 };
    const a = await node('a', fast);
    const proxy = await proxyTo(a);
    const b = await node('b', { ...fast, peers: { a: proxy.address } });
    await a.up('b');
    await b.up('a');
    proxy.stall();
    await a.down('b');
    await b.down('a');
    expect(a.log).toEqual(['up b 1', 'down b timeout']);
    expect(b.log).toEqual(['up a 1', 'down a timeout']);
  });

  test('heartbeats keep an idle session', async () => {
    const a = await node('a', { heartbeatMs: 5, heartbeatMisses: 4 });
    const proxy = await proxyTo(a);
    const b = await node('b', { heartbeatMs: 600_000, peers: { a: proxy.address } });
    await b.up('a');
    const heard = (): number => proxy.recorded.flat().reduce((sum, chunk) => sum + chunk.length, 0);
    const before = heard();
    // Twenty answers to pings of five bytes: twenty periods of which each one could have been the last.
    while (heard() < before + 100) await new Promise(setImmediate);
    expect(a.log).toEqual(['up b 1']);
    expect(b.log).toEqual(['up a 1']);
  });

  test('a peer that comes back on its port is found again', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: a.address } });
    await b.up('a');
    const { port = 0 } = a.link.address() ?? {};
    await a.link.close(100);
    await b.down('a');
    expect(b.log).toEqual(['up a 1', 'down a left']);
    expect(b.link.send('a', Buffer.from('x'))).toBe('dropped-down');
    await node('a', { listen: { port } });
    await b.up('a');
    expect(b.log).toEqual(['up a 1', 'down a left', 'up a 2']);
  });

  test('frames arrive in order and none twice, however often the connection is cut', async () => {
    const a = await node('a');
    const proxy = await proxyTo(a);
    const b = await node('b', { peers: { a: proxy.address } });
    let sent = 0;
    for (let cut = 0; cut < 20; cut++) {
      await b.up('a');
      for (let index = 0; index < 200; index++) b.link.send('a', Buffer.from(String(sent++)));
      if (cut % 2 === 0) await a.until(() => Number(a.received.at(-1)?.text ?? -1) >= sent - 200);
      else await new Promise(setImmediate);
      proxy.cut();
      await b.down('a');
    }
    await b.up('a');
    b.link.send('a', Buffer.from(String(sent)));
    await a.until(() => a.received.at(-1)?.text === String(sent));
    const numbers = a.received.map(({ text }) => Number(text));
    expect(numbers).toEqual([...new Set(numbers)].toSorted((x, y) => x - y));
    const sessions = a.received.map(({ session }) => session);
    expect(sessions).toEqual(sessions.toSorted((x, y) => x - y));
    expect(numbers.length).toBeGreaterThan(1_000);
  });
});

describe('peers', () => {
  test('an unlisted peer that proves itself is accepted, and forgotten when it goes', async () => {
    const a = await node('a');
    expect(a.link.send('b', Buffer.from('x'))).toBe('dropped-unknown');
    const b = await node('b', { peers: { a: a.address } });
    await a.up('b');
    await b.link.close(100);
    await a.down('b');
    expect(a.link.send('b', Buffer.from('x'))).toBe('dropped-unknown');
    expect(a.link.peers()).toEqual([]);
  });

  test('with acceptUnknown: false an unlisted peer is refused, and told so', async () => {
    const a = await node('a', { acceptUnknown: false });
    const b = await node('b', { peers: { a: a.address } });
    expect(await b.refused('unknown-node')).toMatchObject({ by: 'peer', peer: 'a' });
    expect(await a.refused('unknown-node')).toMatchObject({ by: 'self', peer: 'b' });
    expect(a.log).toEqual([]);
  });

  test('a peer taken off the list goes with left; one put on it is dialled', async () => {
    const a = await node('a', { acceptUnknown: false });
    const b = await node('b', { peers: { a: a.address } });
    a.link.setPeers({ b: b.address });
    await a.up('b');
    await b.up('a');
    a.link.setPeers({});
    expect(a.log).toEqual(['up b 1', 'down b left']);
    expect(a.link.peers()).toEqual([]);
    await b.down('a');
    expect(b.log).toEqual(['up a 1', 'down a left']);
    await b.refused('unknown-node');
    a.link.setPeers({ a: a.address, b: b.address });
    await a.up('b');
    expect(a.log).toEqual(['up b 1', 'down b left', 'up b 2']);
  });

  test('a changed address is dialled without waiting for the next attempt', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: '127.0.0.1:1' }, reconnect: { minMs: 600_000, maxMs: 600_000 } });
    await b.unreachable('a');
    b.link.setPeers({ a: a.address });
    await b.up('a');
  });

  test('a peer that cannot be reached is reported with its address and the reason', async () => {
    const b = await node('b', { peers: { a: '127.0.0.1:1' } });
    expect(await b.unreachable('a')).toMatchObject({
      address: '127.0.0.1:1',
      error: { code: 'ECONNREFUSED' },
    });
  });
});

describe('back pressure', () => {
  test('a stalled receiver costs no more than the bound; writable wakes up, and nothing queued is lost', async () => {
    const a = await node('a', { maxPayload: 65_536 });
    const proxy = await proxyTo(a);
    const b = await node('b', { peers: { a: proxy.address }, maxPayload: 65_536, maxQueueBytes: 1_000_000 });
    await b.up('a');
    await a.up('b');
    proxy.stall();
    const filler = 'x'.repeat(1_000);
    let queued = 0;
    const queuedBytes = (): number => b.link.peers()[0]?.queuedBytes ?? 0;
    // What the kernel takes is not ours to bound: go on until the queue stays full.
    for (let full = 0; full < 50;) {
      const outcome = b.link.send('a', Buffer.from(`${queued} ${filler}`));
      if (outcome === 'queued') queued++;
      else {
        expect(outcome).toBe('dropped-full');
        expect(queuedBytes()).toBeGreaterThan(990_000);
        expect(queuedBytes()).toBeLessThanOrEqual(1_000_000);
        await new Promise(setImmediate);
        full = b.link.send('a', new Uint8Array(60_000)) === 'dropped-full' ? full + 1 : 0;
        if (full === 0) queued++;
      }
    }
    let woken = false;
    const writable = b.link.writable('a').then(() => {
      woken = true;
    });
    await new Promise(setImmediate);
    expect(woken).toBe(false);
    proxy.resume();
    await writable;
    expect(queuedBytes()).toBeLessThanOrEqual(500_000);
    await a.until(() => a.received.length === queued);
    await b.link.writable('a');
  });

  test('a wait for room ends with the session, the link, or the signal', async () => {
    const a = await node('a');
    const proxy = await proxyTo(a);
    const b = await node('b', { peers: { a: proxy.address }, reconnect: { minMs: 600_000, maxMs: 600_000 } });
    const full = async (): Promise<void> => {
      await b.up('a');
      proxy.stall();
      while (b.link.send('a', new Uint8Array(1_000_000)) !== 'dropped-full') await new Promise(setImmediate);
    };
    await full();
    const controller = new AbortController();
    const aborted = b.link.writable('a', controller.signal);
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED', cause: { message: 'enough' } });
    await expect(b.link.writable('a', controller.signal)).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(b.link.writable('nobody')).rejects.toMatchObject({ code: 'UNKNOWN_PEER' });
    const down = b.link.writable('a');
    proxy.cut();
    await expect(down).rejects.toMatchObject({ code: 'PEER_DOWN', definite: true, peer: 'a' });
    await expect(b.link.writable('a')).rejects.toMatchObject({ code: 'PEER_DOWN' });
    proxy.resume();
    b.link.setPeers({});
    b.link.setPeers({ a: proxy.address });
    await full();
    const closed = b.link.writable('a');
    const closing = b.link.close(0);
    await expect(closed).rejects.toMatchObject({ code: 'CLOSED' });
    await closing;
    await expect(b.link.writable('a')).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('the caller may reuse its buffer as soon as send has returned', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: a.address } });
    await b.up('a');
    for (const size of [1, 1_000, 70_000, 300_000]) {
      const buffer = Buffer.alloc(size, 'y');
      expect(b.link.send('a', buffer)).toBe('queued');
      buffer.fill('n');
      expect((await a.next()).text).toBe('y'.repeat(size));
    }
  });

  test('a frame above what both ends take throws before anything is sent', async () => {
    const a = await node('a', { maxPayload: 100 });
    const b = await node('b', { maxPayload: 10_000, peers: { a: a.address } });
    await b.up('a');
    await a.up('b');
    expect(() => b.link.send('a', new Uint8Array(1_125))).toThrow(TransportError);
    expect(() => b.link.send('a', new Uint8Array(1_125))).toThrow(/^TOO_LARGE.*1125 bytes.*1124/);
    expect(() => a.link.send('b', new Uint8Array(1_125))).toThrow(/^TOO_LARGE/);
    expect(b.link.send('a', new Uint8Array(1_124))).toBe('queued');
    expect((await a.next()).text).toHaveLength(1_124);
    expect(b.link.send('a', new Uint8Array(0))).toBe('queued');
    expect((await a.next()).text).toBe('');
  });
});

describe('start and close', () => {
  test('a port that is taken rejects start with host and port, and a later start may succeed', async () => {
    const a = await node('a');
    const { port = 0 } = a.link.address() ?? {};
    const b = nodes.make('b', { listen: { port } });
    await expect(b.start()).rejects.toBeInstanceOf(TcpListenError);
    await expect(b.start()).rejects.toThrow(
      `LISTEN_FAILED: cannot listen on 127.0.0.1:${port} (EADDRINUSE): another process listens there`,
    );
    await a.link.close(0);
    await b.start();
    expect(b.link.address()?.port).toBe(port);
  });

  test('close lets what is queued arrive, tells the peer, and may be called twice', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: a.address } });
    await b.up('a');
    for (let index = 0; index < 500; index++) b.link.send('a', Buffer.from(`${index} ${'x'.repeat(10_000)}`));
    const closing = b.link.close(10_000);
    expect(b.link.close(0)).toBe(closing);
    expect(b.link.send('a', Buffer.from('late'))).toBe('dropped-closed');
    await closing;
    await a.down('b');
    expect(a.received).toHaveLength(500);
    expect(a.log).toEqual(['up b 1', 'down b left']);
    expect(b.log).toEqual(['up a 1', 'down a closed']);
    expect(b.link.address()).toBeUndefined();
    await expect(b.start()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('close while it starts leaves nothing that listens', async () => {
    const a = nodes.make('a');
    const starting = a.start();
    const closing = a.link.close(0);
    await expect(starting).rejects.toMatchObject({ code: 'CLOSED' });
    await closing;
    expect(a.link.address()).toBeUndefined();
  });

  test('close does not wait longer than it may for a peer that reads nothing', async () => {
    const a = await node('a');
    const proxy = await proxyTo(a);
    const b = await node('b', { peers: { a: proxy.address } });
    await b.up('a');
    proxy.stall();
    while (b.link.send('a', new Uint8Array(1_000_000)) !== 'dropped-full') await new Promise(setImmediate);
    await b.link.close(30);
    expect(b.log).toEqual(['up a 1', 'down a closed']);
  });

  test('close leaves no handle, also in the middle of dials and handshakes', async () => {
    const handles = (): string[] =>
      process.getActiveResourcesInfo().filter((kind) => /^(TCP|TLS|GetAddrInfo)/.test(kind));
    // A handle counts until the turn after its close.
    const settled = async (): Promise<string[]> => {
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      return handles();
    };
    const before = await settled();
    const a = await node('a');
    const proxy = await proxyTo(a);
    proxy.stall();
    const withProxy = handles().length;
    const others = await Promise.all(
      ['b', 'c', 'd'].map((id) => node(id, { peers: { a: proxy.address, x: '127.0.0.1:1', y: a.address } })),
    );
    await others[0]?.refused('wrong-node');
    await Promise.all([a, ...others].map((one) => one.link.close(0)));
    proxies.splice(0);
    await proxy[Symbol.asyncDispose]();
    expect(withProxy).toBeGreaterThan(before.length);
    expect(await settled()).toEqual(before);
  });
});
