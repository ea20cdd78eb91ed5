import type { AppliedCommand, StateMachine } from './contract.js';
import { ReplicatedLogError } from './errors.js';

/**
 * Stands in for the state machine of a node that is a witness: one that votes and keeps the log, and is sent no
 * commands. Proposals made there resolve with nothing once they are committed, and reads are refused.
 */
class WitnessMachine implements StateMachine<undefined, unknown, never> {
  apply(commands: readonly AppliedCommand[]): readonly undefined[] {
    return commands.map(() => undefined);
  }

  query(): never {
    throw new ReplicatedLogError('NO_STATE', 'a witness has no state to read; ask another node', {
      definite: true,
    });
  }

  async *snapshot(): AsyncGenerator<Uint8Array, void, undefined> {
    // There is nothing to keep.
  }

  restore(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * The state machine to start a witness with: a voter of the membership's `witnesses`, which keeps no state and cannot
 * lead. It makes a majority where there is no room for another full node. A node is a witness from when it joins until
 * it is removed. Its reads reject with `NO_STATE`, and it has no sessions.
 */
export function witnessMachine(): StateMachine<undefined, unknown, never> {
  return new WitnessMachine();
}

/** Whether a node was started as a witness. */
export function isWitnessMachine(machine: object): boolean {
  return machine instanceof WitnessMachine;
}
