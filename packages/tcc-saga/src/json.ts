import { InvalidOptionError } from '@quorate/runtime';

/** The most bytes of JSON that an input or an output may take. */
const MAX_JSON_BYTES = 1_048_576;

/** `value` as JSON. Throws {@link InvalidOptionError} where there is none, or too much of it. */
export function encodeJson(what: string, value: unknown): string {
  let text: unknown;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new InvalidOptionError(what, value, `a JSON value (${describeError(error)})`);
  }
  // Undefined, a function or a symbol; the types of JSON.stringify do not say so.
  if (typeof text !== 'string') throw new InvalidOptionError(what, value, 'a JSON value');
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_JSON_BYTES) {
    throw new InvalidOptionError(
      what,
      value,
      `at most ${String(MAX_JSON_BYTES)} bytes of JSON, not ${String(bytes)}: store a reference to it instead`,
    );
  }
  return text;
}

const MAX_ERROR_CHARACTERS = 1000;

/** An error as it is stored: bounded, and without the one character that PostgreSQL cannot hold. */
export function describeError(error: unknown): string {
  const text =
    error instanceof Error
      ? error.message.startsWith(String((error as { code?: unknown }).code))
        ? error.message
        : `${error.name}: ${error.message}`
      : String(error);
  return text.replaceAll('\0', '\ufffd').slice(0, MAX_ERROR_CHARACTERS);
}
