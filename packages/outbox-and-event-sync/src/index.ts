export type { PublishOutcome } from './core/delivery.js';
export { type DeadMessage, discardDead, listDead, type ListDeadOptions, redrive } from './dead.js';
export {
  InvalidMessageError,
  InvalidOutcomeError,
  LeaseLostError,
  NoHandlerError,
  OutboxNotMigratedError,
  RelayClosedError,
  RelayStateError,
} from './errors.js';
export {
  type RelayErrorEvent,
  relayErrors,
  relayFailed,
  type RelayFailedEvent,
  relayLeases,
  type RelayLeasesEvent,
  relaySettled,
  type RelaySettledEvent,
} from './events.js';
export { createInbox, type Inbox, type InboxOptions, type OnceResult, type PruneOptions } from './inbox.js';
export type { Message, OutgoingMessage, TopicMessage, Topics } from './message.js';
export { inboxMigrations, outboxMigrations, outboxMigrationsWith } from './migrations.js';
export { createOutbox, type Outbox, type OutboxOptions, type OutboxStatus } from './outbox.js';
export type { Handlers, MessageHandler, PublishBatch } from './publisher.js';
export { createRelay, type Relay, type RelayStatus } from './relay.js';
export type { HintSource, RelayOptions } from './relay-options.js';
export type { Transaction } from './transaction.js';
