/**
 * How a claim shares its key with others.
 *
 * - `exclusive`: with nobody
 * - `shared`: with other shared claims
 * - `permits`: with other claims of permits, as long as all of them together take no more than `total`
 */
export type LockMode = 'exclusive' | 'shared' | 'permits';

/** What names a claim: a key, and an owner that no other claim ever has. */
export interface ClaimId {
  /** 1 to 255 bytes of UTF-8; any character may occur. */
  readonly key: string;
  /** 1 to 255 bytes of UTF-8 without control characters. Claiming again as the same owner is the same claim. */
  readonly owner: string;
}

/** What is asked for. One shape serves the mutex, the read-write lock and the semaphore. */
export interface ClaimRequest extends ClaimId {
  readonly mode: LockMode;
  /** How many permits; 1 unless the mode is `permits`. */
  readonly permits: number;
  /** How many permits there are, as the client says; 1 unless the mode is `permits`. Never less than `permits`. */
  readonly total: number;
  /** The claim, or its place in the queue, is gone unless it is claimed again or renewed within so many milliseconds. */
  readonly leaseMs: number;
  /** Whether to take a place in the queue. False: granted at once, or `busy` with nothing left behind. */
  readonly wait: boolean;
}

/** A grant. */
export interface ClaimGrant {
  readonly state: 'granted';
  /** Above every fence that was granted for the key before; `undefined` exactly where `fencing` is `none`. */
  readonly fence: number | undefined;
  /**
   * For how many milliseconds after the request was sent nobody else is granted what conflicts with it, by a perfect
   * clock: the core subtracts the drift. Usually `leaseMs`.
   */
  readonly validMs: number;
}

/** How a claim stands. */
export type ClaimResult =
  | ClaimGrant
  /** It has a place in the queue, for `leaseMs` from now. A holder that waits for an upgrade keeps what it has. */
  | { readonly state: 'waiting' }
  /** It has nothing, and no place. A holder that asked for an upgrade keeps what it has. */
  | { readonly state: 'busy' };

/** How a conversion stands. */
export type ConvertResult =
  | ClaimResult
  /** Another holder waits for an upgrade already. The claim keeps what it has. */
  | { readonly state: 'deadlock' }
  /** The owner holds nothing. Nothing was left behind: a conversion never makes a claim. */
  | { readonly state: 'lost' };

/** The answer to a renewal. */
export type RenewResult = { readonly state: 'held'; readonly validMs: number } | { readonly state: 'lost' };

/** How a lock was given back: `lost` means that it had been lost before, and may have been somebody else's. */
export type ReleaseResult = 'released' | 'lost';

/** Who has a key, and how many wait. */
export interface LockStatus {
  readonly holders: readonly {
    readonly owner: string;
    readonly mode: LockMode;
    readonly permits: number;
    readonly fence: number | undefined;
  }[];
  readonly waiting: number;
}

/** One string for a claim, to find it by: an owner has no control characters. */
export function claimKey(key: string, owner: string): string {
  return `${owner}\0${key}`;
}
