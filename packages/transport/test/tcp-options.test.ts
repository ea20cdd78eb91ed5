import { describe, expect, test } from 'vitest';
import { InvalidOptionError } from '@quorate/runtime';
import { createTcpLink, type TcpLinkOptions } from '@quorate/transport/tcp';

const valid: TcpLinkOptions = { self: 'a', clusterId: 'c', auth: { secret: 'sixteen bytes or more' } };
const thrown = (options: unknown): InvalidOptionError => {
  try {
    createTcpLink({ ...valid, ...(options as Partial<TcpLinkOptions>) });
  } catch (error) {
    if (error instanceof InvalidOptionError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('options', () => {
  test.each([
    ['self', { self: '' }],
    ['self', { self: 'a\nb' }],
    ['clusterId', { clusterId: 'x'.repeat(256) }],
    ['listen.port', { listen: { port: 65_536 } }],
    ['listen.port', { listen: { port: '80' } }],
    ['listen.host', { listen: { host: '', port: 0 } }],
    ['peers', { peers: { '': 'host:1' } }],
    ['peers["b"]', { peers: { b: 'host' } }],
    ['peers["b"]', { peers: { b: 'host:0' } }],
    ['peers["b"]', { peers: { b: 'host:65536' } }],
    ['peers["b"]', { peers: { b: '::1:7000' } }],
    ['peers["b"]', { peers: { b: '[1.2.3.4]:7000' } }],
    ['peers["b"]', { peers: new Map([['b', 'http://host:1']]) }],
    ['peers["b"]', { peers: { b: 7000 } }],
    ['auth', { auth: undefined }],
    ['auth', { auth: {} }],
    ['auth', { auth: { tls: {}, secret: 'sixteen bytes or more' } }],
    ['auth.secret', { auth: { secret: [] } }],
    ['auth.secret', { auth: { secret: new Uint8Array(15) } }],
    ['auth.tls.ca', { auth: { tls: {} } }],
    ['auth.tls.minVersion', { auth: { tls: { ca: 'x', cert: 'x', key: 'x', minVersion: 'TLSv1' } } }],
    ['maxPayload', { maxPayload: 0 }],
    ['maxPayload', { maxPayload: 2 ** 31 }],
    ['maxQueueBytes', { maxQueueBytes: 1_000 }],
    ['connectTimeoutMs', { connectTimeoutMs: 0 }],
    ['handshakeTimeoutMs', { handshakeTimeoutMs: Number.NaN }],
    ['heartbeatMs', { heartbeatMs: -1 }],
    ['heartbeatMisses', { heartbeatMisses: 0 }],
    ['reconnect.minMs', { reconnect: { minMs: 0 } }],
    ['reconnect.maxMs', { reconnect: { minMs: 100, maxMs: 50 } }],
  ])('an invalid %s throws at construction and is named: %j', (option, options) => {
    expect(thrown(options).option).toBe(option);
  });

  test('a secret that is too short is not shown', () => {
    const error = thrown({ auth: { secret: ['hunter2'] } });
    expect(`${error.message} ${JSON.stringify(error)} ${String(error.value)}`).not.toContain('hunter2');
    expect(error.message).toContain('7 bytes');
  });

  test('addresses: names, IPv4, IPv6 in brackets; oneself is left out', () => {
    const link = createTcpLink({
      ...valid,
      peers: { a: 'a:1', b: 'b.example:65535', c: '10.0.0.1:80', d: '[::1]:7000', e: '[fe80::1%eth0]:7000' },
    });
    expect(link.peers().map(({ id }) => id)).toEqual(['b', 'c', 'd', 'e']);
  });

  test('before start everything is dropped as closed', () => {
    const link = createTcpLink({ ...valid, peers: { b: 'b:1' } });
    expect(link.send('b', new Uint8Array(1))).toBe('dropped-closed');
    expect(link.address()).toBeUndefined();
    expect(link.capabilities).toEqual({
      maxPayload: 1_048_576,
      ordering: 'fifo-per-session',
      duplicates: 'never',
      multicast: 'fan-out',
      peerEvents: 'heartbeat',
      identity: 'shared-secret',
    });
  });
});
