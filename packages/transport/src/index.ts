export {
  type BlobSummary,
  type IncomingBlob,
  receiveBlobs,
  type ReceiveBlobsOptions,
  sendBlob,
  type SendBlobOptions,
} from './blob.js';
export {
  type Capabilities,
  type DownReason,
  FRAME_OVERHEAD_BYTES,
  type Link,
  type LinkEvents,
  type LinkPeer,
  type Message,
  type NodeId,
  type PeerEvent,
  type PeerStatus,
  type RequestContext,
  type RequestOptions,
  type SendOutcome,
  type Transport,
  type Unsubscribe,
} from './contract.js';
export { TransportError, type TransportErrorCode, type TransportErrorDetails } from './errors.js';
export {
  type FrameRefusedEvent,
  type HandlerFailedEvent,
  type MessageDroppedEvent,
  type PeerDownEvent,
  type PeerUpEvent,
  type RequestHandledEvent,
  type RequestSettledEvent,
  type TransportEvents,
  transportEvents,
} from './events.js';
export { type FaultPlan, withFaults } from './faults.js';
export { type FifoOptions, withFifo } from './fifo.js';
export { describeFrame, type FrameInfo } from './frame-info.js';
export { createMemoryNetwork, type MemoryNetwork, type MemoryNetworkOptions } from './memory.js';
export { namespace } from './namespace.js';
export { SendWindow } from './send-window.js';
export { createTransport, type TransportOptions } from './transport.js';
