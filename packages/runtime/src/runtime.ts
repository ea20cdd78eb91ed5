/** A timer that was set with {@link Runtime.setTimer}. */
export interface Timer {
  /** Prevents the callback from running. Does nothing once it ran or was cancelled. */
  cancel(): void;
}

/** How a timer relates to the process that holds it. */
export interface TimerOptions {
  /**
   * Whether a pending timer keeps the process alive.
   * @defaultValue false
   */
  readonly keepAlive?: boolean;
}

/**
 * Everything that is not deterministic: clocks, timers and chance.
 *
 * Every package of this toolkit takes a `Runtime` and uses nothing else for time and chance, so that a test can
 * run it in virtual time and replay it from a seed. `systemRuntime` is the real one.
 */
export interface Runtime {
  /** Wall clock: milliseconds since the Unix epoch. May jump either way; never measure a duration with it. */
  now(): number;
  /** Milliseconds since an arbitrary origin, with a fraction. Never goes back. */
  monotonic(): number;
  /**
   * Calls `run` once, not before `delayMs` milliseconds of {@link Runtime.monotonic} have passed. Any finite
   * delay is possible; a negative one counts as zero. The timer does not keep the process alive unless asked.
   */
  setTimer(delayMs: number, run: () => void, options?: TimerOptions): Timer;
  /** A uniform random number in [0, 1). Not for secrets. */
  random(): number;
  /** `size` random bytes, from a cryptographic source in `systemRuntime`. */
  randomBytes(size: number): Uint8Array;
}
