import { seededRandom, sleep, systemRuntime } from '@quorate/runtime';
import { type ServiceName, SERVICES } from '../lib/names.js';
import { shuffle } from './plan.js';
import type { ShopProcesses } from './processes.js';

/** How long a killed service stays down before it is started again, at most. */
const MAX_DOWN_MS = 500;

/** Kills and restarts one service after the other. */
export interface Chaos {
  /** Ends when every service was killed at least once after this was called, and all are up again. */
  finish(): Promise<void>;
}

/**
 * Kills a service with SIGKILL every `everyMs`, in rounds that reach all four, and starts it again after a moment.
 * The seed decides whom and, by up to a fifth of the interval, when. The next one is killed when the last is up
 * again at the earliest: otherwise a short interval would leave nobody to take orders.
 */
export function startChaos(shop: ShopProcesses, everyMs: number, seed: number, signal: AbortSignal): Chaos {
  const random = seededRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const killed = new Set<ServiceName>();
  let finishing = false;
  let askToFinish: () => void = () => {};
  const askedToFinish = new Promise<void>((resolve) => {
    askToFinish = resolve;
  });
  const run = async (): Promise<void> => {
    let round: ServiceName[] = [];
    let due = systemRuntime.monotonic();
    for (;;) {
      due = Math.max(due + everyMs * (0.8 + 0.4 * random()), systemRuntime.monotonic());
      // Whoever waits for the end does not wait for the clock: those not killed yet are killed at once.
      await Promise.race([sleep(systemRuntime, due - systemRuntime.monotonic(), { signal }), askedToFinish]);
      if (finishing && killed.size === SERVICES.length) return;
      if (round.length === 0) round = shuffle(SERVICES, below);
      const victim = round.pop() ?? 'order';
      await shop.kill(victim);
      killed.add(victim);
      await sleep(systemRuntime, below(MAX_DOWN_MS), { signal });
      await shop.start(victim);
    }
  };
  const done = everyMs > 0 ? run() : Promise.resolve();
  done.catch(() => {});
  return {
    finish() {
      finishing = true;
      askToFinish();
      return done;
    },
  };
}
