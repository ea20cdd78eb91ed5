import type { ConsensusCore, MessageCodec, Membership } from '@quorate/replicated-log';
import { seededRandom } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import { strict as assert } from 'node:assert';
import { CoreCluster, type CoreSetup } from './cluster.js';

/** One thing that every core must do. */
export interface Check {
  readonly name: string;
  run<M>(make: (setup: CoreSetup) => ConsensusCore<M>, codec: MessageCodec<M>, seed: number): void;
  /** Whether it is worth running with many seeds. */
  readonly random?: boolean;
}

const THREE: Membership = { voters: ['a', 'b', 'c'], learners: [] };
const FIVE: Membership = { voters: ['a', 'b', 'c', 'd', 'e'], learners: [] };

function others(cluster: CoreCluster<unknown>, id: string): string[] {
  return [...cluster.up.keys()].filter((other) => other !== id);
}

/** Every node has applied everything that any has. */
function caughtUp(cluster: CoreCluster<unknown>): boolean {
  const at = [...cluster.up.keys()].map((id) => cluster.applied(id));
  return Math.min(...at) === Math.max(...at);
}

export const checks: readonly Check[] = [
  {
    name: 'elects one leader, and all nodes agree who it is',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      const leader = cluster.elected();
      cluster.until('all follow', () =>
        [...cluster.up.values()].every(({ core }) => core.status().leader === leader),
      );
    },
  },
  {
    name: 'runs alone',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, { voters: ['a'], learners: [] }, seed);
      cluster.elected();
      const index = cluster.put('a');
      const read = cluster.barrier('a');
      cluster.until('a read', () => cluster.results.has(read));
      const result = cluster.results.get(read);
      assert.ok(result?.ok === true && result.index >= index);
    },
  },
  {
    name: 'applies what is proposed at any node on every node, under its id',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      cluster.elected();
      for (const id of ['a', 'b', 'c', 'a', 'b', 'c']) cluster.put(id);
      cluster.until('all nodes have applied everything', () => caughtUp(cluster));
    },
  },
  {
    name: 'commits nothing that only a minority has on its disks',
    run(make, codec, seed) {
      for (const leaderToo of [false, true]) {
        const cluster = new CoreCluster(make, codec, THREE, seed);
        const leader = cluster.elected();
        cluster.put(leader);
        const [one = '', other = ''] = others(cluster, leader);
        const held = [one, leaderToo ? leader : other];
        for (const id of held) cluster.held.add(id);
        const id = cluster.propose(leader);
        cluster.tick(5);
        assert.equal(cluster.indexOf.get(id), undefined, 'one disk of three is no majority');
        for (const node of [leader, one, other]) cluster.crash(node);
        cluster.held.clear();
        for (const node of held) cluster.start(node);
        cluster.elected();
        cluster.put(one);
      }
    },
  },
  {
    name: 'commits nothing and answers no read on the wrong side of a partition',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      const old = cluster.elected();
      cluster.put(old);
      cluster.connected = (from, to) => (from === old) === (to === old);
      const lost = cluster.propose(old);
      const read = cluster.barrier(old);
      const [one = ''] = others(cluster, old);
      cluster.until('the others elect', () => cluster.leader() !== old && cluster.leader() !== undefined);
      const index = cluster.put(one);
      assert.equal(cluster.indexOf.get(lost), undefined, 'a minority commits nothing');
      const early = cluster.results.get(read);
      assert.ok(early?.ok !== true || early.index >= index, 'a minority answers no read');
      cluster.connected = () => true;
      cluster.until('the old leader learns', () => cluster.applied(old) >= index);
    },
  },
  {
    name: 'answers reads on every node with an index that covers what was acknowledged before',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      cluster.elected();
      for (const id of ['a', 'b', 'c']) {
        const index = cluster.put(id);
        for (const reader of ['a', 'b', 'c']) {
          let read = cluster.barrier(reader);
          cluster.until('a read is answered', () => {
            const result = cluster.results.get(read);
            if (result?.ok === false) read = cluster.barrier(reader);
            return result?.ok === true;
          });
          const result = cluster.results.get(read);
          assert.ok(result?.ok === true && result.index >= index, 'a read sees acknowledged writes');
        }
      }
    },
  },
  {
    name: 'keeps everything when all nodes crash',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      cluster.elected();
      const index = cluster.put('b');
      for (const id of ['a', 'b', 'c']) cluster.crash(id);
      for (const id of ['a', 'b', 'c']) cluster.start(id);
      cluster.elected();
      assert.ok(cluster.put('a') > index, 'the log goes on behind what was acknowledged');
      cluster.until('all nodes have applied everything', () => caughtUp(cluster));
    },
  },
  {
    name: 'brings a node that is far behind up to date by a snapshot',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      cluster.snapshotEvery = 10;
      const leader = cluster.elected();
      const [behind = ''] = others(cluster, leader);
      cluster.crash(behind);
      for (let count = 0; count < 50; count++) cluster.put(leader);
      cluster.start(behind);
      cluster.until('it is up to date', () => caughtUp(cluster));
      assert.ok((cluster.disks.get(behind)?.snapshot?.meta.index ?? 0) > 0, 'it got a snapshot');
      cluster.put(behind);
    },
  },
  {
    name: 'adds, replaces and removes nodes',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      const leader = cluster.elected();
      cluster.put(leader);
      cluster.start('d');
      const change = (next: Membership): void => {
        const id = cluster.change(leader, next);
        cluster.until('the change is in force', () => {
          const { membership } = cluster.core(leader).status();
          return membership.outgoing === undefined && sameMembership(membership, next);
        });
        assert.ok(cluster.indexOf.has(id), 'its entry has its id');
      };
      change({ voters: THREE.voters, learners: ['d'] });
      cluster.until('the learner is up to date', () => caughtUp(cluster));
      const [gone = '', stays = ''] = others(cluster, leader).filter((id) => id !== 'd');
      change({ voters: [leader, stays, 'd'], learners: [] });
      cluster.crash(gone);
      cluster.put('d');
      cluster.crash(stays);
      cluster.put('d');
    },
  },
  {
    name: 'refuses memberships that cannot be, and a second change while one is under way',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      const leader = cluster.elected();
      cluster.put(leader);
      const none = cluster.change(leader, { voters: [], learners: [] });
      cluster.tick();
      assert.equal(reasonOf(cluster, none), 'config-invalid');
      cluster.connected = () => false;
      cluster.change(leader, { voters: THREE.voters, learners: ['d'] });
      const second = cluster.change(leader, { voters: THREE.voters, learners: ['e'] });
      cluster.tick();
      assert.equal(reasonOf(cluster, second), 'config-pending');
    },
  },
  {
    name: 'hands leadership over',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      const leader = cluster.elected();
      cluster.put(leader);
      const [to = ''] = others(cluster, leader);
      cluster.until('all nodes are up to date', () => caughtUp(cluster));
      cluster.transfer(leader, to);
      cluster.until('the other leads', () => cluster.leader() === to);
      cluster.put(leader);
    },
  },
  {
    name: 'is unharmed by bytes and messages from strangers',
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, THREE, seed);
      const random = seededRandom(seed);
      const seen: Uint8Array[] = [];
      cluster.faults = { loss: 0, duplication: 0, maxDelay: 2, maxSync: 0 };
      cluster.until('a leader', () => {
        seen.push(...cluster.packets.map(({ bytes }) => bytes));
        return cluster.leader() !== undefined;
      });
      for (let count = 0; count < 500; count++) {
        const bytes = Uint8Array.from(seen[Math.floor(random() * seen.length)] ?? []);
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
        try {
          codec.decode(count % 2 === 0 ? bytes : bytes.subarray(0, Math.floor(random() * bytes.length)));
        } catch (error) {
          assert.ok(
            error instanceof MalformedBytesError,
            'bytes that are no message get a MalformedBytesError',
          );
        }
      }
      const leader = cluster.leader() ?? '';
      const { term } = cluster.core(leader).status();
      for (const bytes of seen) cluster.step(leader, 'stranger', codec.decode(bytes));
      assert.equal(cluster.core(leader).status().term, term, 'a stranger does not move the term');
      cluster.put(leader);
    },
  },
  {
    name: 'stays safe under loss, duplication, reordering, partitions, slow disks and crashes, and recovers',
    random: true,
    run(make, codec, seed) {
      const cluster = new CoreCluster(make, codec, seed % 2 === 0 ? THREE : FIVE, seed);
      const { random } = cluster;
      cluster.snapshotEvery = 20;
      const reads = new Map<string, number>();
      const all = [...cluster.disks.keys()];
      const pick = (): string => all[Math.floor(random() * all.length)] ?? '';
      for (let round = 0; round < 60; round++) {
        cluster.faults = { loss: random() * 0.2, duplication: random() * 0.2, maxDelay: 4, maxSync: 3 };
        const cut = pick();
        const partition = random() < 0.3;
        cluster.connected = (from, to) => !partition || (from === cut) === (to === cut);
        const victim = pick();
        if (!cluster.up.has(victim)) cluster.start(victim);
        else if (random() < 0.2) cluster.crash(victim);
        for (let step = 0; step < 10; step++) {
          const at = pick();
          if (cluster.up.has(at)) {
            cluster.propose(at);
            const wanted = cluster.acknowledged;
            reads.set(cluster.barrier(at), wanted);
          }
          cluster.tick();
        }
      }
      cluster.faults = { loss: 0, duplication: 0, maxDelay: 0, maxSync: 0 };
      cluster.connected = () => true;
      for (const id of all) if (!cluster.up.has(id)) cluster.start(id);
      cluster.elected();
      const { acknowledged } = cluster;
      const last = cluster.put(pick());
      cluster.until('all nodes have applied everything', () => caughtUp(cluster));
      assert.ok(last > acknowledged, 'what was acknowledged is still there');
      for (const [id, wanted] of reads) {
        const result = cluster.results.get(id);
        assert.ok(result?.ok !== true || result.index >= wanted, 'a read sees what was acknowledged before');
      }
      for (const [id, result] of cluster.results) {
        const refused = !result.ok && result.reason !== 'unknown-outcome';
        assert.ok(!refused || !cluster.indexOf.has(id), 'what was refused for certain never happens');
      }
    },
  },
];

function reasonOf(cluster: CoreCluster<unknown>, id: string): string | undefined {
  const result = cluster.results.get(id);
  return result?.ok === false ? result.reason : undefined;
}

function sameMembership(one: Membership, other: Membership): boolean {
  const key = ({ voters, learners }: Membership): string =>
    JSON.stringify([[...voters].sort(), [...learners].sort()]);
  return key(one) === key(other);
}
