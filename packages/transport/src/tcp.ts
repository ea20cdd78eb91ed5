/**
 * Links over TCP and TLS.
 *
 * @packageDocumentation
 */
export type { RefusalCode } from './core/handshake-messages.js';
export {
  tcpEvents,
  type TcpDownEvent,
  type TcpRefusedEvent,
  type TcpUnreachableEvent,
  type TcpUpEvent,
} from './tcp-events.js';
export { createTcpLink } from './tcp-link.js';
export type {
  PeerAddress,
  SharedSecret,
  TcpAuth,
  TcpLink,
  TcpLinkOptions,
  TcpTlsOptions,
} from './tcp-options.js';
export { TcpListenError } from './tcp-sockets.js';
