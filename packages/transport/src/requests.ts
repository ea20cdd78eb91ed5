import type { Runtime } from '@quorate/runtime';
import type { NodeId, RequestContext } from './contract.js';
import { SlotTable } from './core/slots.js';
import { DeadlineEntry, type Deadlines } from './deadlines.js';
import type { TransportError } from './errors.js';
import { type Subject, timedOut } from './request-errors.js';
import type { Abortable } from './signals.js';

/** A request that this side made and that is not settled yet. */
export class PendingRequest extends DeadlineEntry implements Abortable {
  constructor(
    readonly peer: Peer,
    readonly id: number,
    readonly channel: string,
    readonly timeoutMs: number,
    readonly startedMs: number,
    readonly signal: AbortSignal | undefined,
    readonly resolve: (body: Uint8Array) => void,
    readonly reject: (error: TransportError) => void,
    readonly giveUp: (request: PendingRequest, code: 'TIMEOUT' | 'ABORTED') => void,
  ) {
    super();
  }

  get subject(): Subject {
    return { peer: this.peer.id, channel: this.channel };
  }

  expired(): void {
    this.giveUp(this, 'TIMEOUT');
  }

  aborted(): void {
    this.giveUp(this, 'ABORTED');
  }
}

/** A request of a peer while its handler is at work. */
export class InboundRequest extends DeadlineEntry implements RequestContext {
  readonly from: NodeId;
  readonly #peer: Peer;
  readonly #runtime: Runtime;
  readonly #deadlines: Deadlines;
  #controller: AbortController | undefined;
  #reason: TransportError | undefined;
  #finished = false;

  constructor(
    peer: Peer,
    readonly session: number,
    readonly id: number,
    readonly channel: string,
    readonly body: Uint8Array,
    readonly traceparent: string | undefined,
    readonly budgetMs: number,
    readonly startedMs: number,
    runtime: Runtime,
    deadlines: Deadlines,
  ) {
    super();
    this.from = peer.id;
    this.#peer = peer;
    this.#runtime = runtime;
    this.#deadlines = deadlines;
  }

  /** Made when it is first asked for: most handlers are quicker than their deadline and never look. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
      else if (!this.#finished) this.#deadlines.add(this, this.startedMs + this.budgetMs);
    }
    return this.#controller.signal;
  }

  remainingMs(): number {
    return Math.max(0, this.startedMs + this.budgetMs - this.#runtime.monotonic());
  }

  /** As seen from here: the one who asks is the peer. */
  get subject(): Subject {
    return { peer: this.from, channel: this.channel };
  }

  /**
   * Whether the answer can be sent: nobody cancelled, and the session is the one in which the request came. In the
   * next one the same id may stand for another request.
   */
  get answerable(): boolean {
    return this.#reason === undefined && this.#peer.session === this.session;
  }

  /** Whether somebody still waits for the answer. */
  get wanted(): boolean {
    return this.answerable && this.remainingMs() > 0;
  }

  /** Tells the handler that nobody waits any more. */
  abort(reason: TransportError): void {
    this.#deadlines.remove(this);
    if (this.#finished || this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /** The handler is done: its signal stays as it is. */
  finish(): void {
    this.#finished = true;
    this.#deadlines.remove(this);
  }

  expired(): void {
    this.abort(timedOut(this.budgetMs, this.subject, true));
  }
}

/** What a transport knows of a peer. */
export class Peer {
  /** `undefined` while there is none. */
  session: number | undefined;
  readonly pending: SlotTable<PendingRequest>;
  /** Requests of the present session whose handlers are at work, by request id. */
  readonly handling = new Map<number, InboundRequest>();
  /** Handlers at work, those of earlier sessions included. */
  running = 0;
  /** Frames of the present session that were refused. */
  refused = 0;

  /**
   * `firstId` is random: a reply that arrives after this process started anew must not meet a request of the same id.
   * `seen` is there on links that may deliver twice.
   */
  constructor(
    readonly id: NodeId,
    firstId: number,
    readonly seen: RecentIds | undefined,
  ) {
    this.pending = new SlotTable(firstId);
  }

  /** Whether nothing would be lost by forgetting this peer. */
  get forgettable(): boolean {
    return this.session === undefined && this.running === 0 && this.pending.size === 0;
  }
}

/**
 * The ids of a peer's last requests, so that a link that may deliver twice does not run a handler twice, nor run one
 * after its request was refused.
 */
export class RecentIds {
  readonly #ids = new Set<number>();

  constructor(readonly capacity: number) {}

  /** False when the id is among the last ones. */
  add(id: number): boolean {
    if (this.#ids.has(id)) return false;
    if (this.#ids.size >= this.capacity) {
      // A set iterates in the order of insertion: the first is the oldest.
      for (const oldest of this.#ids) {
        this.#ids.delete(oldest);
        break;
      }
    }
    this.#ids.add(id);
    return true;
  }
}
