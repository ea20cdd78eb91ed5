import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeFrame, FrameDecoder, FrameKind, HANDSHAKE_LIMITS } from '../src/core/frame.js';
import { Handshake, type LocalEnd } from '../src/core/handshake.js';
import { NONCE_BYTES, refuseFrame } from '../src/core/handshake-messages.js';

/** Version 1 of the handshake as it went over the wire when it was released; never to be changed. */
const golden = new Map(
  readFileSync(new URL('golden/tcp-v1.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.includes(' '))
    .map((line) => line.split(' ') as [string, string]),
);
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
const end = (self: string, fill: number): LocalEnd => ({
  self,
  clusterId: 'shop',
  incarnation: { startedAtMs: 1_700_000_000_000 + fill, random: '0102030405060708' },
  maxFrameBytes: 1_049_600,
  auth: { mode: 'secret', secrets: [Buffer.from('the secret of a golden file')] },
  nonce: new Uint8Array(NONCE_BYTES).fill(fill),
});
describe('version 1 of the wire format', () => {
  test('is what the golden file says, frame by frame', () => {
    const dialler = new Handshake(end('payment', 1), 'dialler');
    const acceptor = new Handshake(end('orders', 2), 'acceptor');
    const frames: Record<string, Uint8Array | undefined> = {};
    const strip = (frame: Uint8Array | undefined): Uint8Array => (frame ?? new Uint8Array(0)).subarray(5);
    const sent = (step: { readonly type: string; readonly send?: Uint8Array }): Uint8Array | undefined =>
      step.send;
    frames['hello'] = dialler.open('orders', { incarnation: end('orders', 2).incarnation, number: 300 });
    frames['challenge'] = sent(acceptor.receive(FrameKind.hello, strip(frames['hello'])));
    frames['proof'] = sent(dialler.receive(FrameKind.challenge, strip(frames['challenge'])));
    expect(acceptor.receive(FrameKind.proof, strip(frames['proof'])).type).toBe('authenticated');
    frames['welcome-commit'] = acceptor.accept(301);
    frames['refuse'] = refuseFrame({ code: 'superseded', text: 'newer' });
    frames['data'] = encodeFrame(FrameKind.data, Buffer.from('frame'));
    frames['ping'] = encodeFrame(FrameKind.ping, new Uint8Array(0));
    frames['pong'] = encodeFrame(FrameKind.pong, new Uint8Array(0));
    frames['bye'] = encodeFrame(FrameKind.bye, Uint8Array.of(1));
    expect(Object.entries(frames).map(([name, bytes]) => `${name} ${hex(bytes)}`)).toEqual(
      [...golden].map(([name, bytes]) => `${name} ${bytes}`),
    );
  });

  test('is understood: a dialler of today reaches its session with the recorded acceptor', () => {
    const dialler = new Handshake(end('payment', 1), 'dialler');
    dialler.open('orders', { incarnation: end('orders', 2).incarnation, number: 300 });
    const steps: unknown[] = [];
    const decoder = new FrameDecoder(HANDSHAKE_LIMITS, {
      frame: (kind, body) => steps.push(dialler.receive(kind, body)),
      fault: ({ text }) => expect.unreachable(text),
    });
    for (const name of ['challenge', 'welcome-commit'])
      decoder.push(Buffer.from(golden.get(name) ?? '', 'hex'));
    expect(steps.at(-1)).toMatchObject({ type: 'committed', session: 301, peer: { id: 'orders' } });
  });
});
