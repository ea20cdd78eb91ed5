import {
  abortable,
  choiceOption,
  deadline,
  DeadlineError,
  numberOption,
  type Runtime,
  seededRandom,
  sleep,
  type Timer,
} from '@quorate/runtime';
import type {
  Capabilities,
  Message,
  NodeId,
  PeerEvent,
  PeerStatus,
  RequestOptions,
  SendOutcome,
  Transport,
  Unsubscribe,
} from './contract.js';
import type { Responder } from './core/channels.js';
import { TransportError } from './errors.js';
import { Progress } from './progress.js';
import { aborted, sessionEnded, timedOut } from './request-errors.js';
import { SignalWatch } from './signals.js';

/** What goes wrong, and how often. Probabilities are per message, from 0 to 1; what is left out does not happen. */
export interface FaultPlan {
  /** Probability that a message, a request or a reply is lost. The sender sees `queued`, the caller a `TIMEOUT`. */
  readonly loss?: number;
  /** Probability that a message arrives twice. Requests do not: a transport drops the second one itself. */
  readonly duplicate?: number;
  /** Probability that a message is held back, so that later ones overtake it. */
  readonly reorder?: number;
  /**
   * How long a message is held back at most, in milliseconds.
   * @defaultValue 20
   */
  readonly reorderMs?: number;
  /** Probability that one bit of a body is flipped. */
  readonly corrupt?: number;
  /** How long each message is under way, on top of what the medium takes. */
  readonly delay?: {
    readonly minMs: number;
    readonly meanMs: number;
    readonly dist: 'constant' | 'uniform' | 'exponential';
  };
  /** Probability that a message finds the way to its peer clogged from now on, for `meanMs` on average. */
  readonly clog?: { readonly probability: number; readonly meanMs: number };
}

const DEFAULT_REORDER_MS = 20;
/** So many bytes may be held back for one peer; more are `dropped-full`. */
const MAX_HELD_BYTES = 16 * 1024 * 1024;

/**
 * A transport that loses, repeats, delays, reorders and corrupts what it sends, as `plan` says; what it receives it
 * leaves alone, so wrap the other side too for faults in both directions. Replies are on their way back here, and
 * suffer like requests. The same seed and the same calls give the same faults. Messages to oneself are spared.
 *
 * Throws `InvalidOptionError` for a plan that cannot be honoured. Starting and closing it starts and closes `inner`.
 */
export function withFaults(inner: Transport, plan: FaultPlan, seed: number): Transport {
  return new FaultyTransport(inner, plan, seededRandom(seed));
}

/** What happens to one message. */
interface Fate {
  readonly lost: boolean;
  readonly delayMs: number;
}

interface Held {
  readonly timer: Timer;
  readonly bytes: number;
}

class FaultyPeer {
  /** Aborts when the session ends, and with it what is held back. */
  readonly ended = new AbortController();
  readonly held = new Set<Held>();
  heldBytes = 0;
  cloggedUntilMs = 0;
  /** There while the queue below is known to be full. */
  room: Promise<void> | undefined;
  /** Made when something was released, or the session ended. */
  readonly progress = new Progress();

  release(held: Held): void {
    if (!this.held.delete(held)) return;
    this.heldBytes -= held.bytes;
    this.progress.made();
  }

  end(): void {
    for (const held of this.held) held.timer.cancel();
    this.held.clear();
    this.heldBytes = 0;
    this.ended.abort();
    this.progress.made();
  }
}

class FaultyTransport implements Transport {
  readonly self: NodeId;
  readonly capabilities: Capabilities;
  readonly runtime: Runtime;
  readonly #inner: Transport;
  readonly #plan: Required<Omit<FaultPlan, 'delay' | 'clog'>>;
  readonly #delay: FaultPlan['delay'];
  readonly #clog: FaultPlan['clog'];
  readonly #random: () => number;
  readonly #signals = new SignalWatch();
  readonly #peers = new Map<NodeId, FaultyPeer>();

  constructor(inner: Transport, plan: FaultPlan, random: () => number) {
    const probability = (option: string, value = 0): number => numberOption(option, value, { max: 1 });
    const { delay, clog, reorderMs = DEFAULT_REORDER_MS } = plan;
    if (delay !== undefined) {
      numberOption('delay.minMs', delay.minMs);
      numberOption('delay.meanMs', delay.meanMs, { min: delay.minMs });
      choiceOption('delay.dist', delay.dist, ['constant', 'uniform', 'exponential']);
    }
    if (clog !== undefined) {
      probability('clog.probability', clog.probability);
      numberOption('clog.meanMs', clog.meanMs);
    }
    this.#plan = {
      loss: probability('loss', plan.loss),
      duplicate: probability('duplicate', plan.duplicate),
      reorder: probability('reorder', plan.reorder),
      reorderMs: numberOption('reorderMs', reorderMs),
      corrupt: probability('corrupt', plan.corrupt),
    };
    this.#delay = delay;
    this.#clog = clog;
    this.#inner = inner;
    this.#random = random;
    this.self = inner.self;
    this.runtime = inner.runtime;
    const { reorder, duplicate } = this.#plan;
    const inOrder = reorder === 0 && duplicate === 0 && (delay === undefined || delay.dist === 'constant');
    this.capabilities = {
      ...inner.capabilities,
      ordering: inOrder ? inner.capabilities.ordering : 'none',
      duplicates: duplicate === 0 ? inner.capabilities.duplicates : 'possible',
    };
    inner.onPeer((event) => {
      this.#peers.get(event.peer)?.end();
      this.#peers.delete(event.peer);
      if (event.type === 'up') this.#peers.set(event.peer, new FaultyPeer());
    });
  }

  start(options?: { readonly signal?: AbortSignal }): Promise<void> {
    return this.#inner.start(options);
  }

  send(to: NodeId, channel: string, body: Uint8Array): SendOutcome {
    const peer = this.#peers.get(to);
    // Who is not there cannot be reached, and a body that is too large is not held back first.
    if (peer === undefined || body.length > this.capabilities.maxPayload)
      return this.#inner.send(to, channel, body);
    const fate = this.#draw(peer);
    const copies = this.#happens(this.#plan.duplicate) ? [fate, this.#draw(peer)] : [fate];
    const outcomes = copies.map((copy) => this.#pass(peer, to, channel, this.#corrupted(body), copy));
    return outcomes[0] ?? 'queued';
  }

  broadcast(channel: string, body: Uint8Array, to?: Iterable<NodeId>): number {
    const receivers = to === undefined ? this.#inner.peers().map(({ id }) => id) : new Set(to);
    let queued = 0;
    for (const peer of receivers) {
      if (peer !== this.self && this.send(peer, channel, body) === 'queued') queued++;
    }
    return queued;
  }

  async request(to: NodeId, channel: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    const peer = this.#peers.get(to);
    if (peer === undefined || options.signal?.aborted === true || !(options.timeoutMs > 0)) {
      return this.#inner.request(to, channel, body, options);
    }
    const either = this.#signals.link(options.signal, peer.ended.signal);
    const limit = deadline(this.runtime, options.timeoutMs, { signal: either.signal });
    const { signal } = limit;
    try {
      const fate = this.#draw(peer);
      let sent = this.#corrupted(body);
      if (fate.lost || fate.delayMs > 0) {
        // The caller may use its buffer again while the request is held back.
        sent = new Uint8Array(sent);
        await this.#suffer(fate, signal);
      }
      const answer = await this.#inner.request(to, channel, sent, {
        timeoutMs: limit.remainingMs(),
        signal,
      });
      await this.#suffer(this.#draw(peer), signal);
      return this.#corrupted(answer);
    } catch (error) {
      const subject = { peer: to, channel };
      // Whatever came first here, the caller of a real network could not know whether the request had left.
      if (
        signal.reason instanceof DeadlineError ||
        (error instanceof TransportError && error.code === 'TIMEOUT')
      ) {
        throw timedOut(options.timeoutMs, subject, true);
      }
      if (options.signal !== undefined && isAborted(options.signal))
        throw aborted(options.signal.reason, subject, true);
      if (peer.ended.signal.aborted && !(error instanceof TransportError && error.code !== 'ABORTED')) {
        throw sessionEnded('PEER_DOWN', subject);
      }
      throw error;
    } finally {
      limit[Symbol.dispose]();
      either[Symbol.dispose]();
    }
  }

  async writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    const peer = this.#peers.get(to);
    const waits = (): Promise<void> | undefined =>
      peer === undefined || peer.ended.signal.aborted || signal?.aborted === true
        ? undefined
        : peer.heldBytes >= MAX_HELD_BYTES
          ? peer.progress.next()
          : peer.room;
    // An abort ends the wait here, and is reported by the wait below.
    for (let wait = waits(); wait !== undefined; wait = waits()) {
      await abortable(wait, signal).catch(() => undefined);
    }
    await this.#inner.writable(to, signal);
  }

  subscribe(channel: string, handle: (message: Message) => void): Unsubscribe {
    return this.#inner.subscribe(channel, handle);
  }

  respond(channel: string, handle: Responder): Unsubscribe {
    return this.#inner.respond(channel, handle);
  }

  peers(): readonly PeerStatus[] {
    return this.#inner.peers().map((status) => {
      const heldBytes = this.#peers.get(status.id)?.heldBytes ?? 0;
      return { ...status, queuedBytes: status.queuedBytes + heldBytes };
    });
  }

  onPeer(listen: (event: PeerEvent) => void): Unsubscribe {
    return this.#inner.onPeer(listen);
  }

  async close(options?: { readonly drainMs?: number }): Promise<void> {
    await this.#inner.close(options);
    for (const peer of this.#peers.values()) peer.end();
    this.#peers.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #happens(probability: number): boolean {
    return probability > 0 && this.#random() < probability;
  }

  #draw(peer: FaultyPeer): Fate {
    const { loss, reorder, reorderMs } = this.#plan;
    const clog = this.#clog;
    const now = this.runtime.monotonic();
    let delayMs = this.#delay === undefined ? 0 : this.#delayMs(this.#delay);
    if (this.#happens(reorder)) delayMs += this.#random() * reorderMs;
    if (clog !== undefined && this.#happens(clog.probability)) {
      peer.cloggedUntilMs = Math.max(peer.cloggedUntilMs, now + this.#exponential(clog.meanMs));
    }
    return { lost: this.#happens(loss), delayMs: Math.max(delayMs, peer.cloggedUntilMs - now) };
  }

  #delayMs({ minMs, meanMs, dist }: NonNullable<FaultPlan['delay']>): number {
    if (dist === 'constant') return meanMs;
    // Uniform between the minimum and as far above the mean as that is below.
    if (dist === 'uniform') return minMs + this.#random() * 2 * (meanMs - minMs);
    return minMs + this.#exponential(meanMs - minMs);
  }

  #exponential(meanMs: number): number {
    return -Math.log(1 - this.#random()) * meanMs;
  }

  #corrupted(body: Uint8Array): Uint8Array {
    if (body.length === 0 || !this.#happens(this.#plan.corrupt)) return body;
    const changed = new Uint8Array(body);
    const bit = Math.floor(this.#random() * body.length * 8);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return changed;
  }

  #pass(peer: FaultyPeer, to: NodeId, channel: string, body: Uint8Array, fate: Fate): SendOutcome {
    if (fate.lost) return 'queued';
    if (fate.delayMs <= 0) {
      const outcome = this.#inner.send(to, channel, body);
      if (outcome === 'dropped-full') void this.#room(peer, to);
      return outcome;
    }
    // Holding back is no way around a full queue.
    if (peer.room !== undefined || peer.heldBytes + body.length > MAX_HELD_BYTES) return 'dropped-full';
    const kept = new Uint8Array(body);
    const held: Held = {
      bytes: kept.length,
      timer: this.runtime.setTimer(fate.delayMs, () => void this.#release(peer, held, to, channel, kept)),
    };
    peer.held.add(held);
    peer.heldBytes += held.bytes;
    return 'queued';
  }

  /** Sends what was held back; a full queue holds it back further. */
  async #release(peer: FaultyPeer, held: Held, to: NodeId, channel: string, body: Uint8Array): Promise<void> {
    while (!peer.ended.signal.aborted && this.#inner.send(to, channel, body) === 'dropped-full') {
      await this.#room(peer, to);
    }
    peer.release(held);
  }

  /** One wait for all who found the queue full. Resolves when there is room, or the session is over. */
  #room(peer: FaultyPeer, to: NodeId): Promise<void> {
    const over = (): void => {
      peer.room = undefined;
    };
    return (peer.room ??= this.#inner.writable(to, peer.ended.signal).then(over, over));
  }

  /** A request or its reply on the way. */
  async #suffer({ lost, delayMs }: Fate, signal: AbortSignal): Promise<void> {
    if (lost) await sleep(this.runtime, Number.MAX_SAFE_INTEGER, { signal, keepAlive: false });
    else if (delayMs > 0) await sleep(this.runtime, delayMs, { signal, keepAlive: false });
  }
}

/** A function, because the compiler believes that a signal stays what it was found to be. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
