import type { Index, LogStorage, StagedSnapshot } from '@quorate/durable-log';
import {
  abortable,
  deadline,
  DeadlineError,
  InvalidOptionError,
  numberOption,
  randomId,
} from '@quorate/runtime';
import type { NodeId, Transport, Unsubscribe } from '@quorate/transport';
import type {
  ConsensusCore,
  CoreStatus,
  Effects,
  Membership,
  MessageCodec,
  ReadLevel,
  Recovered,
  Result,
} from './contract.js';
import { type Command, encodeCommand, MAX_HEADER_BYTES } from './core/commands.js';
import { refusal, ReplicatedLogError, type ReplicatedLogErrorCode } from './errors.js';
import { nodeEvents } from './events.js';
import { type CheckedNodeOptions, checkNodeOptions, type NodeOptions } from './options.js';
import type { CallOptions, ReplicatedLog } from './replicated-log.js';
import { Replica } from './replica.js';
import { LogSession, type Session, type SessionOptions, type Untimed } from './session.js';
import { type Outcome, SessionMachine } from './session-machine.js';
import { Snapshots } from './snapshots.js';
import { StatusStream } from './status-stream.js';
import { Ticker } from './ticker.js';
import { WaitingCalls } from './waiting.js';
import { Writer } from './writer.js';

/**
 * Starts a node of a replicated log: loads the storage, restores the state machine, and joins the core to the
 * transport. Rejects with what the storage or the state machine throws; the storage is closed then. Like a server, a
 * node keeps the process alive until it stops.
 */
export async function startNode<M, S extends CoreStatus, R, Q, A>(
  options: NodeOptions<M, S, R, Q, A>,
): Promise<ReplicatedLog<R, Q, A, S>> {
  const checked = checkNodeOptions(options);
  const { storage, transport } = options;
  const loaded = await storage.load();
  try {
    const entries =
      loaded.last < loaded.first
        ? []
        : await storage.read(loaded.first, loaded.last + 1, Number.MAX_SAFE_INTEGER);
    const recovered: Recovered = { loaded, entries };
    const machine = new SessionMachine(options.stateMachine);
    const snapshot = await storage.openSnapshot();
    if (snapshot !== undefined) await machine.restore(snapshot.chunks());
    const seed = Math.floor(transport.runtime.random() * 2 ** 48);
    const core = options.core(recovered, seed);
    return new LogNode(core, machine, options, checked, loaded.snapshot?.index ?? 0);
  } catch (error) {
    await storage.close();
    throw error;
  }
}

/** Room for what a core and a transport put around one command. */
const MESSAGE_OVERHEAD_BYTES = 2_048;

class LogNode<M, S extends CoreStatus, R, Q, A> implements ReplicatedLog<R, Q, A, S> {
  readonly id: NodeId;
  readonly #core: ConsensusCore<M, S>;
  readonly #options: CheckedNodeOptions;
  readonly #codec: MessageCodec<M>;
  readonly #transport: Transport;
  readonly #storage: LogStorage;
  readonly #machine: SessionMachine<R, Q, A>;
  readonly #hasSessions: boolean;
  readonly #writer: Writer<M>;
  readonly #snapshots: Snapshots<M>;
  readonly #replica: Replica<M, R, Q, A>;
  readonly #proposals: WaitingCalls<Outcome<R>>;
  readonly #barriers: WaitingCalls<Index>;
  readonly #changes: WaitingCalls<Membership>;
  readonly #statuses: StatusStream<S>;
  readonly #stop = new AbortController();
  readonly #leave: Unsubscribe[] = [];
  /** Names the calls of this life of the node. */
  readonly #life: string;
  readonly #maxCommandBytes: number;
  #calls = 0;
  #refused = 0;
  readonly #ticker: Ticker;
  #pumpDue = false;
  #staged: StagedSnapshot | undefined;
  /** The change of membership whose joint configuration is being left. */
  #leaving: string | undefined;
  /** The change of membership that asked for a joint configuration itself. */
  #staysJoint: string | undefined;
  /** Who led when refused calls were last asked again. */
  #askedOf: NodeId | undefined;
  /** The command under way that only carries time. */
  #ticking = false;
  #closing: Promise<void> | undefined;

  constructor(
    core: ConsensusCore<M, S>,
    machine: SessionMachine<R, Q, A>,
    { codec, transport, storage, stateMachine }: NodeOptions<M, S, R, Q, A>,
    options: CheckedNodeOptions,
    applied: Index,
  ) {
    const { runtime, channel } = options;
    this.id = core.id;
    this.#core = core;
    this.#options = options;
    this.#codec = codec;
    this.#transport = transport;
    this.#storage = storage;
    this.#machine = machine;
    this.#hasSessions = stateMachine.results !== undefined;
    this.#life = `${core.id}/${randomId(runtime).slice(0, 12)}`;
    this.#maxCommandBytes = transport.capabilities.maxPayload - MESSAGE_OVERHEAD_BYTES - MAX_HEADER_BYTES;
    this.#proposals = new WaitingCalls(runtime, 'the proposal', true);
    this.#barriers = new WaitingCalls(runtime, 'the read', false);
    this.#changes = new WaitingCalls(runtime, 'the change of membership', true);
    this.#statuses = new StatusStream(() => core.status());
    this.#writer = new Writer(storage, {
      durable: (effects) => this.#durable(effects),
      staged: () => {
        const staged = this.#staged;
        this.#staged = undefined;
        return staged;
      },
      installed: async ({ installSnapshot }) => {
        if (installSnapshot !== undefined) await this.#replica.installed(installSnapshot);
        this.#wake();
      },
      failed: (error) => this.#fail('STORAGE_FAILED', 'the storage failed, and with it this node', error),
    });
    this.#replica = new Replica(
      {
        core,
        machine,
        storage,
        options,
        stopped: this.#stop.signal,
        installing: () => this.#writer.installing,
        outcome: (id, outcome) => this.#proposals.resolve(id, outcome),
        configured: (id) => this.#configurationApplied(id),
        reached: (index) => this.#barriers.reached(index),
        failed: (code, message, cause) => this.#fail(code, message, cause),
      },
      applied,
    );
    this.#snapshots = new Snapshots({
      core,
      codec,
      transport,
      storage,
      channel,
      chunkBytes: Math.min(options.snapshotChunkBytes, transport.capabilities.maxPayload / 2),
      chunkTimeoutMs: options.snapshotChunkTimeoutMs,
      arrived: (from, message, staged) => this.#arrived(from, message, staged),
      wake: () => this.#wake(),
    });
    this.#leave.push(
      transport.subscribe(channel, ({ from, body }) => this.#receive(from, body)),
      transport.onPeer((event) => {
        if (event.type !== 'down') return;
        core.reportUnreachable(event.peer);
        this.#wake();
      }),
    );
    this.#ticker = new Ticker(runtime, options.tickMs, {
      tick: () => this.#tick(),
      stalled: () => core.reportStall(),
    });
    this.#wake();
  }

  get refusedMessages(): number {
    return this.#refused;
  }

  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  async propose(data: Uint8Array, options: CallOptions = {}): Promise<R> {
    const outcome = await this.#proposeCommand({ kind: 'plain', data }, options);
    if (outcome.kind === 'result') return outcome.result;
    throw new Error(`a plain command ended as ${outcome.kind}`);
  }

  async read(query: Q, level: ReadLevel, options: CallOptions = {}): Promise<A> {
    if (level === 'stale') {
      this.#assertRunning();
    } else {
      const id = this.#nextId();
      await this.#call(this.#barriers, id, () => this.#askBarrier(id, level), options);
    }
    return this.#machine.query(query);
  }

  async openSession(options: SessionOptions = {}): Promise<Session<R>> {
    if (!this.#hasSessions) {
      throw new InvalidOptionError('stateMachine.results', undefined, 'given, for sessions to be of use');
    }
    const ttlMs = Math.ceil(numberOption('ttlMs', options.ttlMs ?? 60_000, { min: 1, max: 2 ** 40 }));
    const outcome = await this.#proposeCommand({ kind: 'open', ttlMs }, options);
    if (outcome.kind !== 'opened') {
      throw new ReplicatedLogError('QUEUE_FULL', 'there are as many sessions as there may be', {
        definite: true,
      });
    }
    const { runtime, timeoutMs } = this.#options;
    const host = {
      runtime,
      timeoutMs,
      stopped: this.#stop.signal,
      propose: (command: Untimed, within: CallOptions) => this.#proposeCommand(command, within),
    };
    return new LogSession(host, outcome.session, ttlMs);
  }

  changeMembership(next: Membership, options: CallOptions = {}): Promise<Membership> {
    const id = this.#nextId();
    if (next.outgoing !== undefined) this.#staysJoint = id;
    return this.#call(this.#changes, id, () => this.#core.changeMembership(next, id), options);
  }

  async transferLeadership(to: NodeId, options: CallOptions = {}): Promise<void> {
    this.#assertRunning();
    const before = this.#core.status();
    if (before.leader !== this.id) throw refusal('not-leader', before.leader);
    if (to === this.id) return;
    if (!before.membership.voters.includes(to) || before.membership.witnesses?.includes(to) === true) {
      throw refusal('config-invalid', this.id, `${JSON.stringify(to)} is no voter that may lead`);
    }
    const { timeoutMs = this.#options.timeoutMs, signal } = options;
    const statuses = this.#statuses.watch()[Symbol.asyncIterator]();
    const limit = deadline(this.#options.runtime, timeoutMs, { signal, what: 'the hand-over' });
    try {
      limit.signal.throwIfAborted();
      this.#core.transferLeadership(to);
      this.#wake();
      for (;;) {
        const next = await abortable(statuses.next(), limit.signal);
        if (next.done === true) throw refusal('closed');
        const { leader, term } = next.value;
        if (leader === to && term > before.term) return;
      }
    } catch (cause) {
      if (cause instanceof ReplicatedLogError) throw cause;
      const late = cause instanceof DeadlineError;
      const message = `${JSON.stringify(to)} did not take over ${late ? 'in time' : 'so far'}; it still may`;
      throw new ReplicatedLogError(late ? 'TIMEOUT' : 'ABORTED', message, { definite: false, cause });
    } finally {
      limit[Symbol.dispose]();
      void statuses.return?.();
    }
  }

  status(): Readonly<S> {
    return this.#core.status();
  }

  watch(): AsyncIterable<Readonly<S>> {
    return this.#statuses.watch();
  }

  async snapshot(): Promise<Index> {
    this.#assertRunning();
    return this.#replica.snapshot();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #nextId(): string {
    return `${this.#life}/${String(++this.#calls)}`;
  }

  #proposeCommand(command: Untimed, options: CallOptions): Promise<Outcome<R>> {
    const timed = { ...command, timeMs: Math.max(0, Math.floor(this.#options.runtime.now())) } as Command;
    const bytes = encodeCommand(timed);
    if (bytes.length > this.#maxCommandBytes) {
      const detail = `${String(bytes.length)} bytes, and the transport carries ${String(this.#maxCommandBytes)}`;
      return Promise.reject(refusal('too-large', undefined, detail));
    }
    const id = this.#nextId();
    return this.#call(this.#proposals, id, () => this.#core.propose([bytes], [id]), options, bytes.length);
  }

  #askBarrier(id: string, level: Exclude<ReadLevel, 'stale'>): void {
    if (typeof level === 'object') {
      this.#barriers.waitFor(id, level.atLeast);
      this.#barriers.reached(this.#replica.applied);
    } else {
      // A lease is a matter of time, and a process that was stopped may be asked before its timers run.
      if (level === 'lease') this.#ticker.catchUp();
      this.#core.readBarrier(id, level === 'lease' ? 'lease' : 'quorum');
    }
  }

  #call<T>(calls: WaitingCalls<T>, id: string, ask: () => void, options: CallOptions, bytes = 0): Promise<T> {
    if (this.#stop.signal.aborted) return Promise.reject(refusal('closed'));
    const { maxWaiting, maxWaitingBytes } = this.#options;
    if (calls.size >= maxWaiting || (calls.bytes > 0 && calls.bytes + bytes > maxWaitingBytes)) {
      return Promise.reject(refusal('queue-full'));
    }
    const { timeoutMs = this.#options.timeoutMs, signal } = options;
    const answer = calls.add(id, ask, { timeoutMs, signal, bytes });
    this.#wake();
    return answer;
  }

  #assertRunning(): void {
    if (this.#stop.signal.aborted) throw refusal('closed');
  }

  #tick(): void {
    this.#core.tick();
    this.#askAgain();
    this.#advanceTime();
    this.#wake();
  }

  /** Whoever leads brings replicated time to where something is due. */
  #advanceTime(): void {
    const { runtime } = this.#options;
    if (this.#ticking || !this.#machine.isDue(runtime.now()) || this.#core.status().leader !== this.id)
      return;
    this.#ticking = true;
    const done = (): void => {
      this.#ticking = false;
    };
    this.#proposeCommand({ kind: 'tick' }, {}).then(done, done);
  }

  #receive(from: NodeId, body: Uint8Array): void {
    let message: M;
    try {
      message = this.#codec.decode(body);
    } catch (error) {
      this.#refused++;
      if (nodeEvents.refused.active) nodeEvents.refused.publish({ node: this.id, from, error });
      return;
    }
    this.#core.step(from, message);
    this.#wake();
  }

  /** Takes effects at the end of this turn: what comes in together goes out together. */
  #wake(): void {
    if (this.#pumpDue || this.#stop.signal.aborted) return;
    this.#pumpDue = true;
    queueMicrotask(() => {
      this.#pumpDue = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (!this.#stop.signal.aborted && this.#core.hasEffects()) this.#execute(this.#core.takeEffects());
    if (this.#stop.signal.aborted) return;
    this.#statuses.update();
    // Another leader is worth asking at once; other reasons to ask again pass with the next tick.
    if (this.#core.status().leader !== this.#askedOf) this.#askAgain();
    if (this.#machine.isWitness && this.#askedOf === this.id) {
      const what = 'this node was started as a witness and leads: it is none by the membership';
      this.#fail('NO_STATE', what, undefined);
    }
  }

  #askAgain(): void {
    const { leader } = this.#core.status();
    this.#askedOf = leader;
    if (leader === undefined) return;
    const asked = [this.#proposals.askAgain(), this.#barriers.askAgain(), this.#changes.askAgain()];
    if (asked.includes(true)) this.#wake();
  }

  /** The order is that of the contract of {@link Effects}. */
  #execute(effects: Effects<M>): void {
    for (const { to, message } of effects.sendNow) this.#send(to, message);
    for (const to of effects.sendSnapshots) this.#snapshots.send(to);
    this.#writer.add(effects);
    if (effects.committed.length > 0) this.#replica.apply(effects.committed);
    for (const result of effects.results) this.#settle(result);
  }

  #send(to: NodeId, message: M): void {
    const bytes = this.#codec.encode(message);
    const { maxPayload } = this.#transport.capabilities;
    if (bytes.length > maxPayload) {
      // It would be made again and again, and the log would stand still without a word.
      const what = `the core made a message of ${String(bytes.length)} bytes, and the transport carries ${String(maxPayload)}: let it make smaller ones`;
      this.#fail('MESSAGE_TOO_LARGE', what, undefined);
      return;
    }
    // Whatever becomes of it: the protocols live with loss.
    this.#transport.send(to, this.#options.channel, bytes);
  }

  #durable(effects: Effects<M>): void {
    if (this.#stop.signal.aborted && this.#closing === undefined) return;
    this.#core.persisted(effects.seq);
    for (const { to, message } of effects.sendAfterPersist) this.#send(to, message);
    this.#wake();
  }

  #configurationApplied(id: string | undefined): void {
    const { membership } = this.#core.status();
    const change = id !== undefined && this.#changes.has(id) ? id : this.#leaving;
    if (change === undefined) return;
    if (membership.outgoing === undefined || change === this.#staysJoint) {
      this.#leaving = undefined;
      this.#changes.resolve(change, membership);
    } else {
      this.#leaving = change;
    }
  }

  #settle(result: Result): void {
    if (result.ok) {
      this.#barriers.waitFor(result.id, result.index);
      this.#barriers.reached(this.#replica.applied);
      return;
    }
    this.#proposals.refuse(result);
    this.#barriers.refuse(result);
    this.#changes.refuse(result);
  }

  #arrived(from: NodeId, message: M, staged: StagedSnapshot): boolean {
    // One at a time: the chunks of a second one, taken by the core before the first is in force, would be lost.
    if (this.#writer.installing || this.#stop.signal.aborted) return false;
    this.#staged = staged;
    this.#core.step(from, message);
    this.#pump();
    const taken = this.#staged !== staged;
    this.#staged = undefined;
    return taken;
  }

  #fail(code: ReplicatedLogErrorCode, message: string, cause: unknown): void {
    if (this.#stop.signal.aborted) return;
    const error = new ReplicatedLogError(code, message, { definite: false, cause });
    if (nodeEvents.failed.active) nodeEvents.failed.publish({ node: this.id, error });
    this.#halt(error);
    for (const calls of [this.#proposals, this.#barriers, this.#changes]) calls.fail(code, message, cause);
  }

  #halt(reason: Error): void {
    this.#stop.abort(reason);
    this.#ticker.stop();
    for (const leave of this.#leave.splice(0)) leave();
    this.#snapshots.close();
    this.#statuses.end();
  }

  async #close(): Promise<void> {
    const error = refusal('closed');
    if (!this.#stop.signal.aborted) this.#halt(error);
    for (const calls of [this.#proposals, this.#barriers, this.#changes]) {
      calls.fail('CLOSED', 'the node was closed', error);
    }
    await this.#writer.idle();
    await this.#replica.idle();
    await this.#storage.close();
  }
}
