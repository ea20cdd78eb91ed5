export { type CodecOptions, raftCodec } from './codec.js';
export type { Dropped, Role } from './core/state.js';
export type {
  Append,
  AppendAccepted,
  AppendRejected,
  Forward,
  ForwardRefused,
  Heartbeat,
  HeartbeatReply,
  RaftMessage,
  ReadReply,
  ReadRequest,
  Snapshot,
  TimeoutNow,
  Vote,
  VoteReply,
} from './messages.js';
export type { RaftOptions, Recovered } from './options.js';
export { createRaft, type PeerProgress, type RaftCore, type RaftStatus } from './raft.js';
