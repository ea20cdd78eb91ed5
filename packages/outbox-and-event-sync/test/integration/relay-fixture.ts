import { afterEach, beforeEach } from 'vitest';
import {
  createOutbox,
  createRelay,
  type Outbox,
  type OutgoingMessage,
  type Relay,
  type RelayOptions,
  type RelaySettledEvent,
} from '@quorate/outbox-and-event-sync';
import { Collector, type OutboxDatabase, outboxDatabase } from './support.js';

/** What a test of relays works with. Each test has a database of its own. */
export interface RelayFixture {
  readonly database: OutboxDatabase;
  readonly outbox: Outbox;
  readonly publish: (...messages: OutgoingMessage[]) => Promise<string[]>;
  /** A relay that is closed after the test. */
  readonly relay: (options: Omit<RelayOptions, 'db'>) => Relay;
  /** Collects a channel's events of the relays whose name begins with `owner`. */
  readonly events: <T extends { readonly owner: string }>(
    channel: { subscribe(listen: (event: T) => void): () => void },
    owner: string,
  ) => Collector<T>;
  /** Resolves when the outbox has no pending message. */
  readonly drained: (settled: Collector<RelaySettledEvent>) => Promise<void>;
  /** Runs after the test, the last one first. */
  readonly cleanup: (run: () => unknown) => void;
}

/** Call it once per file, outside of the tests; what it returns belongs to the test that runs. */
export function useRelays(): RelayFixture {
  let database: OutboxDatabase | undefined;
  const cleanups: (() => unknown)[] = [];
  const outbox = createOutbox();
  beforeEach(async () => {
    database = await outboxDatabase();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    await database?.[Symbol.asyncDispose]();
  });
  const fixture: RelayFixture = {
    get database() {
      if (database === undefined) throw new Error('there is a database only while a test runs');
      return database;
    },
    outbox,
    publish: (...messages) => fixture.database.db.transaction((tx) => outbox.publish(tx, messages)),
    relay(options) {
      const { db } = fixture.database;
      const made = createRelay({ db, backoff: { minMs: 1, maxMs: 20 }, ...options });
      cleanups.push(() => made.close({ drainMs: 0 }));
      return made;
    },
    events<T extends { readonly owner: string }>(
      channel: { subscribe(listen: (event: T) => void): () => void },
      owner: string,
    ) {
      const collector = new Collector<T>();
      cleanups.push(
        channel.subscribe((event) => {
          if (event.owner.startsWith(`${owner}-`)) collector.add(event);
        }),
      );
      return collector;
    },
    async drained(settled) {
      for (;;) {
        const seen = settled.items.length;
        if ((await outbox.status(fixture.database.db)).pending === 0) return;
        await settled.until((items) => items.length > seen);
      }
    },
    cleanup: (run) => cleanups.push(run),
  };
  return fixture;
}
