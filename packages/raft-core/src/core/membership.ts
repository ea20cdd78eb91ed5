import { isIdentifier } from '@quorate/runtime';
import { ByteReader, ByteWriter, MalformedBytesError } from '@quorate/runtime/bytes';
import type { Membership } from '@quorate/replicated-log';
import type { NodeId } from '@quorate/transport';

/** A membership as a configuration entry holds it. */
export interface Configuration {
  readonly voters: readonly NodeId[];
  /** Not empty exactly while the configuration is joint (dissertation, section 4.3). */
  readonly outgoing: readonly NodeId[];
  /** A voter of `outgoing` may be listed: it becomes a learner when the joint configuration is left. */
  readonly learners: readonly NodeId[];
  readonly witnesses: readonly NodeId[];
  /** Whether the leader proposes to leave the joint configuration as soon as it is applied. */
  readonly autoLeave: boolean;
}

/** What became of a request for another membership. */
export type Planned =
  | { readonly ok: true; readonly next: Configuration }
  | { readonly ok: false; readonly reason: 'config-pending' | 'config-invalid'; readonly detail: string };

/** No node at all: what a node knows before it heard of any configuration. */
export const NOBODY: Configuration = Object.freeze({
  voters: [],
  outgoing: [],
  learners: [],
  witnesses: [],
  autoLeave: false,
});

const VERSION = 1;
const MAX_MEMBERS = 1_000;

/** What is wrong with a membership in itself; undefined when nothing is. */
export function fault(membership: Membership): string | undefined {
  const { voters, outgoing = [], learners, witnesses = [] } = membership;
  for (const [name, list] of Object.entries({ voters, outgoing, learners, witnesses })) {
    if (new Set(list).size !== list.length) return `${name} names a node twice`;
    const bad = list.find((id) => !isIdentifier(id));
    if (bad !== undefined) return `${name} holds ${JSON.stringify(bad)}, which is no node id`;
    if (list.length > MAX_MEMBERS)
      return `${name} has ${String(list.length)} nodes; ${String(MAX_MEMBERS)} is the most`;
  }
  if (voters.length === 0) return 'there is no voter';
  const both = learners.find((id) => voters.includes(id));
  if (both !== undefined) return `${both} is a voter and a learner`;
  const stray = witnesses.find((id) => !voters.includes(id) && !outgoing.includes(id));
  if (stray !== undefined) return `the witness ${stray} is no voter`;
  if (voters.every((id) => witnesses.includes(id))) return 'every voter is a witness, so none could lead';
  return undefined;
}

/**
 * The configuration to propose on the way from `current` to `wanted`.
 *
 * One voter more or less is a single-server change (dissertation, section 4.1): the majorities of both overlap.
 * Anything else passes through a joint configuration (section 4.3), which the leader leaves on its own; when
 * `wanted` names the present voters as `outgoing`, the joint configuration stays until the next change leaves it.
 */
export function planChange(current: Configuration, wanted: Membership): Planned {
  const wrong = fault(wanted);
  if (wrong !== undefined) return { ok: false, reason: 'config-invalid', detail: wrong };
  const next: Configuration = {
    voters: [...wanted.voters],
    outgoing: [],
    learners: [...wanted.learners],
    witnesses: [...(wanted.witnesses ?? [])],
    autoLeave: false,
  };
  const before = members(current);
  for (const id of members(next)) {
    if (!before.has(id) || current.witnesses.includes(id) === next.witnesses.includes(id)) continue;
    // Whoever has entries without their commands must not come to lead, also before it has applied that it is a witness.
    const detail = `${id} stays ${next.witnesses.includes(id) ? 'a full member' : 'a witness'} until it is removed; add a node of another name`;
    return { ok: false, reason: 'config-invalid', detail };
  }
  const explicit = wanted.outgoing ?? [];
  if (current.outgoing.length > 0) {
    if (explicit.length === 0 && sameNodes(wanted.voters, current.voters)) return { ok: true, next };
    return {
      ok: false,
      reason: 'config-pending',
      detail: 'the joint configuration is left first, by asking for its voters without outgoing ones',
    };
  }
  if (explicit.length > 0) {
    if (!sameNodes(explicit, current.voters)) {
      return { ok: false, reason: 'config-invalid', detail: 'outgoing is not the present set of voters' };
    }
    return { ok: true, next: { ...next, outgoing: [...current.voters], witnesses: joint(current, next) } };
  }
  if (difference(next.voters, current.voters) + difference(current.voters, next.voters) <= 1) {
    return { ok: true, next };
  }
  return {
    ok: true,
    next: { ...next, outgoing: [...current.voters], witnesses: joint(current, next), autoLeave: true },
  };
}

/** The configuration after a joint one. */
export function leaveJoint(current: Configuration): Configuration {
  return {
    voters: current.voters,
    outgoing: [],
    learners: current.learners,
    witnesses: current.witnesses.filter((id) => current.voters.includes(id)),
    autoLeave: false,
  };
}

/** Whether a node's vote counts. */
export function isVoter(configuration: Configuration, id: NodeId): boolean {
  return configuration.voters.includes(id) || configuration.outgoing.includes(id);
}

/** Every node that receives the log. */
export function members(configuration: Configuration): Set<NodeId> {
  return new Set([...configuration.voters, ...configuration.outgoing, ...configuration.learners]);
}

/** The configuration as users see it. */
export function toMembership(configuration: Configuration): Membership {
  const { voters, outgoing, learners, witnesses } = configuration;
  return {
    voters,
    learners,
    ...(outgoing.length > 0 && { outgoing }),
    ...(witnesses.length > 0 && { witnesses }),
  };
}

/** The configuration that a membership given by the user stands for. */
export function fromMembership(membership: Membership): Configuration {
  const { voters, outgoing = [], learners, witnesses = [] } = membership;
  return { voters, outgoing, learners, witnesses, autoLeave: false };
}

/** The bytes of a configuration entry, and of the membership of a snapshot. */
export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const writer = new ByteWriter().u8(VERSION).u8(configuration.autoLeave ? 1 : 0);
  for (const list of [
    configuration.voters,
    configuration.outgoing,
    configuration.learners,
    configuration.witnesses,
  ]) {
    writer.varint(list.length);
    for (const id of list) writer.string(id);
  }
  return writer.finish();
}

/** Reads {@link encodeConfiguration}; throws `MalformedBytesError` for anything that is no valid configuration. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail('a configuration of an unknown version', 0);
  const flags = reader.u8();
  if (flags > 1) reader.fail('unknown flags', 1);
  const list = (): NodeId[] => {
    const size = reader.varint();
    if (size > MAX_MEMBERS) reader.fail(`a list of ${String(size)} nodes`);
    return Array.from({ length: size }, () => reader.string(255));
  };
  const configuration: Configuration = {
    voters: list(),
    outgoing: list(),
    learners: list(),
    witnesses: list(),
    autoLeave: flags === 1,
  };
  reader.end();
  const wrong = fault(configuration);
  if (wrong !== undefined) reader.fail(`a configuration in which ${wrong}`, 0);
  return configuration;
}

/** Whether {@link decodeConfiguration} would take the bytes. */
export function isConfiguration(bytes: Uint8Array): boolean {
  try {
    decodeConfiguration(bytes);
    return true;
  } catch (error) {
    if (error instanceof MalformedBytesError) return false;
    throw error;
  }
}

/** In a joint configuration a node is a witness while it is one in either half. */
function joint(current: Configuration, next: Configuration): NodeId[] {
  return [...new Set([...current.witnesses, ...next.witnesses])];
}

function difference(a: readonly NodeId[], b: readonly NodeId[]): number {
  return a.filter((id) => !b.includes(id)).length;
}

function sameNodes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && difference(a, b) === 0;
}
