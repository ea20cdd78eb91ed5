import { seededRandom } from '@quorate/runtime';
import { CATALOGUE, type Line } from '../catalogue.js';

/** What is meant to become of an order. */
export const KINDS = ['fine', 'out-of-stock', 'no-funds', 'refused', 'answer-lost', 'too-late'] as const;
export type Kind = (typeof KINDS)[number];

/** How often each way to fail occurs among a hundred orders; the rest is fine. */
const PERCENT: Readonly<Record<Exclude<Kind, 'fine'>, number>> = {
  'out-of-stock': 7,
  'no-funds': 7,
  refused: 6,
  'answer-lost': 4,
  'too-late': 3,
};

export interface PlannedOrder {
  readonly kind: Kind;
  readonly idempotencyKey: string;
  /** Whether the request is sent twice at once, as an impatient client does. */
  readonly twice: boolean;
  readonly body: { readonly account: string; readonly email: string; readonly lines: readonly Line[] };
}

export interface PlannedDeposit {
  readonly reference: string;
  readonly account: string;
  readonly amount: number;
  readonly bank?: 'blocked' | 'silent' | 'late';
}

export interface PlannedReceipt extends Line {
  readonly reference: string;
}

/** Everything the demo does to the shop, decided by the seed before it starts. */
export interface Plan {
  readonly deposits: readonly PlannedDeposit[];
  readonly receipts: readonly PlannedReceipt[];
  readonly orders: readonly PlannedOrder[];
}

const CUSTOMERS = 20;
const NEVER_IN_STOCK = 'moon-rock-mug';
const IN_STOCK = CATALOGUE.filter(({ sku }) => sku !== NEVER_IN_STOCK);
/** One cent short of the cheapest thing in the shop. */
const ALMOST_NOTHING = Math.min(...IN_STOCK.map(({ price }) => price)) - 1;

/** Makes a plan in which every order that is fine finds stock and money, and every other one fails as it is meant to. */
export function makePlan(count: number, seed: number): Plan {
  const random = seededRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const needed = new Map<string, number>(IN_STOCK.map(({ sku }) => [sku, 0]));
  const spent = new Map<string, number>();
  const orders: PlannedOrder[] = [];

  for (const [index, kind] of sequenceOf(kindsOf(count), below).entries()) {
    const lines = kind === 'out-of-stock' ? [{ sku: NEVER_IN_STOCK, quantity: 1 }] : basket(below);
    const customer = `customer-${String(1 + below(CUSTOMERS))}`;
    const account = kind === 'fine' || kind === 'out-of-stock' ? customer : `account-${kind}`;
    for (const { sku, quantity, price } of priced(lines)) {
      needed.set(sku, (needed.get(sku) ?? 0) + quantity);
      spent.set(account, (spent.get(account) ?? 0) + quantity * price);
    }
    orders.push({
      kind,
      idempotencyKey: `demo-${String(seed)}-${String(index + 1)}`,
      twice: below(10) === 0,
      body: { account, email: `${customer}@example.org`, lines },
    });
  }

  // In two parts each, so that the sums are sums.
  const halves = (total: number): number[] => {
    const half = Math.max(1, Math.ceil(total / 2));
    return [half, half + below(50)];
  };
  const receipts = [...needed]
    .filter(([sku]) => sku !== NEVER_IN_STOCK)
    .flatMap(([sku, total]) =>
      halves(total).map((quantity, part) => ({
        reference: `goods-${sku}-${String(part + 1)}`,
        sku,
        quantity,
      })),
    );
  const deposits = [...spent].flatMap(([account, total]): PlannedDeposit[] => {
    const kind = orders.find(({ body }) => body.account === account)?.kind;
    const bank =
      kind === 'refused'
        ? 'blocked'
        : kind === 'answer-lost'
          ? 'silent'
          : kind === 'too-late'
            ? 'late'
            : undefined;
    const amounts = kind === 'no-funds' ? [ALMOST_NOTHING] : halves(total);
    return amounts.map((amount, part) => ({
      reference: `money-${account}-${String(part + 1)}`,
      account,
      amount,
      ...(bank !== undefined && { bank }),
    }));
  });
  return { deposits, receipts, orders };
}

/** How many orders of each kind: one of each as soon as there is room, then by their share. */
function kindsOf(count: number): Kind[] {
  const kinds: Kind[] = [];
  for (const [kind, percent] of Object.entries(PERCENT) as [Exclude<Kind, 'fine'>, number][]) {
    const share = Math.max(1, Math.round((count * percent) / 100));
    for (let made = 0; made < share && kinds.length < count - 1; made++) kinds.push(kind);
  }
  while (kinds.length < count) kinds.push('fine');
  return kinds;
}

/** At random, with those that end by their deadline in the first half: what comes late still meets the audit. */
function sequenceOf(kinds: readonly Kind[], below: (bound: number) => number): Kind[] {
  const isSlow = (kind: Kind): boolean => kind === 'answer-lost' || kind === 'too-late';
  const sequence = shuffle(
    kinds.filter((kind) => !isSlow(kind)),
    below,
  );
  for (const kind of kinds.filter(isSlow)) sequence.splice(below(Math.ceil(sequence.length / 2)), 0, kind);
  return sequence;
}

function basket(below: (bound: number) => number): Line[] {
  const skus = shuffle(
    IN_STOCK.map(({ sku }) => sku),
    below,
  );
  return skus.slice(0, 1 + below(3)).map((sku) => ({ sku, quantity: 1 + below(3) }));
}

function priced(lines: readonly Line[]): (Line & { readonly price: number })[] {
  return lines.map((line) => ({ ...line, price: CATALOGUE.find(({ sku }) => sku === line.sku)?.price ?? 0 }));
}

/** Fisher and Yates. */
export function shuffle<T>(items: readonly T[], below: (bound: number) => number): T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = below(last + 1);
    [shuffled[last], shuffled[other]] = [shuffled[other] as T, shuffled[last] as T];
  }
  return shuffled;
}
