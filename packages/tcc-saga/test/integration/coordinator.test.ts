import { DeadlineError, InvalidOptionError } from '@quorate/runtime';
import {
  BranchRefused,
  CoordinatorClosedError,
  type Coordinator,
  type CoordinatorOptions,
  createCoordinator,
  DefinitionMismatchError,
  defineTcc,
  SagaConflictError,
  SagaNotFoundError,
  type TccContext,
  type TccDefinition,
  tccSagaEvents,
} from '@quorate/tcc-saga';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  CountingDatabase,
  deferred,
  nextEvent,
  sagaDatabase,
  type TestDatabase,
  uniqueId,
} from './support.js';

let database: TestDatabase;
const open: Coordinator[] = [];

beforeAll(async () => {
  database = await sagaDatabase();
  await database.db.query('create table note (saga text not null, text text not null)');
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((coordinator) => coordinator.close({ drainMs: 0 })));
});

afterAll(async () => {
  await database.drop();
});

function coordinate(
  definitions: readonly TccDefinition[],
  options: Partial<CoordinatorOptions> = {},
): Coordinator {
  const coordinator = createCoordinator({ db: database.db, definitions, pollMs: 50, ...options });
  open.push(coordinator);
  return coordinator;
}

function started(...parameters: Parameters<typeof coordinate>): Coordinator {
  const coordinator = coordinate(...parameters);
  coordinator.start();
  return coordinator;
}

async function notesOf(saga: string): Promise<string[]> {
  const { rows } = await database.db.query<{ text: string }>(
    'select text from note where saga = $1 order by text',
    [saga],
  );
  return rows.map((row) => row.text);
}

type Behaviour = (context: TccContext<unknown, object>) => unknown;

/** A definition of the branches a and b that notes its calls, and does as it is told. */
function noting(behaviour: Record<string, Behaviour> = {}, options: Partial<TccDefinition> = {}) {
  const calls: string[] = [];
  const branch = (name: string) => {
    const operation = (op: 'try' | 'confirm' | 'cancel') => async (context: TccContext<unknown, object>) => {
      calls.push(`${op} ${name}`);
      const answer = await behaviour[`${op} ${name}`]?.(context);
      return op === 'try' ? (answer ?? `${name} done`) : answer;
    };
    return { try: operation('try'), confirm: operation('confirm'), cancel: operation('cancel') };
  };
  const definition = defineTcc({
    name: uniqueId('definition'),
    deadlineMs: 10_000,
    retry: { minMs: 1, maxMs: 5 },
    branches: { a: branch('a'), b: branch('b') },
    async onConfirmed(tx, saga) {
      await tx.query('insert into note values ($1, $2)', [saga.id, 'confirmed']);
    },
    async onCancelled(tx, saga) {
      await tx.query('insert into note values ($1, $2)', [saga.id, `cancelled: ${String(saga.reason)}`]);
    },
    ...options,
  });
  return { definition, calls };
}

/** Fails the first `times` calls with an unknown outcome. */
function failing(times: number): Behaviour {
  let left = times;
  return () => {
    if (left-- > 0) throw new Error('the wire broke');
  };
}

describe('the life of a saga', () => {
  it('confirms, and runs the hook in the transaction that ends it', async () => {
    const seen: unknown[] = [];
    const { definition, calls } = noting({
      'confirm a': ({ gid, branch, op, input, outputs, attempt }) => {
        seen.push({ gid, branch, op, input, outputs, attempt });
      },
    });
    const coordinator = started([definition]);
    const { id, created } = await coordinator.begin(definition, { input: { quantity: 3, at: new Date(0) } });
    expect(created).toBe(true);
    const input = { quantity: 3, at: '1970-01-01T00:00:00.000Z' };
    const outputs = { a: 'a done', b: 'b done' };
    await expect(coordinator.wait(id)).resolves.toEqual({
      id,
      definition: definition.name,
      version: 1,
      status: 'confirmed',
      reason: undefined,
      input,
      outputs,
      errors: {},
    });
    expect(calls).toEqual(['try a', 'try b', 'confirm a', 'confirm b']);
    expect(seen).toEqual([{ gid: id, branch: 'a', op: 'confirm', input, outputs, attempt: 1 }]);
    expect(await notesOf(id)).toEqual(['confirmed']);
    const status = await coordinator.status(id);
    expect(status).toMatchObject({ status: 'confirmed', owner: undefined, nextRunAt: undefined });
    expect(status?.endedAt?.getTime()).toBeGreaterThanOrEqual(status?.createdAt.getTime() ?? Infinity);
  });

  it('cancels every branch when one refuses, and says why', async () => {
    const { definition, calls } = noting({
      'try b': () => {
        throw new BranchRefused('no funds');
      },
    });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    const outcome = await coordinator.wait(id);
    expect(outcome).toMatchObject({
      status: 'cancelled',
      reason: 'refused',
      outputs: { a: 'a done' },
      errors: { b: 'BRANCH_REFUSED: no funds' },
    });
    expect(calls).toEqual(['try a', 'try b', 'cancel a', 'cancel b']);
    expect(await notesOf(id)).toEqual(['cancelled: refused']);
  });

  it('repeats a try of unknown outcome, alone, and confirms', async () => {
    const attempts: number[] = [];
    const fail = failing(2);
    const { definition, calls } = noting({
      'try b': (context) => {
        attempts.push(context.attempt);
        fail(context);
      },
    });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    await expect(coordinator.wait(id)).resolves.toMatchObject({ status: 'confirmed', errors: {} });
    expect(calls).toEqual(['try a', 'try b', 'try b', 'try b', 'confirm a', 'confirm b']);
    expect(attempts).toEqual([1, 2, 3]);
  });

  it('cancels at the deadline when a try never succeeds', async () => {
    const { definition } = noting({ 'try b': failing(Infinity) }, { deadlineMs: 150 });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    await expect(coordinator.wait(id)).resolves.toMatchObject({
      status: 'cancelled',
      reason: 'deadline',
      errors: { b: 'Error: the wire broke' },
    });
  });

  it('gives an attempt up after its time, tells it so, and cancels although it never returns', async () => {
    const reasons: unknown[] = [];
    const { definition, calls } = noting(
      {
        'try b': ({ signal }) =>
          new Promise(() => {
            signal.addEventListener('abort', () => reasons.push(signal.reason));
          }),
      },
      { deadlineMs: 100, timeoutMs: 60 },
    );
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    await expect(coordinator.wait(id)).resolves.toMatchObject({ status: 'cancelled', reason: 'deadline' });
    expect(reasons[0]).toBeInstanceOf(DeadlineError);
    expect(calls.filter((call) => call === 'cancel b')).toEqual(['cancel b']);
  });

  it('interrupts a slow try as soon as another branch refuses', async () => {
    const { definition } = noting({
      'try a': ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
        }),
      'try b': () => {
        throw new BranchRefused('out of stock');
      },
    });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    // Sooner than the attempt's ten seconds, or this test would time out.
    await expect(coordinator.wait(id, { timeoutMs: 5000 })).resolves.toMatchObject({ reason: 'refused' });
  });

  it('repeats a confirm for ever, shows it in its status, and reports it as stuck', async () => {
    const { definition, calls } = noting({ 'confirm b': failing(6) });
    const coordinator = started([definition], { stuckAfter: 4 });
    const stuck = nextEvent(tccSagaEvents.stuck, (event) => event.definition === definition.name);
    const { id } = await coordinator.begin(definition, { input: null });
    await expect(stuck).resolves.toMatchObject({
      id,
      status: 'confirming',
      attempts: 4,
      errors: { b: 'Error: the wire broke' },
    });
    const status = await coordinator.status(id);
    expect(status?.branches['b']).toMatchObject({ second: 'pending', secondError: 'Error: the wire broke' });
    await expect(coordinator.wait(id)).resolves.toMatchObject({ status: 'confirmed' });
    expect(calls.filter((call) => call.startsWith('confirm'))).toEqual([
      'confirm a',
      ...Array.from({ length: 7 }, () => 'confirm b'),
    ]);
  });

  it('rolls the end back when the hook throws, and repeats the end alone', async () => {
    let left = 2;
    const { definition, calls } = noting(
      {},
      {
        async onConfirmed(tx, saga) {
          await tx.query('insert into note values ($1, $2)', [saga.id, 'confirmed']);
          if (left-- > 0) throw new Error('hook broke');
        },
      },
    );
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    await expect(coordinator.wait(id)).resolves.toMatchObject({ status: 'confirmed' });
    expect(await notesOf(id)).toEqual(['confirmed']);
    expect(calls).toEqual(['try a', 'try b', 'confirm a', 'confirm b']);
  });

  it('counts an answer that is not JSON as a failure of that attempt', async () => {
    const failed = nextEvent(tccSagaEvents.attemptFailed, (event) => event.branch === 'a');
    const { definition } = noting({ 'try a': ({ attempt }) => (attempt === 1 ? 1n : 'fine') });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    expect((await failed).error).toBeInstanceOf(InvalidOptionError);
    await expect(coordinator.wait(id)).resolves.toMatchObject({ outputs: { a: 'fine' } });
  });

  it('carries any JSON and any error text through the database', async () => {
    const nasty = { text: '\0 \ud800 \' " \\ $1 \u2028 {},NULL', 'key\0': [null, -0.5, { deep: '😀' }] };
    const { definition } = noting({
      'try a': () => nasty,
      'try b': ({ attempt }) => {
        if (attempt === 1) throw new Error(`\0'"{}\\,NULL\ud800${'x'.repeat(5000)}`);
      },
    });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: nasty });
    const outcome = await coordinator.wait(id);
    expect(outcome).toMatchObject({ status: 'confirmed', input: nasty, outputs: { a: nasty } });
    expect((await coordinator.status(id))?.input).toEqual(nasty);
  });

  it('costs three statements, and five with a hook', async () => {
    const counting = new CountingDatabase(database.db);
    const { definition } = noting();
    const { deadlineMs, branches } = definition;
    const bare = defineTcc({ name: uniqueId('bare'), deadlineMs, branches });
    const coordinator = coordinate([definition, bare], { db: counting, pollMs: 60_000 });
    const polled = counting.next();
    coordinator.start();
    await polled;

    for (const [used, expected] of [
      [bare, ['insert into saga_instance', 'update saga_instance s', 'update saga_instance s']],
      [
        definition,
        [
          'insert into saga_instance',
          'update saga_instance s',
          'begin',
          'update saga_instance s',
          'insert into note',
          'commit',
        ],
      ],
    ] as const) {
      counting.statements.length = 0;
      const { id } = await coordinator.begin(used, { input: null });
      await coordinator.wait(id);
      expect(counting.statements).toEqual(expected);
    }
  });
});

describe('begin', () => {
  it('enlists in the caller’s transaction: begun when it commits, never when it rolls back', async () => {
    const { definition, calls } = noting();
    const coordinator = started([definition], { pollMs: 60_000 });
    const { id } = await database.db.transaction(async (tx) => {
      await tx.query('insert into note values ($1, $2)', ['mine', 'a']);
      return coordinator.begin(definition, { input: null, tx });
    });
    // No poll for a minute: the wait itself, or the watch for the commit, finds it.
    await expect(coordinator.wait(id)).resolves.toMatchObject({ status: 'confirmed' });

    calls.length = 0;
    const gone = await database.db
      .transaction(async (tx) => {
        const result = await coordinator.begin(definition, { input: null, tx, id: uniqueId('gone') });
        throw new Error(result.id);
      })
      .catch((error: unknown) => (error as Error).message);
    await expect(coordinator.wait(gone)).rejects.toThrow(SagaNotFoundError);
    expect(calls).toEqual([]);
  });

  it('starts after the commit of an enlisted begin without a hint', async () => {
    const { definition } = noting();
    const coordinator = started([definition], { pollMs: 2000 });
    const ended = nextEvent(
      tccSagaEvents.step,
      (step) => step.point === 'ended' && step.definition === definition.name,
    );
    await database.db.transaction((tx) => coordinator.begin(definition, { input: null, tx }));
    await ended;
  });

  it('begins one saga per dedupe key, however many callers race', async () => {
    const { definition, calls } = noting();
    const coordinators = [started([definition]), started([definition])];
    const results = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const coordinator = coordinators[n % 2];
        return await coordinator?.begin(definition, { input: { n }, dedupeKey: 'order-1' });
      }),
    );
    expect(new Set(results.map((one) => one?.id)).size).toBe(1);
    expect(results.filter((one) => one?.created)).toHaveLength(1);
    await coordinators[0]?.wait(results[0]?.id ?? '');
    expect(calls).toEqual(['try a', 'try b', 'confirm a', 'confirm b']);
    // Another definition has keys of its own.
    const other = noting();
    const elsewhere = coordinate([other.definition]);
    await expect(
      elsewhere.begin(other.definition, { input: null, dedupeKey: 'order-1' }),
    ).resolves.toMatchObject({ created: true });
  });

  it('takes an id of the caller’s once, and refuses it for another definition', async () => {
    const [one, two] = [noting().definition, noting().definition];
    const coordinator = started([one, two]);
    const id = uniqueId('order');
    await expect(coordinator.begin(one, { id, input: 1 })).resolves.toEqual({ id, created: true });
    await expect(coordinator.begin(one, { id, input: 2 })).resolves.toEqual({ id, created: false });
    await expect(coordinator.begin(two, { id, input: 1 })).rejects.toThrow(SagaConflictError);
    await expect(coordinator.wait(id)).resolves.toMatchObject({ input: 1 });
  });

  it('keeps what is beyond its concurrency in the database, and gets to it', async () => {
    let inWork = 0;
    let most = 0;
    const { definition } = noting({
      'try a': async () => {
        most = Math.max(most, ++inWork);
        await new Promise(setImmediate);
        inWork--;
      },
    });
    const coordinator = started([definition], { concurrency: 3, pollMs: 60_000 });
    const begun = await Promise.all(
      Array.from({ length: 40 }, () => coordinator.begin(definition, { input: null })),
    );
    const outcomes = await Promise.all(begun.map(({ id }) => coordinator.wait(id)));
    expect(outcomes.every((one) => one.status === 'confirmed')).toBe(true);
    expect(most).toBeLessThanOrEqual(3);
  });

  it('refuses what it cannot keep, before anything is written', async () => {
    const { definition } = noting();
    const coordinator = coordinate([definition]);
    const refuse = async (options: object): Promise<void> => {
      await expect(coordinator.begin(definition, { input: null, ...options })).rejects.toThrow(
        InvalidOptionError,
      );
    };
    await refuse({ input: undefined });
    await refuse({ input: 1n });
    await refuse({ input: 'x'.repeat(1_100_000) });
    await refuse({ id: '' });
    await refuse({ id: 'x'.repeat(256) });
    await refuse({ dedupeKey: 'a\0' });
    await refuse({ tx: { dialect: 'mysql' } });
    await expect(coordinator.begin(noting().definition, { input: null })).rejects.toThrow(InvalidOptionError);
  });
});

describe('several coordinators', () => {
  it('share the work, each saga in one pair of hands at a time', async () => {
    const hands = new Map<string, number>();
    const { definition, calls } = noting({
      'try a': async ({ gid }) => {
        hands.set(gid, (hands.get(gid) ?? 0) + 1);
        expect(hands.get(gid)).toBe(1);
        await new Promise(setImmediate);
        hands.set(gid, 0);
      },
    });
    const begin = coordinate([definition]);
    const ids = await Promise.all(
      Array.from({ length: 60 }, async () => (await begin.begin(definition, { input: null })).id),
    );
    const owners = new Set<string>();
    const leave = tccSagaEvents.step.subscribe((step) => {
      if (step.definition === definition.name && step.point === 'ended') owners.add(step.owner);
    });
    const workers = [1, 2, 3].map(() => started([definition], { concurrency: 4 }));
    await Promise.all(ids.map((id) => begin.wait(id)));
    leave();
    expect(owners).toEqual(new Set(workers.map((worker) => worker.owner)));
    expect(calls).toHaveLength(60 * 4);
  });

  it('leave versions that they do not hold to others', async () => {
    const name = uniqueId('versioned');
    const one = noting({}, { name, version: 1 });
    const two = noting({}, { name, version: 2 });
    const old = started([one.definition]);
    const fresh = coordinate([two.definition]);
    const { id } = await fresh.begin(two.definition, { input: null });
    const { id: other } = await old.begin(one.definition, { input: null });
    await old.wait(other);
    old.wake();
    expect((await old.status(id))?.attempts).toBe(0);
    fresh.start();
    await expect(old.wait(id)).resolves.toMatchObject({ status: 'confirmed', version: 2 });
    expect(one.calls).toHaveLength(4);
  });

  it('stop at once when the lease is lost, and write nothing more', async () => {
    const inTry = deferred();
    const { definition, calls } = noting({
      'try a': ({ signal, attempt }) =>
        attempt > 1
          ? undefined
          : new Promise((_, reject) => {
              inTry.resolve();
              signal.addEventListener('abort', () => {
                reject(signal.reason as Error);
              });
            }),
    });
    const robbed = started([definition], { leaseMs: 300, pollMs: 60_000 });
    const lost = nextEvent(tccSagaEvents.leaseLost, (event) => event.owner === robbed.owner);
    const { id } = await robbed.begin(definition, { input: null });
    await inTry.promise;
    // What another coordinator's claim does to the row.
    await database.db.query(
      "update saga_instance set fence = fence + 1, attempts = 1, lease_owner = 'thief', next_run_at = now() + interval '1 hour' where id = $1",
      [id],
    );
    await lost;
    expect((await robbed.status(id))?.owner).toBe('thief');
    await database.db.query('update saga_instance set next_run_at = now() where id = $1', [id]);
    const next = started([definition]);
    await expect(next.wait(id)).resolves.toMatchObject({ status: 'confirmed' });
    expect(calls.filter((call) => call === 'confirm a')).toHaveLength(1);
  });

  it('keep the lease of a saga that takes longer than it', async () => {
    const release = deferred();
    const { definition, calls } = noting({ 'try a': () => release.promise });
    const holder = started([definition], { leaseMs: 150 });
    const watched = new CountingDatabase(database.db);
    const rival = started([definition], { db: watched, pollMs: 20 });
    const { id } = await holder.begin(definition, { input: null });
    // The rival looks for longer than three leases and finds nothing to claim.
    for (let polls = 0; polls < 25; polls++) await watched.next();
    expect((await rival.status(id))?.owner).toBe(holder.owner);
    release.resolve();
    await holder.wait(id);
    expect(calls).toEqual(['try a', 'try b', 'confirm a', 'confirm b']);
  });

  it('give sagas back on closing, so that another one need not wait for the lease', async () => {
    const inTry = deferred();
    const { definition } = noting({
      'try a': ({ attempt }) =>
        attempt > 1
          ? undefined
          : new Promise(() => {
              inTry.resolve();
            }),
    });
    const closing = started([definition], { leaseMs: 60_000 });
    const { id } = await closing.begin(definition, { input: null });
    await inTry.promise;
    const waiting = closing.wait(id);
    await Promise.all([
      expect(waiting).rejects.toThrow(CoordinatorClosedError),
      closing.close({ drainMs: 0 }),
    ]);
    const next = started([definition]);
    await expect(next.wait(id, { timeoutMs: 5000 })).resolves.toMatchObject({ status: 'confirmed' });
    await expect(closing.begin(definition, { input: null })).rejects.toThrow(CoordinatorClosedError);
  });

  it('give back what was being begun while they closed', async () => {
    const { definition, calls } = noting();
    const closing = started([definition], { leaseMs: 60_000 });
    const begun = closing.begin(definition, { input: null });
    await closing.close({ drainMs: 0 });
    const { id } = await begun;
    expect(calls).toEqual([]);
    const next = started([definition]);
    await expect(next.wait(id, { timeoutMs: 5000 })).resolves.toMatchObject({ status: 'confirmed' });
  });

  it('let what they work on finish when they close', async () => {
    const inTry = deferred();
    const release = deferred();
    const { definition } = noting({
      'try a': () => {
        inTry.resolve();
        return release.promise;
      },
    });
    const closing = started([definition]);
    const { id } = await closing.begin(definition, { input: null });
    await inTry.promise;
    const closed = closing.close();
    release.resolve();
    await closed;
    expect((await coordinate([definition]).status(id))?.status).toBe('confirmed');
  });

  it('keep a saga whose definition was changed under the same version until the right one is back', async () => {
    const { definition } = noting();
    const { a } = definition.branches;
    const wrong = defineTcc({ ...definition, branches: { a } as never });
    const { id } = await coordinate([definition]).begin(definition, { input: null });
    const error = nextEvent(tccSagaEvents.error, (event) => event.id === id);
    const mistaken = started([wrong]);
    expect((await error).error).toBeInstanceOf(DefinitionMismatchError);
    await nextEvent(tccSagaEvents.step, (step) => step.id === id && step.point === 'paused');
    await mistaken.close();
    expect((await mistaken.status(id))?.error).toMatch(/^DEFINITION_MISMATCH/);
    await expect(started([definition]).wait(id)).resolves.toMatchObject({ status: 'confirmed' });
  });
});

describe('wait and prune', () => {
  it('waits no longer than it is told, and the saga goes on', async () => {
    const release = deferred();
    const { definition } = noting({ 'try a': () => release.promise });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null });
    await expect(coordinator.wait(id, { timeoutMs: 20 })).rejects.toThrow(DeadlineError);
    const controller = new AbortController();
    const given = coordinator.wait(id, { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    release.resolve();
    await expect(coordinator.wait(id)).resolves.toMatchObject({ status: 'confirmed' });
  });

  it('deletes what ended long ago, and nothing that has not', async () => {
    const release = deferred();
    const { definition } = noting({
      'try a': ({ input }) => (input === 'slow' ? release.promise : undefined),
    });
    const coordinator = started([definition]);
    const { id } = await coordinator.begin(definition, { input: null, dedupeKey: 'key' });
    const { id: slow } = await coordinator.begin(definition, { input: 'slow' });
    await coordinator.wait(id);
    expect(await coordinator.prune({ olderThanMs: 60_000 })).toBe(0);
    expect(await coordinator.prune({ olderThanMs: 0, limit: 1000 })).toBeGreaterThan(0);
    expect(await coordinator.status(id)).toBeUndefined();
    await expect(coordinator.begin(definition, { input: null, dedupeKey: 'key' })).resolves.toMatchObject({
      created: true,
    });
    release.resolve();
    await expect(coordinator.wait(slow)).resolves.toMatchObject({ status: 'confirmed' });
  });
});
