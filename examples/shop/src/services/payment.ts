import { abortable, sleep, systemRuntime } from '@quorate/runtime';
import { migrate, type SqlDatabase, type SqlTransaction, toSafeInteger } from '@quorate/sql';
import { barrierMigrations } from '@quorate/tcc-saga';
import { type Static, Type } from 'typebox';
import { paymentBranch } from '../lib/contracts.js';
import { Problem } from '../lib/http.js';
import { ORDER_DEADLINE_MS } from '../lib/limits.js';
import { runService } from '../lib/service.js';
import { participate, type Refusal } from '../lib/tcc-participant.js';
import { sql } from '../sql.gen.js';

/**
 * How the simulated bank behind an account behaves, as the test cards of a payment provider do:
 * - `blocked` refuses
 * - `silent` sets the money aside, and its answer never arrives
 * - `late` takes so long that the order is given up before it even begins
 */
const Bank = Type.Union([
  Type.Literal('normal'),
  Type.Literal('blocked'),
  Type.Literal('silent'),
  Type.Literal('late'),
]);
type Bank = Static<typeof Bank>;

interface Payment {
  readonly account: string;
  readonly amount: number;
}

/** Books money that came in. False when that reference was booked before: then nothing changes. */
function deposit(
  db: SqlDatabase,
  reference: string,
  { account, amount }: Payment,
  bank: Bank,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const { rowCount } = await tx.query(sql['payment-deposit'], [reference, account, amount, bank]);
    if (rowCount === 0) return false;
    await tx.query('update account set available = available + $2 where id = $1', [account, amount]);
    return true;
  });
}

async function bankOf(db: SqlDatabase | SqlTransaction, account: string): Promise<Bank | undefined> {
  const { rows } = await db.query<{ bank: Bank }>('select bank from account where id = $1', [account]);
  return rows[0]?.bank;
}

/** Sets the money aside, or says why not. */
async function freeze(tx: SqlTransaction, order: string, payment: Payment): Promise<Refusal | undefined> {
  const { account, amount } = payment;
  const bank = await bankOf(tx, account);
  if (bank === undefined) return { code: 'UNKNOWN_ACCOUNT', message: `there is no account ${account}` };
  if (bank === 'blocked') return { code: 'CARD_BLOCKED', message: `the bank of ${account} refuses` };
  const { rowCount } = await tx.query(sql['payment-freeze'], [order, account, amount]);
  if (rowCount > 0) return undefined;
  return { code: 'NO_FUNDS', message: `${account} does not have ${String(amount)} cents` };
}

/** Takes the money that was set aside. */
async function capture(tx: SqlTransaction, order: string): Promise<void> {
  await tx.query(sql['payment-capture'], [order]);
}

/** Gives back the money that was set aside, if any was. */
async function release(tx: SqlTransaction, order: string): Promise<void> {
  await tx.query(sql['payment-release'], [order]);
}

await runService('payment', 'Accounts, what is frozen on them, and what was taken.', async (service) => {
  const { db, http, transport } = service;
  await migrate(db, {
    name: 'payment',
    migrations: [{ id: 1, name: 'accounts', sql: { postgres: sql['payment-schema'] } }],
  });
  await migrate(db, { name: 'quorate_barrier', migrations: barrierMigrations });

  participate(transport, db, paymentBranch, {
    try: freeze,
    confirm: capture,
    cancel: release,
    async around(perform, { op, input }, { signal }) {
      const bank = op === 'try' ? await bankOf(db, input.account) : 'normal';
      // A bank does not care that its customer has lost patience, so this wait does not heed the signal.
      if (bank === 'late') await sleep(systemRuntime, ORDER_DEADLINE_MS + 1_000, { keepAlive: false });
      const verdict = await perform();
      if (bank === 'silent') await abortable(new Promise<never>(() => {}), signal);
      return verdict;
    },
  });

  const Account = Type.Object({
    id: Type.String(),
    available: Type.Integer({ description: 'In cents' }),
    frozen: Type.Integer({ description: 'In cents; set aside for orders that are not decided yet' }),
    bank: Bank,
  });
  http.get(
    '/accounts',
    {
      schema: { summary: 'All accounts and what is on them', response: { 200: Type.Array(Account) } },
    },
    async () => {
      const text = 'select id, available, frozen, bank from account order by id';
      const { rows } = await db.query<{ id: string; available: string; frozen: string; bank: Bank }>(text);
      return rows.map((row) => ({
        ...row,
        available: toSafeInteger(row.available),
        frozen: toSafeInteger(row.frozen),
      }));
    },
  );

  const Deposit = Type.Object(
    {
      reference: Type.String({
        minLength: 1,
        maxLength: 255,
        description: 'Yours; a repeated one counts once',
      }),
      account: Type.String({ minLength: 1, maxLength: 255, description: 'Opened if it is new' }),
      amount: Type.Integer({ minimum: 1, maximum: 100_000_000_000, description: 'In cents' }),
      bank: Type.Optional(Bank),
    },
    { additionalProperties: false },
  );
  http.post(
    '/accounts/deposit',
    {
      schema: {
        summary: 'Pay money in',
        body: Deposit,
        response: { 200: Type.Object({ booked: Type.Boolean() }), 400: Problem },
      },
    },
    async ({ body: { reference, bank = 'normal', ...payment } }) => ({
      booked: await deposit(db, reference, payment, bank),
    }),
  );
});
