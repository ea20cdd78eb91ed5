import type { SqlDatabase, SqlTransaction } from '@quorate/sql';
import { barrier, BranchRefused, type TccBranch, type TccContext, type TccOp } from '@quorate/tcc-saga';
import type { RequestContext, Transport } from '@quorate/transport';
import { type Static, type TSchema, Type } from 'typebox';
import { answer, ask, type Call, defineCall } from './calls.js';
import { OPERATION_TIMEOUT_MS } from './limits.js';

/** One try, confirm or cancel, as it travels to the service that performs it. */
interface Operation<Input> {
  /** The global transaction; here the order's id. */
  readonly gid: string;
  readonly op: TccOp;
  readonly input: Input;
}

/** The answer of a participant. A refusal is an answer, not an error: it was decided and recorded. */
interface Verdict {
  readonly refused?: Refusal;
}

/** A definite no: asking again would not help. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** A branch of a TCC transaction that another service performs. */
export interface RemoteBranch<Input> {
  readonly branch: string;
  readonly call: Call<Operation<Input>, Verdict>;
}

/** Describes a branch by its name and what each of its operations is told. */
export function remoteBranch<Input extends TSchema>(
  branch: string,
  input: Input,
): RemoteBranch<Static<Input>> {
  const operation = Type.Object({
    gid: Type.String({ minLength: 1, maxLength: 255 }),
    op: Type.Union([Type.Literal('try'), Type.Literal('confirm'), Type.Literal('cancel')]),
    input,
  });
  const refusal = Type.Object({ code: Type.String(), message: Type.String() });
  const verdict = Type.Object({ refused: Type.Optional(refusal) });
  return { branch, call: defineCall(`tcc.${branch}`, operation, verdict) };
}

/** What a service does for its branch. The three operations run in the transaction that records that they ran. */
export interface Participant<Input> {
  /** Reserves, or says why not. A refusal must leave nothing reserved. */
  try(tx: SqlTransaction, gid: string, input: Input): Promise<Refusal | undefined>;
  /** Uses what was reserved. Must not fail: `try` promised it. */
  confirm(tx: SqlTransaction, gid: string): Promise<void>;
  /** Gives back what was reserved, if anything was. Must not fail. */
  cancel(tx: SqlTransaction, gid: string): Promise<void>;
  /** Runs around the transaction of each operation. */
  around?(
    perform: () => Promise<Verdict>,
    operation: Operation<Input>,
    request: RequestContext,
  ): Promise<Verdict>;
}

/**
 * Performs the operations of a branch for whoever coordinates it. The barrier makes each of them happen at most
 * once however often it is asked for, lets a cancel pass whose try never arrived, and stops a try that arrives
 * after its cancel. It answers after the commit, so an answer is a promise that survives a crash.
 */
export function participate<Input>(
  transport: Transport,
  db: SqlDatabase,
  { branch, call }: RemoteBranch<Input>,
  participant: Participant<Input>,
): void {
  answer(transport, call, (operation, request) => {
    const { gid, op, input } = operation;
    const work = async (tx: SqlTransaction): Promise<Verdict> => {
      if (op !== 'try') {
        await participant[op](tx, gid);
        return {};
      }
      // A refusal is committed with the barrier's row: a try that is repeated later, when there may be enough
      // again, gets the answer that was given first.
      const refused = await participant.try(tx, gid, input);
      return refused === undefined ? {} : { refused };
    };
    const perform = async (): Promise<Verdict> => {
      const { result } = await db.transaction((tx) => barrier(tx, { gid, branch, op }, () => work(tx)));
      return result ?? {};
    };
    return participant.around?.(perform, operation, request) ?? perform();
  });
}

/** The coordinator's side of a branch, for `defineTcc`: each operation is a request to the service `to`. */
export function viaTransport<Input, SagaInput>(
  transport: Transport,
  to: string,
  { call }: RemoteBranch<Input>,
  inputOf: (input: SagaInput) => Input,
): TccBranch<SagaInput> {
  const request = ask(transport, to, call);
  const perform = async ({ gid, op, input, signal }: TccContext<SagaInput, object>): Promise<void> => {
    const operation = { gid, op, input: inputOf(input) };
    const { refused } = await request(operation, { timeoutMs: OPERATION_TIMEOUT_MS, signal });
    // Whatever else is thrown here, a timeout above all, is an unknown outcome: it will be asked for again.
    if (refused !== undefined) throw new BranchRefused(`${refused.code}: ${refused.message}`);
  };
  return { try: perform, confirm: perform, cancel: perform };
}
