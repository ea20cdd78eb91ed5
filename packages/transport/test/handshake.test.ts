import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  FRAME_HEADER_BYTES,
  FrameDecoder,
  FrameKind,
  HANDSHAKE_LIMITS,
  MAX_HANDSHAKE_FRAME_BYTES,
} from '../src/core/frame.js';
import {
  arbitrate,
  type EndedSession,
  follows,
  Handshake,
  type HandshakeStep,
  isArbiter,
  type LocalEnd,
} from '../src/core/handshake.js';
import { type Incarnation, isNewer, NONCE_BYTES, refuseFrame } from '../src/core/handshake-messages.js';

const life = (startedAtMs: number, random = '0000000000000000'): Incarnation => ({ startedAtMs, random });
const secret = (text: string): LocalEnd['auth'] => ({ mode: 'secret', secrets: [Buffer.from(text)] });
const end = (self: string, more: Partial<LocalEnd> = {}): LocalEnd => ({
  self,
  clusterId: 'c',
  incarnation: life(self.charCodeAt(0)),
  maxFrameBytes: 1_000,
  auth: secret('a shared secret'),
  nonce: new Uint8Array(NONCE_BYTES).fill(self.charCodeAt(0)),
  ...more,
});

/** The frames in some bytes. */
function frames(bytes: Uint8Array | undefined): { kind: number; body: Uint8Array }[] {
  const found: { kind: number; body: Uint8Array }[] = [];
  const decoder = new FrameDecoder(HANDSHAKE_LIMITS, {
    frame: (kind, body) => found.push({ kind, body }),
    fault: ({ text }) => expect.unreachable(text),
  });
  decoder.push(bytes ?? new Uint8Array(0));
  return found;
}

/** What one end saw of a handshake that was carried out in memory, both ways until nobody has more to say. */
interface Side {
  readonly machine: Handshake;
  readonly steps: HandshakeStep[];
  /** Frames on their way to this end. */
  readonly inbox: { kind: number; body: Uint8Array }[];
}

function run(
  dialler: LocalEnd,
  acceptor: LocalEnd,
  options: {
    target?: string;
    ended?: EndedSession;
    tamper?: (kind: number, body: Uint8Array) => Uint8Array;
  } = {},
): { dialler: Side; acceptor: Side } {
  const {
    target = acceptor.self,
    ended,
    tamper = (_: number, body: Uint8Array): Uint8Array => body,
  } = options;
  const make = (local: LocalEnd, role: 'dialler' | 'acceptor'): Side => ({
    machine: new Handshake(local, role),
    steps: [],
    inbox: [],
  });
  const d = make(dialler, 'dialler');
  const a = make(acceptor, 'acceptor');
  const post = (to: Side, bytes: Uint8Array | undefined): void => {
    to.inbox.push(...frames(bytes).map(({ kind, body }) => ({ kind, body: tamper(kind, body) })));
  };
  post(a, d.machine.open(target, ended));
  while (a.inbox.length + d.inbox.length > 0) {
    for (const [one, other, local] of [
      [a, d, acceptor],
      [d, a, dialler],
    ] as const) {
      const frame = one.inbox.shift();
      if (frame === undefined) continue;
      const step = one.machine.receive(frame.kind, frame.body);
      one.steps.push(step);
      if (step.type === 'authenticated') {
        post(other, one.machine.accept(isArbiter(local.self, step.peer.id) ? 7 : undefined));
      } else if (step.type !== 'committed') {
        post(other, step.send);
      }
    }
  }
  return { dialler: d, acceptor: a };
}
/** How it ended for a side: what arrives after a refusal is passed over. */
const last = (side: Side): HandshakeStep | undefined =>
  side.steps.find(({ type }) => type === 'refused') ?? side.steps.at(-1);
const codes = (sides: { dialler: Side; acceptor: Side }): unknown[] =>
  [sides.dialler, sides.acceptor].map((side) => {
    const step = last(side);
    return step?.type === 'refused' ? `${step.by} ${step.refusal.code}` : step?.type;
  });

describe('a handshake of two ends that fit', () => {
  test.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('when %s dials %s, the lesser name decides and the other follows', (from, to) => {
    const { dialler, acceptor } = run(end(from), end(to));
    const [arbiter, follower] = from < to ? [dialler, acceptor] : [acceptor, dialler];
    const follow = last(follower);
    expect(follow).toMatchObject({ type: 'committed', session: 7, peer: { id: 'a', incarnation: life(97) } });
    const decided = arbiter.steps.find(({ type }) => type === 'authenticated');
    expect(decided).toMatchObject({ peer: { id: 'b', incarnation: life(98), maxFrameBytes: 1_000 } });
  });

  test('the arbiter learns which of its sessions has ended for the dialler, of its own life only', () => {
    const seen = (ended?: EndedSession): number | undefined => {
      const sides = run(end('b'), end('a'), ended === undefined ? {} : { ended });
      const step = sides.acceptor.steps.find(({ type }) => type === 'authenticated');
      return step?.type === 'authenticated' ? step.peer.endedSession : undefined;
    };
    expect(seen({ incarnation: end('a').incarnation, number: 5 })).toBe(5);
    expect(seen({ incarnation: life(1), number: 5 })).toBe(0);
    expect(seen()).toBe(0);
  });

  test.each<LocalEnd['auth']>([{ mode: 'none' }, { mode: 'mtls', vouches: () => true }])(
    'without a secret: %j',
    (auth) => {
      expect(codes(run(end('a', { auth }), end('b', { auth })))).toEqual(['authenticated', 'committed']);
    },
  );

  test('an acceptor with several secrets answers with the one that the dialler used', () => {
    const many: LocalEnd['auth'] = {
      mode: 'secret',
      secrets: ['first', 'second', 'third'].map((text) => Buffer.from(text)),
    };
    expect(codes(run(end('b', { auth: secret('second') }), end('a', { auth: many })))).toEqual([
      'committed',
      'authenticated',
    ]);
    expect(codes(run(end('b', { auth: many }), end('a', { auth: secret('first') })))).toEqual([
      'committed',
      'authenticated',
    ]);
    expect(codes(run(end('b', { auth: many }), end('a', { auth: secret('second') })))).toEqual([
      'peer unauthenticated',
      'self unauthenticated',
    ]);
  });
});

describe('a handshake of two ends that do not fit', () => {
  test.each<[string, Partial<LocalEnd>, string]>([
    ['another cluster', { clusterId: 'd' }, 'cluster'],
    ['another secret', { auth: secret('another secret') }, 'unauthenticated'],
    ['another way of authentication', { auth: { mode: 'none' } }, 'auth-mode'],
    ['the same name', { self: 'a' }, 'same-node'],
  ])('%s', (_, more, code) => {
    expect(codes(run(end('b', more), end('a')))).toEqual([`peer ${code}`, `self ${code}`]);
  });

  test('another node than the one that was dialled', () => {
    expect(codes(run(end('b'), end('a'), { target: 'c' }))).toEqual(['peer wrong-node', 'self wrong-node']);
  });

  test('a certificate that is not one of the claimed name, at either end', () => {
    const vouches = (name: string): LocalEnd['auth'] => ({
      mode: 'mtls',
      vouches: (claimed) => claimed === name,
    });
    expect(codes(run(end('b', { auth: vouches('a') }), end('a', { auth: vouches('x') })))).toEqual([
      'peer unauthenticated',
      'self unauthenticated',
    ]);
    expect(codes(run(end('b', { auth: vouches('x') }), end('a', { auth: vouches('b') })))).toEqual([
      'self unauthenticated',
      'peer unauthenticated',
    ]);
  });

  test('versions: a newer dialler is answered in the version that both speak, and too new a one is refused', () => {
    const versions = (newest: number, oldest: number): unknown[] =>
      codes(
        run(end('b', { auth: { mode: 'none' } }), end('a', { auth: { mode: 'none' } }), {
          tamper: (kind, body) =>
            kind === FrameKind.hello
              ? Buffer.concat([Uint8Array.of(newest, oldest), body.subarray(2)])
              : body,
        }),
      );
    expect(versions(9, 1)).toEqual(['committed', 'authenticated']);
    expect(versions(9, 2)).toEqual(['peer version', 'self version']);
    expect(versions(0, 0)).toEqual(['peer version', 'self version']);
    expect(versions(1, 2)).toEqual(['peer protocol', 'self protocol']);
  });

  test('a version that was not offered', () => {
    const sides = run(end('b'), end('a'), {
      tamper: (kind, body) =>
        kind === FrameKind.challenge ? Buffer.concat([Uint8Array.of(2), body.subarray(1)]) : body,
    });
    expect(codes(sides)).toEqual(['self version', 'peer version']);
  });
});

describe('an attacker', () => {
  test('who changes any one byte of any message gets nowhere', () => {
    const kinds = [FrameKind.hello, FrameKind.challenge, FrameKind.proof, FrameKind.welcome];
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (target, place, flip) => {
          const sides = run(end('b'), end('a'), {
            tamper: (kind, body) => {
              if (kind !== target) return body;
              const changed = Buffer.from(body);
              const at = place % changed.length;
              changed[at] = (changed[at] ?? 0) ^ flip;
              return changed;
            },
          });
          // The acceptor may be convinced before the welcome is changed; the dialler is not.
          expect(last(sides.dialler)?.type).not.toBe('committed');
          if (target !== FrameKind.welcome) expect(last(sides.acceptor)?.type).not.toBe('authenticated');
        },
      ),
      { numRuns: 500 },
    );
  });

  test('who reflects a proof back at its maker proves nothing', () => {
    const victim = new Handshake(end('a'), 'acceptor');
    const other = new Handshake(end('b'), 'dialler');
    const hello = frames(other.open('a', undefined))[0];
    victim.receive(FrameKind.hello, hello?.body ?? new Uint8Array(0));
    // A second connection to the same victim, opened to have it make a MAC: none comes before one was given.
    const oracle = new Handshake(end('a'), 'acceptor');
    const step = oracle.receive(FrameKind.hello, hello?.body ?? new Uint8Array(0));
    expect(step.type === 'wait' && frames(step.send).map(({ kind }) => kind)).toEqual([FrameKind.challenge]);
    // And the proof of a dialler is not taken as the welcome of an acceptor.
    let proof: Uint8Array = new Uint8Array(0);
    const honest = run(end('b'), end('a'), {
      tamper: (kind, body) => {
        if (kind === FrameKind.proof) proof = body.subarray(1);
        return kind === FrameKind.welcome ? proof : body;
      },
    });
    expect(codes(honest)[0]).toBe('self unauthenticated');
  });
  test('who sends garbage in any order makes neither end throw or believe', () => {
    const message = fc.record({
      kind: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(...Object.values(FrameKind))),
      body: fc.uint8Array({ maxLength: MAX_HANDSHAKE_FRAME_BYTES }),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), fc.boolean(), (messages, dials) => {
        const machine = new Handshake(end('b'), dials ? 'dialler' : 'acceptor');
        if (dials) machine.open('a', undefined);
        for (const { kind, body } of messages) {
          const step = machine.receive(kind, body);
          expect(['wait', 'refused']).toContain(step.type);
          const sent = 'send' in step ? step.send.length : 0;
          expect(sent).toBeLessThanOrEqual(MAX_HANDSHAKE_FRAME_BYTES);
        }
      }),
    );
  });

  test('who is not the arbiter cannot commit', () => {
    const dialler = new Handshake(end('a', { auth: { mode: 'none' } }), 'dialler');
    dialler.open('b', undefined);
    expect(dialler.receive(FrameKind.commit, Uint8Array.of(1))).toMatchObject({
      refusal: { code: 'protocol' },
    });
  });

  test('whose refusal is long, or has control characters, is shown within bounds', () => {
    const machine = new Handshake(end('b'), 'dialler');
    machine.open('a', undefined);
    const body = refuseFrame({ code: 'busy', text: `\u001b[31m${'x'.repeat(5_000)}` }).subarray(
      FRAME_HEADER_BYTES,
    );
    const step = machine.receive(FrameKind.refuse, body);
    const text = step.type === 'refused' ? step.refusal.text : '';
    expect(text).toMatch(/^ \[31mx+$/);
    expect(text.length).toBeLessThanOrEqual(512);
  });
});

describe('which connection becomes the session', () => {
  const current = { incarnation: life(5), number: 3 };
  test.each([
    ['the first one', undefined, { incarnation: life(5), endedSession: 0 }, 'accept'],
    ['another of the same life', current, { incarnation: life(5), endedSession: 0 }, 'duplicate'],
    [
      'another of the same life, which saw an earlier session end',
      current,
      { incarnation: life(5), endedSession: 2 },
      'duplicate',
    ],
    [
      'one of the same life, for which the session is over',
      current,
      { incarnation: life(5), endedSession: 3 },
      'accept',
    ],
    ['one of a later life', current, { incarnation: life(6), endedSession: 0 }, 'accept'],
    ['one of an earlier life', current, { incarnation: life(4), endedSession: 9 }, 'superseded'],
  ] as const)('for the arbiter: %s', (_, session, candidate, verdict) => {
    expect(arbitrate(session, candidate)).toBe(verdict);
  });

  test.each([
    ['the first one', undefined, { incarnation: life(5), number: 1 }, true],
    ['a later one of the same life', current, { incarnation: life(5), number: 4 }, true],
    [
      'an earlier one of the same life, overtaken on its way',
      current,
      { incarnation: life(5), number: 2 },
      false,
    ],
    ['one of a later life', current, { incarnation: life(6), number: 1 }, true],
    ['one of an earlier life', current, { incarnation: life(4), number: 9 }, false],
  ] as const)('for the other end: %s', (_, session, committed, taken) => {
    expect(follows(session, committed)).toBe(taken);
  });

  test('lives that began in the same millisecond are told apart, and the order is the same for everybody', () => {
    const one = life(5, '00ff000000000000');
    const two = life(5, 'ff00000000000000');
    expect([isNewer(two, one), isNewer(one, two), isNewer(one, one)]).toEqual([true, false, false]);
    expect([isArbiter('a', 'b'), isArbiter('b', 'a')]).toEqual([true, false]);
  });
});
