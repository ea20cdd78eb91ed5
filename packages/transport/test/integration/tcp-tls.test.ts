import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { InvalidOptionError } from '@quorate/runtime';
import { createTcpLink, type TcpLinkOptions, type TcpTlsOptions } from '@quorate/transport/tcp';
import { Authority, type Identity } from './certificates.js';
import { type Node, Nodes, SECRET } from './tcp-nodes.js';

const nodes = new Nodes();
let authority: Authority;
const identities: Record<string, Identity> = {};

beforeAll(async () => {
  authority = await Authority.create('the cluster');
  for (const name of ['a', 'b']) identities[name] = await authority.issue({ type: 'dns', value: name });
});
afterEach(() => nodes.close());

const tls = (identity: Identity | undefined, more: Partial<TcpTlsOptions> = {}): Partial<TcpLinkOptions> => ({
  auth: { tls: { ca: authority.pem, cert: '', key: '', ...identity, ...more } },
});
const node = (self: string, options: Partial<TcpLinkOptions> = {}): Promise<Node> =>
  nodes.start(self, { ...tls(identities[self]), ...options });

describe('mutual TLS', () => {
  test('two nodes with certificates of the authority have a session, and large frames travel', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: a.address } });
    await a.up('b');
    await b.up('a');
    expect(a.link.capabilities.identity).toBe('mtls');
    const text = 'x'.repeat(1_000_000);
    a.link.send('b', Buffer.from(text));
    b.link.send('a', Buffer.from('small'));
    expect((await b.next()).text === text).toBe(true);
    expect((await a.next()).text).toBe('small');
    await a.link.close(1_000);
    await b.down('a');
    expect(b.log).toEqual(['up a 1', 'down a left']);
  });

  test('nodes that dial each other at once share one session', async () => {
    const a = await node('a');
    const b = await node('b');
    a.link.setPeers({ b: b.address });
    b.link.setPeers({ a: a.address });
    await a.up('b');
    await b.up('a');
    a.link.send('b', Buffer.from('x'));
    await b.next();
    expect([a.log, b.log]).toEqual([['up b 1'], ['up a 1']]);
  });

  test('a certificate of another node is refused by the node that is dialled', async () => {
    const a = await node('a');
    const forger = await nodes.start('b', { ...tls(identities['a']), peers: { a: a.address } });
    expect(await forger.refused('unauthenticated')).toMatchObject({ by: 'peer' });
    expect(await a.refused('unauthenticated')).toMatchObject({ by: 'self', peer: 'b' });
    expect(a.log).toEqual([]);
  });

  test('a certificate of another node is refused by the node that dials', async () => {
    const impostor = await nodes.start('a', tls(identities['b']));
    const b = await node('b', { peers: { a: impostor.address } });
    expect(await b.refused('unauthenticated')).toMatchObject({
      by: 'self',
      peer: 'a',
      text: 'the certificate is not one of "a"',
    });
    expect(b.log).toEqual([]);
  });

  test('a certificate of another authority is refused by either end', async () => {
    const strangers = await Authority.create('somebody else');
    const a = await node('a');
    const stranger = await nodes.start('b', {
      auth: { tls: { ca: authority.pem, ...(await strangers.issue({ type: 'dns', value: 'b' })) } },
      peers: { a: a.address },
    });
    expect(await a.refused('unauthenticated')).toMatchObject({ by: 'network', peer: undefined });
    const b = await node('b', { peers: { a: stranger.address } });
    expect((await b.unreachable('a')).error.message).toMatch(/signature|issuer|verify/i);
    expect([a.log, b.log, stranger.log]).toEqual([[], [], []]);
  });

  test('a node without TLS is refused, whoever dials', async () => {
    const a = await node('a');
    const plain = await nodes.start('b', { auth: { secret: SECRET }, peers: { a: a.address } });
    await a.refused('unauthenticated');
    await plain.refused('protocol');
    const b = await node('b', { peers: { a: plain.address } });
    await b.unreachable('a');
    await plain.refused('protocol');
    expect([a.log, b.log, plain.log]).toEqual([[], [], []]);
  });

  test('strangers who never speak TLS cannot have more than 256 connections, and do not keep nodes out', async () => {
    const a = await node('a', { handshakeTimeoutMs: 60_000 });
    const [host = '', port] = a.address.split(':');
    const dial = async (): Promise<Socket> => {
      const socket = connect({ host, port: Number(port) });
      await once(socket, 'connect');
      return socket;
    };
    const silent = await Promise.all(Array.from({ length: 256 }, dial));
    const oneMore = await dial();
    await once(oneMore.resume(), 'close');
    expect(silent.filter(({ destroyed }) => destroyed)).toEqual([]);
    silent[0]?.destroy();
    await a.refused('unauthenticated');
    const b = await node('b', { peers: { a: a.address } });
    await b.up('a');
    for (const socket of silent) socket.destroy();
  });

  test('a certificate may name the node by a URI, and verifyNodeId decides otherwise', async () => {
    const uri = await authority.issue({ type: 'url', value: 'urn:node:a' });
    const a = await nodes.start('urn:node:a', tls(uri));
    const seen: string[][] = [];
    const b = await nodes.start('other', {
      ...tls(await authority.issue({ type: 'dns', value: 'b' }, { type: 'url', value: 'spiffe://prod/b' }), {
        verifyNodeId: (names, claimed) => {
          seen.push([...names, claimed]);
          return true;
        },
      }),
      peers: { 'urn:node:a': a.address },
    });
    expect(await a.refused('unauthenticated')).toMatchObject({ peer: 'other' });
    await b.refused('unauthenticated');
    await a.close();
    const c = await nodes.start(
      'urn:node:a',
      tls(uri, { verifyNodeId: (names) => names.includes('URI:spiffe://prod/b') }),
    );
    b.link.setPeers({ 'urn:node:a': c.address });
    await b.up('urn:node:a');
    expect(seen).toContainEqual(['URI:urn:node:a', 'urn:node:a']);
  });

  test('a verifyNodeId that throws refuses that connection, and does no harm; setTls replaces it', async () => {
    const doubtful = (): boolean => {
      throw new Error('cannot decide');
    };
    const a = await nodes.start('a', tls(identities['a'], { verifyNodeId: doubtful }));
    const b = await node('b', { peers: { a: a.address } });
    await a.refused('unauthenticated');
    await b.refused('unauthenticated');
    a.link.setTls({ ca: authority.pem, cert: '', key: '', ...identities['a'] });
    await b.up('a');
  });

  test('a renewed certificate serves the next connections, and those that exist stay', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: a.address } });
    await b.up('a');
    const renewed = await Authority.create('the new authority');
    const both = [authority.pem, renewed.pem];
    a.link.setTls({ ca: both, ...(await renewed.issue({ type: 'dns', value: 'a' })) });
    b.link.setTls({ ca: [renewed.pem], ...(await authority.issue({ type: 'dns', value: 'b' })) });
    expect(b.log).toEqual(['up a 1']);
    b.link.setPeers({});
    b.link.setPeers({ a: a.address });
    await b.up('a');
    expect(b.log).toEqual(['up a 1', 'down a left', 'up a 2']);
  });

  test('what OpenSSL does not take throws at construction, and shows no key', () => {
    const make = (auth: TcpLinkOptions['auth']): (() => unknown) => {
      return () => createTcpLink({ self: 'a', clusterId: 'c', auth });
    };
    const { cert = '', key = '' } = identities['a'] ?? {};
    expect(make({ tls: { ca: 'nonsense', cert: 'nonsense', key: 'nonsense' } })).toThrow(InvalidOptionError);
    const other = identities['b']?.key ?? '';
    expect(make({ tls: { ca: authority.pem, cert, key: other } })).toThrow(/auth\.tls.*mismatch/);
    expect(make({ tls: { ca: [], cert, key } })).toThrow(/auth\.tls\.ca/);
    expect(make({ tls: { ca: authority.pem, cert, key: '' } })).toThrow(/auth\.tls\.key/);
    expect(() =>
      createTcpLink({ self: 'a', clusterId: 'c', auth: 'none' }).setTls({ ca: cert, cert, key }),
    ).toThrow(InvalidOptionError);
  });
});
