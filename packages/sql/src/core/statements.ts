import type { Dialect } from '../contract.js';
import { SqlError } from '../errors.js';

/**
 * Splits a script into its statements, at each semicolon that is not inside a string, a quoted name, a comment or
 * (PostgreSQL) a dollar-quoted body. Comments before a statement stay with it, those after its last word
 * do not.
 *
 * It does not know the grammar: bodies between BEGIN and END (MySQL's routines, PostgreSQL's BEGIN ATOMIC) have
 * to be passed as statements of their own.
 */
export function splitStatements(dialect: Dialect, script: string): string[] {
  const statements: string[] = [];
  let start = 0;
  let contentEnd = 0;
  const endStatement = (): void => {
    if (contentEnd > start) statements.push(script.slice(start, contentEnd).trim());
  };
  for (let at = 0; at < script.length;) {
    const token = tokenAt(dialect, script, at);
    if (token.kind === 'content') contentEnd = token.end;
    if (token.kind === 'semicolon') {
      endStatement();
      start = token.end;
    }
    at = token.end;
  }
  endStatement();
  return statements;
}

interface Token {
  readonly kind: 'content' | 'blank' | 'semicolon';
  readonly end: number;
}

const SPACE = /\s+/y;
/** A word is one token, so that a dollar sign or an E inside a name begins nothing. */
const WORD = /[\p{L}\p{N}_$]+/uy;
const DOLLAR_TAG = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy;
const ESCAPE_STRING = /e'/iy;
const MYSQL_DASH_COMMENT = /--(?=\s|$)/y;

function tokenAt(dialect: Dialect, script: string, at: number): Token {
  const space = match(SPACE, script, at);
  if (space > 0) return { kind: 'blank', end: at + space };
  if (script[at] === ';') return { kind: 'semicolon', end: at + 1 };
  const isLineComment =
    dialect === 'postgres'
      ? script.startsWith('--', at)
      : script[at] === '#' || match(MYSQL_DASH_COMMENT, script, at) > 0;
  if (isLineComment) {
    const line = script.indexOf('\n', at);
    return { kind: 'blank', end: line < 0 ? script.length : line + 1 };
  }
  if (script.startsWith('/*', at)) {
    // MySQL runs what is in a comment that begins with `/*!`, MariaDB also `/*M!`.
    const runs = dialect === 'mysql' && /^\/\*M?!/.test(script.slice(at, at + 4));
    return { kind: runs ? 'content' : 'blank', end: endOfBlockComment(dialect, script, at) };
  }
  return { kind: 'content', end: endOfContent(dialect, script, at) };
}

function endOfContent(dialect: Dialect, script: string, at: number): number {
  const quote = script[at];
  if (dialect === 'mysql') {
    if (quote === "'" || quote === '"') return endOfQuoted(script, at, quote, true);
    if (quote === '`') return endOfQuoted(script, at, quote, false);
  } else {
    if (match(ESCAPE_STRING, script, at) > 0) return endOfQuoted(script, at + 1, "'", true);
    if (quote === "'" || quote === '"') return endOfQuoted(script, at, quote, false);
    const tag = match(DOLLAR_TAG, script, at);
    if (tag > 0) {
      const close = script.indexOf(script.slice(at, at + tag), at + tag);
      if (close < 0) throw unterminated(script, at, 'a dollar-quoted string');
      return close + tag;
    }
  }
  return at + (match(WORD, script, at) || 1);
}

/** A quote inside is doubled; two strings side by side look the same and split the same. */
function endOfQuoted(script: string, at: number, quote: string, backslashEscapes: boolean): number {
  for (let end = at + 1; end < script.length; end++) {
    if (script[end] === quote) return end + 1;
    if (backslashEscapes && script[end] === '\\') end++;
  }
  throw unterminated(script, at, quote === "'" ? 'a string' : 'a quoted name');
}

/** Block comments nest in PostgreSQL only. */
function endOfBlockComment(dialect: Dialect, script: string, at: number): number {
  let depth = 1;
  for (let end = at + 2; end < script.length; end++) {
    if (script.startsWith('*/', end)) {
      depth--;
      end++;
      if (depth === 0) return end + 1;
    } else if (dialect === 'postgres' && script.startsWith('/*', end)) {
      depth++;
      end++;
    }
  }
  throw unterminated(script, at, 'a comment');
}

function match(pattern: RegExp, script: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(script)?.[0].length ?? 0;
}

function unterminated(script: string, at: number, what: string): SqlError {
  const line = script.slice(0, at).split('\n').length;
  return new SqlError(
    'UNTERMINATED_SQL',
    `${what} that begins on line ${String(line)} of a script has no end`,
  );
}
