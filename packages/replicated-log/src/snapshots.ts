import type { LogStorage, SnapshotMeta, StagedSnapshot } from '@quorate/durable-log';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { type NodeId, receiveBlobs, sendBlob, type Transport } from '@quorate/transport';
import { ChunkReader } from './chunks.js';
import type { ConsensusCore, MessageCodec } from './contract.js';
import { ReplicatedLogError } from './errors.js';

/** What moving snapshots needs of its node. */
export interface SnapshotHost<M> {
  readonly core: ConsensusCore<M>;
  readonly codec: MessageCodec<M>;
  readonly transport: Transport;
  readonly storage: LogStorage;
  readonly channel: string;
  readonly chunkBytes: number;
  readonly chunkTimeoutMs: number;
  /** All chunks are staged: the core is asked. Returns whether it installs the snapshot. */
  arrived(from: NodeId, message: M, staged: StagedSnapshot): boolean;
  /** Effects may be there to be taken. */
  wake(): void;
}

const VERSION = 1;
const MAX_HEADER_BYTES = 1_048_576;
/** A heartbeat waits behind no more than these; the second is there so that the line is not idle for a round trip. */
const CHUNKS_UNDER_WAY = 2;

/**
 * Sends the storage's snapshot to peers, and receives theirs. Chunks travel beside the messages of the core, in
 * pieces that the receiver asks for, so that heartbeats pass between them.
 */
export class Snapshots<M> {
  readonly #host: SnapshotHost<M>;
  readonly #sending = new Map<NodeId, AbortController>();
  readonly #stop = new AbortController();
  readonly #leave: () => void;

  constructor(host: SnapshotHost<M>) {
    this.#host = host;
    this.#leave = receiveBlobs(
      host.transport,
      `${host.channel}.snapshot`,
      async ({ from, chunks, signal }) => this.#receive(from, chunks, signal),
      { idleTimeoutMs: host.chunkTimeoutMs, maxConcurrent: 2 },
    );
  }

  /** Sends the newest snapshot; the core learns how that went. */
  send(to: NodeId): void {
    if (this.#sending.has(to)) return;
    const controller = new AbortController();
    this.#sending.set(to, controller);
    const { core } = this.#host;
    void this.#sendTo(to, controller.signal)
      .catch(() => false)
      .then((sent) => {
        this.#sending.delete(to);
        if (this.#stop.signal.aborted) return;
        core.reportSnapshot(to, sent ? 'finished' : 'failed');
        this.#host.wake();
      });
  }

  close(): void {
    this.#stop.abort(new Error('the node is stopped'));
    for (const controller of this.#sending.values()) controller.abort(this.#stop.signal.reason);
    this.#leave();
  }

  async #sendTo(to: NodeId, signal: AbortSignal): Promise<boolean> {
    const { core, codec, transport, storage, channel, chunkBytes, chunkTimeoutMs } = this.#host;
    const snapshot = await storage.openSnapshot();
    const message = snapshot && core.snapshotMessage(to, snapshot.meta);
    if (snapshot === undefined || message === undefined) return false;
    const header = encodeHeader(snapshot.meta, codec.encode(message));
    await sendBlob(transport, to, `${channel}.snapshot`, withHeader(header, snapshot.chunks()), {
      chunkBytes,
      window: CHUNKS_UNDER_WAY,
      timeoutMs: chunkTimeoutMs,
      signal,
    });
    return true;
  }

  async #receive(from: NodeId, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const { codec, storage } = this.#host;
    const reader = new ChunkReader(chunks);
    const size = new ByteReader(await reader.take(4)).u32();
    if (size > MAX_HEADER_BYTES) {
      throw new ReplicatedLogError('INVALID_SNAPSHOT', `a snapshot header of ${String(size)} bytes`, {
        definite: true,
      });
    }
    const { meta, message } = decodeHeader(await reader.take(size), codec);
    const staged = await storage.stageSnapshot(meta, reader.rest(), {
      signal: AbortSignal.any([signal, this.#stop.signal]),
    });
    if (this.#stop.signal.aborted || !this.#host.arrived(from, message, staged)) await staged.discard();
  }
}

function encodeHeader(meta: SnapshotMeta, message: Uint8Array): Uint8Array {
  const body = new ByteWriter(message.length + 64)
    .u8(VERSION)
    .varint(meta.index)
    .varint(meta.term)
    .bytes(meta.membership)
    .bytes(message)
    .finish();
  return new ByteWriter(body.length + 4).u32(body.length).raw(body).finish();
}

function decodeHeader<M>(bytes: Uint8Array, codec: MessageCodec<M>): { meta: SnapshotMeta; message: M } {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail('a snapshot of an unknown version', 0);
  const meta = { index: reader.varint(), term: reader.varint(), membership: reader.bytes() };
  const message = codec.decode(reader.bytes());
  reader.end();
  return { meta, message };
}

async function* withHeader(
  header: Uint8Array,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield header;
  yield* chunks;
}
