import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemRuntime } from '@quorate/runtime';
import type { TcpLinkOptions } from '@quorate/transport/tcp';
import { encodeFrame, FrameKind } from '../../src/core/frame.js';
import { type Node, Nodes, SECRET } from './tcp-nodes.js';
import { Proxy } from './tcp-proxy.js';

const nodes = new Nodes();
const node = (self: string, options: Partial<TcpLinkOptions> = {}): Promise<Node> =>
  nodes.start(self, options);
const sockets: Socket[] = [];
const proxies: Proxy[] = [];

/** A stranger's connection to a node. */
const dial = async (target: Node): Promise<Socket> => {
  const [host = '', port] = target.address.split(':');
  const socket = connect({ host, port: Number(port) });
  sockets.push(socket);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
};
/** Everything that the node says to the stranger until it ends the connection. */
const heard = async (socket: Socket): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks);
};
const bytes = (...values: number[]): Buffer => Buffer.from(values);

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await nodes.close();
  await Promise.all(proxies.splice(0).map((proxy) => proxy[Symbol.asyncDispose]()));
});

describe('a stranger who sends what is no handshake', () => {
  let a: Node;
  let friend: Node;
  beforeEach(async () => {
    a = await node('a');
    friend = await node('friend', { peers: { a: a.address } });
    await a.up('friend');
    await friend.up('a');
  });
  /** The session with the friend must not have noticed. */
  const unharmed = async (): Promise<void> => {
    friend.link.send('a', Buffer.from('still here'));
    expect((await a.next()).text).toBe('still here');
    expect(a.log).toEqual(['up friend 1']);
  };

  test.each([
    ['a frame of no bytes', bytes(0, 0, 0, 0)],
    ['a negative length', bytes(0xff, 0xff, 0xff, 0xff)],
    ['a length above the limit of a handshake', bytes(0, 0, 8, 0, 1)],
    ['a kind that does not exist', bytes(0, 0, 0, 1, 99)],
    ['data before the handshake', encodeFrame(FrameKind.data, bytes(1, 2, 3))],
    ['a proof before its challenge', encodeFrame(FrameKind.proof, bytes(0, 0))],
    ['a commit of a session', encodeFrame(FrameKind.commit, bytes(1))],
    ['a hello of no bytes', encodeFrame(FrameKind.hello, bytes())],
    ['a hello that is cut off', encodeFrame(FrameKind.hello, bytes(1, 1, 200, 65, 66))],
    ['a request in HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
    ['a TLS client hello', bytes(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3)],
  ])('%s: the connection is closed, and nothing else', async (_, garbage) => {
    const socket = await dial(a);
    socket.write(garbage);
    const answer = await heard(socket);
    expect(answer[4]).toBe(FrameKind.refuse);
    expect(answer.length).toBeLessThan(200);
    expect(await a.refused('protocol')).toMatchObject({ by: 'self', peer: undefined });
    await unharmed();
  });

  test('a frame that is cut off by the end of the stream', async () => {
    const socket = await dial(a);
    socket.end(encodeFrame(FrameKind.hello, new Uint8Array(100)).subarray(0, 50));
    await heard(socket);
    expect(await a.refused('protocol')).toMatchObject({ by: 'network' });
    await unharmed();
  });

  test('a stranger who connects and vanishes', async () => {
    const socket = await dial(a);
    socket.resetAndDestroy();
    await a.refused('protocol');
    await unharmed();
  });
});

describe('a stranger who takes his time', () => {
  test('is cut off when the handshake has lasted long enough, however busily he drips', async () => {
    const a = await node('a', { handshakeTimeoutMs: 60 });
    const socket = await dial(a);
    const hello = encodeFrame(FrameKind.hello, new Uint8Array(2_000));
    let at = 0;
    const drip = (): void => {
      if (socket.destroyed || at >= hello.length) return;
      socket.write(hello.subarray(at, ++at));
      systemRuntime.setTimer(1, drip);
    };
    drip();
    await heard(socket);
    expect(at).toBeGreaterThan(0);
    expect(await a.refused('timeout')).toMatchObject({ by: 'self', peer: undefined });
  });

  test('cannot keep others out, nor have more than 256 connections open', async () => {
    const a = await node('a', { handshakeTimeoutMs: 600_000 });
    const silent = await Promise.all(Array.from({ length: 256 }, () => dial(a)));
    const oneMore = await dial(a);
    await heard(oneMore);
    expect(silent.filter((socket) => socket.destroyed)).toEqual([]);
    silent[0]?.destroy();
    await a.refused('protocol');
    const b = await node('b', { peers: { a: a.address } });
    await b.up('a');
  });
});

describe('who does not belong here', () => {
  test.each<[string, Partial<TcpLinkOptions>, 'cluster' | 'unauthenticated' | 'auth-mode']>([
    ['another cluster', { clusterId: 'staging' }, 'cluster'],
    ['another secret', { auth: { secret: 'sixteen bytes of something' } }, 'unauthenticated'],
    ['no secret', { auth: 'none' }, 'auth-mode'],
  ])('%s is refused, and both ends say why', async (_, options, code) => {
    const a = await node('a');
    const b = await node('b', { ...options, peers: { a: a.address } });
    const [atA, atB] = await Promise.all([a.refused(code), b.refused(code)]);
    expect([atA.by, atA.peer]).toEqual(['self', 'b']);
    expect([atB.by, atB.peer]).toEqual(['peer', 'a']);
    for (const { text } of [atA, atB]) expect(text).not.toMatch(/staging|test|sixteen|a secret of/);
    expect([a.log, b.log]).toEqual([[], []]);
  });

  test('a node that answers under another name is refused by the one that dialled', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { c: a.address } });
    await a.refused('wrong-node');
    expect(await b.refused('wrong-node')).toMatchObject({ peer: 'c', text: '"c" was dialled, this is "a"' });
  });

  test('a node that dials another of its own name is refused', async () => {
    const a = await node('a');
    const twin = await node('a', { peers: { c: a.address } });
    expect(twin.log).toEqual([]);
    expect(await a.refused('same-node')).toMatchObject({ peer: 'a', text: 'both ends are called "a"' });
  });

  test('a recorded handshake proves nothing when it is played again', async () => {
    const a = await node('a');
    const proxy = await Proxy.to(a.address);
    proxies.push(proxy);
    const b = await node('b', { peers: { a: proxy.address } });
    await b.up('a');
    await a.up('b');
    const said = Buffer.concat(proxy.recorded[0] ?? []);
    const socket = await dial(a);
    socket.write(said);
    await heard(socket);
    expect(await a.refused('unauthenticated')).toMatchObject({ by: 'self', peer: 'b' });
    expect(a.log).toEqual(['up b 1']);
  });

  test('secrets can be rotated without a pause: the first is used, every one is accepted', async () => {
    const old = SECRET;
    const next = 'the next secret of the cluster';
    const a = await node('a', { auth: { secret: [old, next] } });
    const b = await node('b', { auth: { secret: [next, old] }, peers: { a: a.address } });
    const c = await node('c', { auth: { secret: old }, peers: { a: a.address } });
    const d = await node('d', { auth: { secret: Buffer.from(next) }, peers: { a: a.address, b: b.address } });
    await Promise.all([b.up('a'), c.up('a'), d.up('a'), d.up('b')]);
  });

  test('without authentication strangers are not accepted, and listed ones are', async () => {
    const a = await node('a', { auth: 'none' });
    const b = await node('b', { auth: 'none', peers: { a: a.address } });
    await b.refused('unknown-node');
    a.link.setPeers({ b: b.address });
    await a.up('b');
    expect(a.link.capabilities.identity).toBe('none');
  });
});

describe('a peer in a session that sends what it must not', () => {
  test.each([
    ['a frame of no bytes', bytes(0, 0, 0, 0)],
    ['a negative length', bytes(0x80, 0, 0, 0)],
    ['a frame above the limit', bytes(0x7f, 0xff, 0xff, 0xff, 16)],
    ['a second hello', encodeFrame(FrameKind.hello, bytes(1))],
    ['a kind that does not exist', bytes(0, 0, 0, 1, 15)],
    ['a ping with a body', encodeFrame(FrameKind.ping, bytes(1))],
  ])('%s ends that session, and no other', async (_, garbage) => {
    const a = await node('a');
    const friend = await node('friend', { peers: { a: a.address } });
    const proxy = await Proxy.to(a.address);
    proxies.push(proxy);
    const b = await node('b', { peers: { a: proxy.address }, reconnect: { minMs: 600_000, maxMs: 600_000 } });
    await Promise.all([friend.up('a'), b.up('a'), a.up('b'), a.up('friend')]);
    b.link.send('a', Buffer.from('before'));
    expect((await a.next()).text).toBe('before');
    proxy.inject(Buffer.concat([encodeFrame(FrameKind.data, Buffer.from('good')), garbage]));
    expect((await a.next()).text).toBe('good');
    await a.down('b');
    expect(a.log).toContain('down b error');
    friend.link.send('a', Buffer.from('still here'));
    expect((await a.next()).text).toBe('still here');
  });
});
