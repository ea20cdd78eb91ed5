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
