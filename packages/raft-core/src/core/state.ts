import type { Entry, Index, PersistBatch, SnapshotMeta, Term } from '@quorate/durable-log';
import type { Effects, Envelope, Result } from '@quorate/replicated-log';
import { InvalidOptionError, seededRandom } from '@quorate/runtime';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import type { NodeId } from '@quorate/transport';
import type { RaftMessage } from '../messages.js';
import type { CheckedOptions } from '../options.js';
import { RaftLog } from './log.js';
import {
  type Configuration,
  decodeConfiguration,
  fromMembership,
  isVoter,
  members,
  NOBODY,
} from './membership.js';
import { Progress } from './progress.js';
import { Forwards } from './proposals.js';
import { Reads, wantsRound } from './reads.js';
import type { Voters } from './quorum.js';

/** What a node is at the moment. A learner and a witness are followers. */
export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/** Messages that were dropped, by reason. */
export interface Dropped {
  /** From a node that is not in the configuration and has no reason to speak. */
  unknownNode: number;
  /** Of a term that is over. */
  staleTerm: number;
  /** With indices, terms or sizes that no correct node would send. */
  impossible: number;
  /** Commands forwarded twice. */
  duplicate: number;
}

/** What counts on this node once it is durable: its own vote, and its own copy of entries. */
interface OwnPromise {
  readonly seq: number;
  readonly term: Term;
  readonly vote: boolean;
  /** Entries up to here were in the write. Lowered when a later write truncates them. */
  last: Index;
}

const STATE_VERSION = 1;

/**
 * Everything that a raft node knows, and the effects that it has not handed out. The modules beside this one are
 * the rules that work on it; each has one subject.
 */
export class RaftState {
  readonly id: NodeId;
  readonly options: CheckedOptions;
  readonly log: RaftLog;
  readonly random: () => number;
  readonly dropped: Dropped = { unknownNode: 0, staleTerm: 0, impossible: 0, duplicate: 0 };

  // Figure 2, persistent state
  term: Term = 0;
  vote: NodeId | undefined;

  role: Role = 'follower';
  leader: NodeId | undefined;
  configuration: Configuration;
  voters: Voters = { incoming: [], outgoing: [] };

  /** Ticks since this node last heard from a leader, campaigned, or, as leader, checked its quorum. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  electionTimeout = 0;
  /** Ticks since the start of this node. */
  ticks = 0;

  // A follower's
  /** The last answer to a leader that said up to where the logs match. */
  readonly accepted: { term: Term; match: Index } = { term: 0, match: 0 };

  // A candidate's
  votes = new Map<NodeId, boolean>();

  readonly reads = new Reads();
  readonly forwards = new Forwards();

  // A leader's
  progress = new Map<NodeId, Progress>();
  transferee: NodeId | undefined;
  transferElapsed = 0;
  /** Whether it has told a node of this term to campaign at once. */
  askedToCampaign = false;
  /** The index of the newest configuration entry in the log, applied or not. */
  configurationIndex: Index = 0;
  uncommittedBytes = 0;
  /** Whether peers may be behind: messages to them are made when the effects are taken, so that they batch. */
  replicationPending = false;

  // Effects
  seq = 0;
  sendNow: Envelope<RaftMessage>[] = [];
  sendAfterPersist: Envelope<RaftMessage>[] = [];
  sendSnapshots: NodeId[] = [];
  results: Result[] = [];
  installSnapshot: SnapshotMeta | undefined;
  /** The snapshot that the state machine is being replaced by; nothing behind it is handed out before. */
  installing: Index = 0;
  hardStateChanged = false;
  /** The commit index in the last hard state that was handed out. */
  persistedCommit: Index;
  truncateFrom: Index | undefined;
  /** Entries up to here were handed out to be written. */
  handedToStorage: Index;
  /** Entries up to here were handed out to be applied. */
  handedToApply: Index;
  applyingBytes = 0;
  voteAfterPersist = false;
  /** The beginning of the last hard state that was encoded. */
  #encoded:
    { readonly term: Term; readonly vote: NodeId | undefined; readonly bytes: Uint8Array } | undefined;
  readonly promises: OwnPromise[] = [];

  constructor(options: CheckedOptions) {
    this.options = options;
    this.id = options.id;
    this.random = seededRandom(options.seed);
    const { recovered } = options;
    const snapshot = recovered?.loaded.snapshot;
    this.log = recoverLog(options);
    this.configuration =
      snapshot !== undefined
        ? decodeConfiguration(snapshot.membership)
        : options.membership.voters.length > 0
          ? fromMembership(options.membership)
          : NOBODY;
    if (recovered !== undefined && recovered.loaded.state.length > 0)
      this.#decodeHardState(recovered.loaded.state);
    // A crash between a snapshot's arrival and the write behind it leaves the term behind; no vote was cast in it.
    if (this.log.lastTerm > this.term) this.enterTerm(this.log.lastTerm);
    for (const entry of recovered?.entries ?? []) {
      if (entry.kind !== 'config') continue;
      // Better now than when it comes to be applied.
      decodeConfiguration(entry.data);
      this.configurationIndex = entry.index;
    }
    this.handedToStorage = this.log.last;
    this.handedToApply = this.log.applied;
    this.persistedCommit = this.log.commit;
    this.setConfiguration(this.configuration);
    this.resetElectionTimeout();
  }

  setConfiguration(configuration: Configuration): void {
    this.configuration = configuration;
    this.voters = { incoming: configuration.voters, outgoing: configuration.outgoing };
    if (this.role === 'leader') this.trackMembers();
  }

  /** Gives every member a progress, and takes it from those that are none. */
  trackMembers(): void {
    const present = members(this.configuration);
    for (const id of this.progress.keys()) if (!present.has(id)) this.progress.delete(id);
    for (const id of present) {
      if (this.progress.has(id)) continue;
      const { maxInflightMessages, maxInflightBytes } = this.options;
      this.progress.set(id, new Progress(this.log.last + 1, true, maxInflightMessages, maxInflightBytes));
    }
  }

  get isVoter(): boolean {
    return isVoter(this.configuration, this.id);
  }

  /** Whether this node may lead: it votes, and it has a state machine. */
  get isElectable(): boolean {
    return this.isVoter && !this.configuration.witnesses.includes(this.id);
  }

  resetElectionTimeout(): void {
    const { electionTicks } = this.options;
    this.electionTimeout = electionTicks + Math.floor(this.random() * electionTicks);
  }

  /** Enters a term, in which this node has not voted. */
  enterTerm(term: Term): void {
    if (term === this.term) return;
    this.term = term;
    this.vote = undefined;
    this.hardStateChanged = true;
  }

  send(to: NodeId, message: RaftMessage): void {
    this.sendNow.push({ to, message });
  }

  /** Sends once everything that is true of this node now is durable. */
  promise(to: NodeId, message: RaftMessage): void {
    this.sendAfterPersist.push({ to, message });
  }

  /** Removes entries that conflict with a leader's, and with them what this node promised about them. */
  truncate(from: Index): void {
    this.log.truncate(from);
    this.truncateFrom = Math.min(this.truncateFrom ?? from, from);
    this.handedToStorage = Math.min(this.handedToStorage, from - 1);
    // An earlier write of the same entry no longer stands for it: the truncation will reach the disk behind it.
    for (const own of this.promises) own.last = Math.min(own.last, from - 1);
    if (this.configurationIndex >= from) this.configurationIndex = this.#lastConfigurationBelow(from);
  }

  /** What is to be written, and the promises that hold once it is. Called once for each take. */
  takePersist(seq: number): { batch: PersistBatch | undefined; mustSync: boolean } {
    const from = this.handedToStorage + 1;
    const entries =
      from > this.log.last ? NONE : this.log.slice(from, this.log.last + 1, Number.MAX_SAFE_INTEGER);
    const { truncateFrom } = this;
    // The commit index goes along with entries. A configuration is proposed only once the one before it is applied,
    // so whoever holds it was told then that the one before is committed. Forgetting that in a restart would let a
    // node campaign by a configuration two changes back, whose majority need not overlap the present one.
    const changed =
      this.hardStateChanged ||
      this.voteAfterPersist ||
      (entries.length > 0 && this.log.commit > this.persistedCommit);
    if (entries.length === 0 && truncateFrom === undefined && !changed) return NOTHING_TO_PERSIST;
    this.promises.push({
      seq,
      term: this.term,
      vote: this.voteAfterPersist,
      last: this.log.last,
    });
    this.handedToStorage = this.log.last;
    this.truncateFrom = undefined;
    this.hardStateChanged = false;
    this.voteAfterPersist = false;
    if (changed) this.persistedCommit = this.log.commit;
    const batch: Writable<PersistBatch> = { entries };
    if (changed) batch.state = this.#encodeHardState();
    if (truncateFrom !== undefined) batch.truncateFrom = truncateFrom;
    return { batch, mustSync: true };
  }

  /** The committed entries that may be applied next. */
  takeCommitted(): readonly Entry[] {
    const { log } = this;
    if (this.handedToApply >= log.commit || this.installing > log.applied) return NONE;
    const room = this.options.maxApplyingBytes - this.applyingBytes;
    if (room <= 0 && log.applied < this.handedToApply) return NONE;
    const entries = log.slice(this.handedToApply + 1, log.commit + 1, Math.max(room, 1));
    for (const { data } of entries) this.applyingBytes += data.length;
    this.handedToApply += entries.length;
    return entries;
  }

  takeEffects(): Effects<RaftMessage> {
    const seq = ++this.seq;
    const { batch, mustSync } = this.takePersist(seq);
    // Written out: this runs for every message, and spreading what is optional costs more than the rest of it.
    const effects: Writable<Effects<RaftMessage>> = {
      seq,
      mustSync,
      sendNow: NONE,
      sendAfterPersist: NONE,
      sendSnapshots: NONE,
      committed: this.takeCommitted(),
      results: NONE,
    };
    if (this.installSnapshot !== undefined) effects.installSnapshot = this.installSnapshot;
    if (batch !== undefined) effects.persist = batch;
    this.installSnapshot = undefined;
    if (this.sendNow.length > 0) {
      effects.sendNow = this.sendNow;
      this.sendNow = [];
    }
    if (this.sendAfterPersist.length > 0) {
      effects.sendAfterPersist = this.sendAfterPersist;
      this.sendAfterPersist = [];
    }
    if (this.sendSnapshots.length > 0) {
      effects.sendSnapshots = this.sendSnapshots;
      this.sendSnapshots = [];
    }
    if (this.results.length > 0) {
      effects.results = this.results;
      this.results = [];
    }
    return effects;
  }

  hasEffects(): boolean {
    return (
      this.sendNow.length > 0 ||
      this.sendAfterPersist.length > 0 ||
      this.results.length > 0 ||
      this.sendSnapshots.length > 0 ||
      this.replicationPending ||
      wantsRound(this) ||
      this.handedToStorage < this.log.last ||
      this.truncateFrom !== undefined ||
      this.hardStateChanged ||
      this.voteAfterPersist ||
      this.installSnapshot !== undefined ||
      (this.handedToApply < this.log.commit &&
        this.installing <= this.log.applied &&
        (this.applyingBytes < this.options.maxApplyingBytes || this.log.applied === this.handedToApply))
    );
  }

  #lastConfigurationBelow(from: Index): Index {
    for (let at = from - 1; at >= this.log.first; at--) {
      if (this.log.entry(at)?.kind === 'config') return at;
    }
    return 0;
  }

  #encodeHardState(): Uint8Array {
    let encoded = this.#encoded;
    // All but the commit index stays the same for as long as a leader leads.
    if (encoded?.term !== this.term || encoded.vote !== this.vote) {
      const bytes = new ByteWriter(32)
        .u8(STATE_VERSION)
        .varint(this.term)
        .string(this.vote ?? '')
        .finish();
      encoded = this.#encoded = { term: this.term, vote: this.vote, bytes };
    }
    return new ByteWriter(encoded.bytes.length + 8).raw(encoded.bytes).varint(this.log.commit).finish();
  }

  #decodeHardState(bytes: Uint8Array): void {
    const reader = new ByteReader(bytes);
    if (reader.u8() !== STATE_VERSION) reader.fail('a hard state of an unknown version', 0);
    this.term = reader.varint();
    const vote = reader.string(255);
    this.vote = vote === '' ? undefined : vote;
    const commit = reader.varint();
    reader.end();
    // The commit index is written along with other state, so it may lag; it never leads.
    if (commit > this.log.last) reader.fail(`a commit index of ${String(commit)} behind the last entry`, 0);
    this.log.commit = Math.max(this.log.commit, commit);
  }
}

/** The log as the storage had it. */
function recoverLog({ recovered }: CheckedOptions): RaftLog {
  if (recovered === undefined) return new RaftLog(undefined, [], { index: 0, term: 0 });
  const { loaded, entries } = recovered;
  const { first, snapshot } = loaded;
  if (first === 1) return new RaftLog(snapshot, entries, { index: 0, term: 0 });
  if (snapshot?.index === first - 1) return new RaftLog(snapshot, entries, snapshot);
  // The term of the entry before the first is gone, so the first stands in for it.
  const [base, ...rest] = entries;
  if (base === undefined)
    throw new InvalidOptionError('recovered.entries', entries, 'all from loaded.first on');
  return new RaftLog(snapshot, rest, base);
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const NONE: readonly never[] = Object.freeze([]);
const NOTHING_TO_PERSIST = { batch: undefined, mustSync: false } as const;
