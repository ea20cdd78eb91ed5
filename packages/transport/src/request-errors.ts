import type { NodeId, SendOutcome } from './contract.js';
import { FAULT_CLOSING, FAULT_HANDLER, FAULT_NO_HANDLER, FAULT_OVERLOADED } from './core/envelope.js';
import { TransportError } from './errors.js';

/** What a request was, for a message to a human. */
export interface Subject {
  readonly peer: NodeId;
  readonly channel: string;
}

function describe({ peer, channel }: Subject): string {
  return `the request on channel ${JSON.stringify(channel)} to ${JSON.stringify(peer)}`;
}

/** The request was never accepted by the link. */
export function notSent(outcome: Exclude<SendOutcome, 'queued'>, subject: Subject): TransportError {
  const what = describe(subject);
  const details = { definite: true, peer: subject.peer };
  switch (outcome) {
    case 'dropped-full':
      return new TransportError(
        'OVERLOADED',
        `${what} found the queue to that peer full; wait for writable()`,
        details,
      );
    case 'dropped-down':
      return new TransportError(
        'PEER_DOWN',
        `${what} was not sent: there is no session with that peer`,
        details,
      );
    case 'dropped-unknown':
      return new TransportError('UNKNOWN_PEER', `${what} was not sent: the link knows no such peer`, details);
    case 'dropped-closed':
      return notOpen(subject.peer);
  }
}

/** This transport takes no new work. */
export function notOpen(peer: NodeId | undefined): TransportError {
  return new TransportError('CLOSED', 'the transport is closed, or was never started', {
    definite: true,
    peer,
  });
}

/** The caller gave up; `sent` says whether the request had left by then. */
export function timedOut(timeoutMs: number, subject: Subject, sent: boolean): TransportError {
  return new TransportError('TIMEOUT', `${describe(subject)} had no answer within ${String(timeoutMs)} ms`, {
    definite: !sent,
    peer: subject.peer,
  });
}

/** The caller's signal aborted; `sent` says whether the request had left by then. */
export function aborted(reason: unknown, subject: Subject, sent: boolean): TransportError {
  return new TransportError('ABORTED', `${describe(subject)} was aborted by the caller`, {
    definite: !sent,
    peer: subject.peer,
    cause: reason,
  });
}

/** The session ended, or this transport closed, while the request was under way. */
export function sessionEnded(code: 'PEER_DOWN' | 'CLOSED', subject: Subject): TransportError {
  const why = code === 'CLOSED' ? 'this transport closed' : 'the session with that peer ended';
  return new TransportError(code, `${describe(subject)} was under way when ${why}`, {
    definite: false,
    peer: subject.peer,
  });
}

/** What the peer said instead of an answer. */
export function refused(code: number, text: string, subject: Subject): TransportError {
  const what = describe(subject);
  const { peer } = subject;
  switch (code) {
    case FAULT_NO_HANDLER:
      return new TransportError('NO_HANDLER', `${what} found no handler`, { definite: true, peer });
    case FAULT_OVERLOADED:
      return new TransportError('OVERLOADED', `${what} was refused: that peer is at work on too many`, {
        definite: true,
        peer,
      });
    case FAULT_CLOSING:
      return new TransportError('PEER_DOWN', `${what} was refused: that peer is closing`, {
        definite: true,
        peer,
      });
    case FAULT_HANDLER:
      return new TransportError('HANDLER_ERROR', `${what} failed in its handler: ${text}`, {
        definite: false,
        peer,
      });
    default:
      return new TransportError(
        'PROTOCOL',
        `${what} was answered with an unknown error code ${String(code)}`,
        {
          definite: false,
          peer,
        },
      );
  }
}
