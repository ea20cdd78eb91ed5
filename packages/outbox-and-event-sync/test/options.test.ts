import { describe, expect, it } from 'vitest';
import { createInbox, createOutbox, createRelay, outboxMigrationsWith } from '@quorate/outbox-and-event-sync';

/** Enough of a database to construct with; nothing here runs a statement. */
const db = { dialect: 'postgres', query: () => {}, transaction: () => {} };

describe('options of a relay', () => {
  const publisher = { t: () => {} };
  it.each([
    [{ leaseMs: 1 }, 'leaseMs'],
    [{ batchSize: 0 }, 'batchSize'],
    [{ maxInFlight: 10, batchSize: 20 }, 'maxInFlight'],
    [{ concurrency: 1.5 }, 'concurrency'],
    [{ maxAttempts: 0 }, 'maxAttempts'],
    [{ pollMs: 0 }, 'pollMs'],
    [{ publishTimeoutMs: Number.NaN }, 'publishTimeoutMs'],
    [{ afterDead: 'stop' }, 'afterDead'],
    [{ sameKey: 'x' }, 'sameKey'],
    [{ owner: '' }, 'owner'],
    [{ owner: 'x'.repeat(201) }, 'owner'],
    [{ backoff: { minMs: -1 } }, 'minMs'],
    [{ publish: {} }, 'publish'],
    [{ publish: { t: 1 } }, 'publish["t"]'],
    [{ db: {} }, 'db'],
    [{ db: { ...db, dialect: 'mysql' } }, 'db.dialect'],
  ])('%o are refused by name', (options, option) => {
    const make = (): unknown => createRelay({ db, publish: publisher, ...options } as never);
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION', option }) as Error);
  });
});

describe('other options', () => {
  it.each([
    ['order', () => createOutbox({ order: 'none' as never })],
    ['maxPayloadBytes', () => createOutbox({ maxPayloadBytes: 1 })],
    ['maxHeaderBytes', () => createOutbox({ maxHeaderBytes: -1 })],
    ['consumer', () => createInbox({ consumer: '' })],
    ['partitions', () => outboxMigrationsWith({ partitions: 0 })],
  ])('%s is refused by name', (option, make) => {
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION', option }) as Error);
  });
});
