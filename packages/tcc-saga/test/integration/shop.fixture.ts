import { systemRuntime } from '@quorate/runtime';
import type { SqlDatabase, SqlTransaction } from '@quorate/sql';
import { barrier, BranchRefused, defineTcc } from '@quorate/tcc-saga';

/** How an order goes: through, refused by the payment, of unknown outcome for ever, or unknown now and then. */
export type OrderKind = 'good' | 'refused' | 'unknown' | 'shaky';

export interface Order {
  readonly id: string;
  readonly quantity: number;
  readonly price: number;
  readonly kind: OrderKind;
}

/** The tables of a shop whose participants live in one database, each call in a transaction of its own. */
export const shopTables = [
  'create table shop_order (id text primary key, status text not null)',
  'create table order_event (order_id text not null, status text not null)',
  'create table stock (available integer not null, reserved integer not null, sold integer not null)',
  'create table account (balance integer not null, frozen integer not null, paid integer not null)',
  'create table movement (gid text not null, branch text not null, op text not null)',
  'insert into stock values (1000000, 0, 0)',
  'insert into account values (1000000, 0, 0)',
];

/** A TCC that moves stock and money, and writes down each effect as it happens. */
export function orderTcc(db: SqlDatabase, name: string, deadlineMs: number) {
  type Call = Parameters<typeof barrier>[1];
  const move = (call: Call, statement: string, amount: number): Promise<unknown> =>
    db.transaction((tx) =>
      barrier(tx, call, async () => {
        await tx.query(statement, [amount]);
        await tx.query('insert into movement values ($1, $2, $3)', [call.gid, call.branch, call.op]);
      }),
    );
  const end = async (tx: SqlTransaction, id: string, status: string): Promise<void> => {
    await tx.query('update shop_order set status = $2 where id = $1', [id, status]);
    await tx.query('insert into order_event values ($1, $2)', [id, status]);
  };
  return defineTcc<Order>({
    name,
    deadlineMs,
    timeoutMs: 2000,
    retry: { minMs: 5, maxMs: 50 },
    branches: {
      stock: {
        try: (call) =>
          move(
            call,
            'update stock set available = available - $1, reserved = reserved + $1',
            call.input.quantity,
          ),
        confirm: (call) =>
          move(call, 'update stock set reserved = reserved - $1, sold = sold + $1', call.input.quantity),
        cancel: (call) =>
          move(
            call,
            'update stock set reserved = reserved - $1, available = available + $1',
            call.input.quantity,
          ),
      },
      money: {
        async try(call) {
          const { kind, price } = call.input;
          if (kind === 'refused') throw new BranchRefused('no funds');
          await move(call, 'update account set balance = balance - $1, frozen = frozen + $1', price);
          // The effect is there, and the caller does not hear of it.
          const answerLost = kind === 'unknown' || (kind === 'shaky' && systemRuntime.random() < 0.5);
          if (answerLost) throw new Error('the answer got lost');
        },
        confirm: (call) =>
          move(call, 'update account set frozen = frozen - $1, paid = paid + $1', call.input.price),
        cancel: (call) =>
          move(call, 'update account set frozen = frozen - $1, balance = balance + $1', call.input.price),
      },
    },
    onConfirmed: (tx, saga) => end(tx, saga.input.id, 'confirmed'),
    onCancelled: (tx, saga) => end(tx, saga.input.id, 'cancelled'),
  });
}

/** What is wrong in the shop once every order has ended; empty when nothing is. */
export async function auditShop(db: SqlDatabase): Promise<string[]> {
  const wrong: string[] = [];
  const check = async (what: string, text: string): Promise<void> => {
    const { rows } = await db.query(text);
    for (const row of rows) wrong.push(`${what}: ${JSON.stringify(row)}`);
  };
  await check('unfinished saga', 'select id, status from saga_instance where ended_at is null');
  await check(
    'order without its saga’s end',
    `
    select o.id, o.status, s.status as saga
    from shop_order o left join saga_instance s on s.id = o.id
    where o.status is distinct from s.status`,
  );
  await check(
    'not exactly one event',
    `
    select o.id, count(e.order_id) from shop_order o left join order_event e on e.order_id = o.id
    group by o.id having count(e.order_id) <> 1`,
  );
  await check(
    'wrong movements',
    `
    select o.id, b.branch, o.status, string_agg(m.op, ',' order by m.op desc) as ops
    from shop_order o
    cross join (values ('stock'), ('money')) as b (branch)
    left join movement m on m.gid = o.id and m.branch = b.branch
    group by o.id, b.branch, o.status
    having coalesce(string_agg(m.op, ',' order by m.op desc), '') not in
      (case o.status when 'confirmed' then 'try,confirm' else 'try,cancel' end,
       case o.status when 'confirmed' then 'try,confirm' else '' end)`,
  );
  await check(
    'stock',
    `
    select * from stock where reserved <> 0 or available + sold <> 1000000
      or sold <> (select coalesce(sum((input->>'quantity')::int), 0) from saga_instance where status = 'confirmed')`,
  );
  await check(
    'money',
    `
    select * from account where frozen <> 0 or balance + paid <> 1000000
      or paid <> (select coalesce(sum((input->>'price')::int), 0) from saga_instance where status = 'confirmed')`,
  );
  return wrong;
}
