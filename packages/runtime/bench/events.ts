// What an event channel costs: `npm run bench -w @quorate/runtime`.
// The limit is a loop that does the same work and has no event in it; without a subscriber a guarded publish must
// not be told apart from it.
import { EventEmitter } from 'node:events';
import { eventChannel } from '@quorate/runtime';

const ROUNDS = 9;
const CALLS = 20_000_000;

interface Sent {
  readonly peer: string;
  readonly bytes: number;
}

const quiet = eventChannel<Sent>('runtime', 'bench-quiet');
const heard = eventChannel<Sent>('runtime', 'bench-heard');
const emitter = new EventEmitter();
let received = 0;
heard.subscribe(({ bytes }) => (received += bytes));

/** A little work, so that the loop is not optimised away. */
let state = 1;
function work(): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
  return state;
}

const contenders: readonly (readonly [string, () => void])[] = [
  ['no event in the code', () => void work()],
  [
    'event channel, nobody listens',
    () => {
      const bytes = work();
      if (quiet.active) quiet.publish({ peer: 'a', bytes });
    },
  ],
  [
    'EventEmitter, nobody listens',
    () => {
      emitter.emit('sent', { peer: 'a', bytes: work() });
    },
  ],
  [
    'event channel, one subscriber',
    () => {
      const bytes = work();
      if (heard.active) heard.publish({ peer: 'a', bytes });
    },
  ],
];

const times = new Map<string, number[]>(contenders.map(([name]) => [name, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, call] of contenders) {
    const start = process.hrtime.bigint();
    for (let n = 0; n < CALLS; n++) call();
    times.get(name)?.push(Number(process.hrtime.bigint() - start) / CALLS);
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
const limit = median(times.get('no event in the code') ?? []);
console.table(
  Object.fromEntries(
    contenders.map(([name]) => {
      const ns = median(times.get(name) ?? []);
      return [
        name,
        { 'ns per call': ns.toFixed(2), 'added ns': (ns - limit).toFixed(2), ratio: (ns / limit).toFixed(2) },
      ];
    }),
  ),
);
console.log(
  `Node ${process.version}, medians of ${ROUNDS} rounds; ${received === 0 ? 'nothing' : 'events'} received`,
);
