import {
  type History,
  mapModel,
  type MapInput,
  nemesis,
  type RegisterOutput,
  type Scenario,
  type SimProcess,
  type Simulation,
  twoPhases,
} from '@quorate/simulator';
import { sleep } from '@quorate/runtime';
import { createTransport, type Transport } from '@quorate/transport';

/** A bug planted in the register, or none. */
export type RegisterBug =
  'none' | 'quorum-off-by-one' | 'no-write-back' | 'ack-before-sync' | 'no-tie-break' | 'forgets-on-restart';

interface Stamped {
  readonly time: number;
  readonly writer: string;
  readonly value: number | null;
}

const REPLICAS = ['r1', 'r2', 'r3', 'r4', 'r5'];
const CLIENTS = ['c1', 'c2', 'c3'];
const KEYS = ['x', 'y'];

/**
 * Registers on five replicas (H. Attiya, A. Bar-Noy, D. Dolev, "Sharing memory robustly in message-passing systems",
 * 1995): a reader asks a majority, and writes the latest value back to a majority before it answers; a writer asks a
 * majority for the time, and writes with a later one. Linearizable while fewer than half of the replicas are down.
 */
export function registerScenario(
  bug: RegisterBug,
  kind: 'stream' | 'datagram' = 'stream',
  name = `register-${kind}${bug === 'none' ? '' : `-${bug}`}`,
): Scenario {
  return {
    name,
    options: { clock: { maxSkewMs: 1_000, maxDriftPpm: 200 }, network: { kind } },
    async run(simulation) {
      const history = simulation.history(mapModel);
      for (const id of REPLICAS) simulation.node(id, (process) => replica(process, bug));
      const clients = CLIENTS.map((id) => client(simulation, id, history, bug));
      nemesis(simulation, {
        durationMs: 1_000,
        meanGapMs: 400,
        nodes: REPLICAS,
        faults: [
          'crash',
          'kill',
          'pause',
          'partition',
          'bridge',
          'isolate',
          'clog',
          'delay',
          'clock-jump',
          'disk-slow',
          kind === 'stream' ? 'reset' : 'loss',
        ],
      });
      await twoPhases(simulation, {
        faultsMs: 1_000,
        withinMs: 10_000,
        progress: () => Promise.all(clients.map((one) => one.finish())),
      });
    },
  };
}

/** A client that reads and writes at random, until it is told to finish with one operation of each kind. */
function client(
  simulation: Simulation,
  id: string,
  history: History<MapInput, RegisterOutput>,
  bug: RegisterBug,
): { finish(): Promise<void> } {
  const values = simulation.stream(`values of ${id}`);
  let finishing = false;
  let finished: () => void = () => undefined;
  const done = new Promise<void>((resolve) => (finished = resolve));
  let writes = 0;
  simulation.node(id, async ({ link, runtime }) => {
    const transport = createTransport(link, { runtime });
    await transport.start();
    const operate = async (input: MapInput): Promise<boolean> => {
      const { key } = input;
      const work = async (): Promise<RegisterOutput> => {
        const latest = await ask(transport, key, bug);
        if (input.type === 'read') {
          if (bug !== 'no-write-back') await store(transport, key, latest, bug);
          return latest.value ?? undefined;
        }
        const value = input.type === 'write' ? Number(input.value) : null;
        const writer = bug === 'no-tie-break' ? '' : id;
        await store(transport, key, { time: latest.time + 1, writer, value }, bug);
        return undefined;
      };
      return history.record(id, input, work).then(
        () => true,
        () => false,
      );
    };
    const key = (): string => KEYS[Math.floor(values() * KEYS.length)] ?? '';
    while (!finishing) {
      const input: MapInput =
        values() < 0.5
          ? { type: 'read', key: key() }
          : { type: 'write', key: key(), value: CLIENTS.indexOf(id) * 1_000 + ++writes };
      if (!(await operate(input))) await sleep(runtime, 20);
      else await sleep(runtime, values() * 40);
    }
    while (!(await operate({ type: 'read', key: 'x' }))) await sleep(runtime, 20);
    finished();
  });
  return {
    finish() {
      finishing = true;
      return done;
    },
  };
}

async function ask(transport: Transport, key: string, bug: RegisterBug): Promise<Stamped> {
  const answers = await majority(transport, 'get', Buffer.from(key), bug);
  return answers.reduce((latest, one) => (isLater(one, latest) ? one : latest), NEVER);
}

async function store(transport: Transport, key: string, stamped: Stamped, bug: RegisterBug): Promise<void> {
  await majority(transport, 'put', Buffer.from(JSON.stringify({ key, ...stamped })), bug);
}

const NEVER: Stamped = { time: 0, writer: '', value: null };

function isLater(one: Stamped, other: Stamped): boolean {
  return one.time > other.time || (one.time === other.time && one.writer > other.writer);
}

/** The answers of a majority. */
function majority(transport: Transport, channel: string, body: Buffer, bug: RegisterBug): Promise<Stamped[]> {
  const needed = Math.floor(REPLICAS.length / 2) + (bug === 'quorum-off-by-one' ? 0 : 1);
  return new Promise((resolve, reject) => {
    const answers: Stamped[] = [];
    let failures = 0;
    for (const id of REPLICAS) {
      transport.request(id, channel, body, { timeoutMs: 60 }).then(
        (answer) => {
          answers.push(JSON.parse(Buffer.from(answer).toString()) as Stamped);
          if (answers.length === needed) resolve(answers);
        },
        (error: unknown) => {
          // One of them may have done it: what is certain of each says nothing about all.
          if (++failures === REPLICAS.length - needed + 1) reject(new Error('no majority', { cause: error }));
        },
      );
    }
  });
}

async function replica({ fileSystem, link, runtime }: SimProcess, bug: RegisterBug): Promise<void> {
  const transport = createTransport(link, { runtime });
  await fileSystem.mkdir('/data');
  const values = new Map<string, Stamped>();
  if (bug !== 'forgets-on-restart') {
    for (const key of KEYS) {
      const file = await fileSystem.open(`/data/${key}`, 'must-exist').catch(() => undefined);
      if (file === undefined) continue;
      const bytes = Buffer.alloc(await file.size());
      await file.read(bytes, 0);
      values.set(key, JSON.parse(bytes.toString()) as Stamped);
    }
  }
  let turn = Promise.resolve();
  const save = async (key: string, stamped: Stamped): Promise<void> => {
    if (!isLater(stamped, values.get(key) ?? NEVER)) return;
    const file = await fileSystem.open(`/data/${key}.new`, 'create');
    await file.write(Buffer.from(JSON.stringify(stamped)), 0);
    await file.sync();
    await fileSystem.rename(`/data/${key}.new`, `/data/${key}`);
    if (bug !== 'ack-before-sync') await fileSystem.syncDirectory('/data');
    values.set(key, stamped);
  };
  transport.respond('get', ({ body }) =>
    Buffer.from(JSON.stringify(values.get(Buffer.from(body).toString()) ?? NEVER)),
  );
  transport.respond('put', async ({ body }) => {
    const { key, ...stamped } = JSON.parse(Buffer.from(body).toString()) as Stamped & { key: string };
    const saved = turn.then(() => save(key, stamped));
    turn = saved.catch(() => undefined);
    await saved;
    return Buffer.from(JSON.stringify(stamped));
  });
  await transport.start();
}
