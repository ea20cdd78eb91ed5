import {
  EnvelopeReader,
  KIND_CANCEL,
  KIND_ERROR,
  KIND_MESSAGE,
  KIND_REQUEST,
  KIND_RESPONSE,
} from './core/envelope.js';

/** What a frame of the transport is, for links, proxies and simulators that treat frames by their kind. */
export interface FrameInfo {
  readonly kind: 'message' | 'request' | 'response' | 'error' | 'cancel';
  /** Of messages and requests. */
  readonly channel: string | undefined;
  /** Of all but messages: the request that it is, answers or cancels, among those of the asking side's session. */
  readonly id: number | undefined;
}

const KINDS = new Map<number, FrameInfo['kind']>([
  [KIND_MESSAGE, 'message'],
  [KIND_REQUEST, 'request'],
  [KIND_RESPONSE, 'response'],
  [KIND_ERROR, 'error'],
  [KIND_CANCEL, 'cancel'],
]);

/** Reads what a frame says about itself; nothing where it is no frame of this transport. The bytes may be hostile. */
export function describeFrame(frame: Uint8Array): FrameInfo | undefined {
  const reader = new EnvelopeReader();
  if (reader.read(frame) !== undefined) return undefined;
  const kind = KINDS.get(reader.kind);
  if (kind === undefined) return undefined;
  const named = kind === 'message' || kind === 'request';
  return {
    kind,
    channel: named ? decoder.decode(frame.subarray(reader.channelStart, reader.channelEnd)) : undefined,
    id: kind === 'message' ? undefined : reader.id,
  };
}

const decoder = new TextDecoder();
