/** What every error of the toolkit accepts besides its message. */
export interface QuorateErrorOptions {
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/**
 * The base of every error that the toolkit throws.
 *
 * `code` is stable across releases: branch on it, or on the class. The message begins with the code, says what
 * was given, and what to do. `instanceof` also holds between the ESM and the CommonJS copy of a package, because
 * classes are compared by their {@link QuorateError.brand} rather than by identity.
 */
export class QuorateError extends Error {
  /** The class's name across copies of a package. A subclass with a brand of its own is recognised likewise. */
  static readonly brand: string = '@quorate/runtime#QuorateError';

  /** Stable, machine-readable reason, such as `INVALID_OPTION`. */
  readonly code: string;

  constructor(code: string, message: string, options: QuorateErrorOptions = {}) {
    super(`${code}: ${message}`, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.code = code;
  }

  /** Compares brands, so that an instance of another copy of the class counts too. */
  static override [Symbol.hasInstance](this: unknown, value: unknown): boolean {
    const brand = ownBrand(this);
    // A subclass that declares no brand is an ordinary class: nothing but identity tells its instances apart.
    if (brand === undefined) return Function.prototype[Symbol.hasInstance].call(this, value);
    if (typeof value !== 'object' || value === null) return false;
    for (
      let prototype: unknown = Object.getPrototypeOf(value);
      prototype !== null;
      prototype = Object.getPrototypeOf(prototype)
    ) {
      if (ownBrand((prototype as { constructor?: unknown }).constructor) === brand) return true;
    }
    return false;
  }
}

function ownBrand(constructor: unknown): string | undefined {
  return typeof constructor === 'function' && Object.hasOwn(constructor, 'brand')
    ? (constructor as unknown as { brand: string }).brand
    : undefined;
}

/** An option or argument that cannot be honoured. Nothing was done. Code `INVALID_OPTION`. */
export class InvalidOptionError extends QuorateError {
  static override readonly brand: string = '@quorate/runtime#InvalidOptionError';

  /** The option's name, such as `timeoutMs`. */
  readonly option: string;
  /** What was given. */
  readonly value: unknown;

  constructor(option: string, value: unknown, expected: string) {
    super('INVALID_OPTION', `${option} must be ${expected}, got ${describeValue(value)}`);
    this.option = option;
    this.value = value;
  }
}

/** A wait that was given up because its time was over. Code `DEADLINE_EXCEEDED`. */
export class DeadlineError extends QuorateError {
  static override readonly brand: string = '@quorate/runtime#DeadlineError';

  /** How long was waited, in milliseconds. */
  readonly timeoutMs: number;

  constructor(timeoutMs: number, what = 'the operation') {
    super('DEADLINE_EXCEEDED', `${what} did not finish within ${String(timeoutMs)} ms`);
    this.timeoutMs = timeoutMs;
  }
}

const SHOWN_CHARACTERS = 80;

/** A value as an error message shows it: short, on one line, and with its type where that is the surprise. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'string': {
      const shown = value.length > SHOWN_CHARACTERS ? `${value.slice(0, SHOWN_CHARACTERS)}…` : value;
      return value.length > SHOWN_CHARACTERS
        ? `${JSON.stringify(shown)} (${String(value.length)} characters)`
        : JSON.stringify(shown);
    }
    case 'bigint':
      return `${String(value)}n`;
    case 'function':
      return `a function`;
    case 'object':
      if (value === null) return 'null';
      if (ArrayBuffer.isView(value)) return `${value.constructor.name} of ${String(value.byteLength)} bytes`;
      return Array.isArray(value) ? `an array of ${String(value.length)}` : `an object`;
    default:
      return String(value);
  }
}
