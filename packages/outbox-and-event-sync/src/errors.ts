import { QuorateError, type QuorateErrorOptions } from '@quorate/runtime';

/**
 * A message that cannot be published: its payload or headers are no JSON, or too large. Nothing was written. Codes `PAYLOAD_NOT_JSON` and
 * `MESSAGE_TOO_LARGE`.
 */
export class InvalidMessageError extends QuorateError {
  static override readonly brand: string = '@quorate/outbox-and-event-sync#InvalidMessageError';
}

/** The tables are missing, or are not those of this version. Nothing was done. Code `OUTBOX_NOT_MIGRATED`. */
export class OutboxNotMigratedError extends QuorateError {
  static override readonly brand: string = '@quorate/outbox-and-event-sync#OutboxNotMigratedError';

  constructor(what: string, options?: QuorateErrorOptions) {
    super(
      'OUTBOX_NOT_MIGRATED',
      `${what}; run migrate(db, { name: 'quorate_outbox', migrations: outboxMigrations }) on this database`,
      options,
    );
  }
}

/** A relay was used against its life cycle: started twice, or after it was closed. Code `RELAY_STATE`. */
export class RelayStateError extends QuorateError {
  static override readonly brand: string = '@quorate/outbox-and-event-sync#RelayStateError';

  constructor(state: string) {
    super('RELAY_STATE', `start() was called on a relay that is ${state}; create a new relay`);
  }
}

/**
 * Why a publisher's signal aborted: the relay is about to lose, or has lost, the lease of a partition whose messages
 * were handed over. Another relay will publish them again. Code `LEASE_LOST`.
 */
export class LeaseLostError extends QuorateError {
  static override readonly brand: string = '@quorate/outbox-and-event-sync#LeaseLostError';

  /** The partitions that were lost. */
  readonly partitions: readonly number[];

  constructor(partitions: readonly number[]) {
    super('LEASE_LOST', `the lease of partition ${partitions.join(', ')} is over; stop publishing`);
    this.partitions = partitions;
  }
}

/** Why a publisher's signal aborted: the relay closes and its time to drain is over. Code `RELAY_CLOSED`. */
export class RelayClosedError extends QuorateError {
  static override readonly brand: string = '@quorate/outbox-and-event-sync#RelayClosedError';

  constructor(drainMs: number) {
    super('RELAY_CLOSED', `the relay closes, and ${String(drainMs)} ms to drain are over`);
  }
}

/** No handler is registered for a message's topic: it fails and is tried again. Code `NO_HANDLER`. */
export class NoHandlerError extends QuorateError {
  static override readonly brand: string = '@quorate/outbox-and-event-sync#NoHandlerError';

  constructor(topic: string, known: readonly string[]) {
    super('NO_HANDLER', `no handler for topic ${JSON.stringify(topic)}; there are: ${known.join(', ')}`);
  }
}

/** A publisher returned something other than one outcome per message. Code `INVALID_OUTCOME`. */
export class InvalidOutcomeError extends QuorateError {
  static override readonly brand: string = '@quorate/outbox-and-event-sync#InvalidOutcomeError';

  constructor(message: string) {
    super('INVALID_OUTCOME', message);
  }
}
