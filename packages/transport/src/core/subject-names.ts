/**
 * The names of a certificate's subject alternative names as Node prints them, such as
 * `DNS:orders-1, URI:"spiffe://prod/a, b"`: one string `type:value` per name, quotes resolved. Node quotes a value
 * as a JSON string exactly when it has characters that could be taken for the separator (CVE-2021-44532). Text
 * that does not fit yields no names at all.
 */
export function subjectNames(subjectAltName: string | undefined): readonly string[] {
  const names: string[] = [];
  let rest = subjectAltName ?? '';
  while (rest.length > 0) {
    const match = NAME.exec(rest);
    if (match === null) return [];
    const [whole, type = '', quoted, plain = ''] = match;
    const value = quoted === undefined ? plain : unquote(quoted);
    if (value === undefined) return [];
    names.push(`${type}:${value}`);
    rest = rest.slice(whole.length);
  }
  return names;
}

/** Whether the names have `id` as a DNS name or a URI, letter by letter: no wildcards, no folding of case. */
export function namesNode(names: readonly string[], id: string): boolean {
  return names.includes(`DNS:${id}`) || names.includes(`URI:${id}`);
}

const NAME = /^([A-Za-z0-9 ]+):(?:("(?:[^"\\]|\\.)*")|([^,"]*))(?:, |$)/;

function unquote(quoted: string): string | undefined {
  try {
    return String(JSON.parse(quoted));
  } catch {
    return undefined;
  }
}
