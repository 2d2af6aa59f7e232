/** Converts `option httpchk` and `http-check` (configuration manual, §4.2). */
import type { CheckKind } from './check-kind.ts';
import type { ProxySection } from './proxies.ts';
import type { Line } from './syntax.ts';

/** A part of a check that penstock cannot make, and why. */
export type Uncheckable = { readonly line: Line; readonly why: string };

type Request = { method: string; path: string; host?: string };
type Expected = { status?: string[]; texts: string[] };

/** undefined if nothing is asked by HTTP. */
export function httpCheck(backend: ProxySection): CheckKind | Uncheckable | undefined {
  const option = backend.last('option', 'httpchk');
  if (option === undefined) return undefined;
  const request = requestOf(option);
  const expected: Expected = { texts: [] };
  let fault = invalid(request, option);
  for (const line of backend.every('http-check')) {
    const why = readStep(line, request, expected);
    if (why !== undefined) fault ??= { line, why };
    fault ??= invalid(request, line);
  }
  if (fault) return fault;
  const { method, path, host } = request;
  const status = expected.status ?? (expected.texts.length > 0 ? ['100-599'] : undefined);
  return {
    type: 'http',
    ...(method !== 'GET' && { method }),
    ...(path !== '/' && { path }),
    ...(host !== undefined && { host }),
    ...(status && { status: status.length === 1 ? status[0] : status }),
    ...(expected.texts.length > 0 && { expect: expected.texts }),
  };
}

/** `option httpchk [[METHOD] URI [VERSION [HEADERS]]]`; the headers were once written behind the version. */
function requestOf({ words }: Line): Request {
  const [, , ...given] = words;
  const [method, path, ...rest] = given.length === 1 ? ['OPTIONS', ...given] : given;
  const host = /\r\nhost:\s*([^\r\n]+)/i.exec(rest.join(' '))?.[1];
  return {
    method: (method ?? 'OPTIONS').toUpperCase(),
    path: path ?? '/',
    ...(host !== undefined && { host: host.trim() }),
  };
}

function invalid({ method, path, host = 'h' }: Request, line: Line): Uncheckable | undefined {
  if (!['GET', 'HEAD', 'OPTIONS'].includes(method))
    return { line, why: `penstock does not ask by ${method}` };
  if (!/^\/[\x21-\x7e]*$/.test(path)) return { line, why: 'penstock asks for paths of printable ASCII' };
  return /^[\w.:[\]-]+$/.test(host) ? undefined : { line, why: 'penstock sends only a plain Host' };
}

/** Returns why it cannot be carried over. */
function readStep({ words }: Line, request: Request, expected: Expected): string | undefined {
  const [, action, ...rest] = words;
  if (action === 'expect') return readExpect(rest, expected);
  if (action === 'send') return readSend(rest, request);
  // A server that answers 404 takes no new clients there either.
  if (action === 'comment' || action === 'send-state' || action === 'disable-on-404') return undefined;
  return action === 'connect' && rest.length === 0
    ? undefined
    : 'penstock asks once, for a status and a text';
}

function readSend(words: readonly string[], request: Request): string | undefined {
  for (let at = 0; at < words.length; at += 2) {
    const [key = '', value = ''] = words.slice(at);
    if (key === 'meth') request.method = value.toUpperCase();
    else if (key === 'uri') request.path = value;
    else if (key === 'hdr' && value.toLowerCase() === 'host') request.host = words[++at + 1] ?? '';
    else if (key === 'hdr' && /^(user-agent|accept|connection)$/i.test(value)) at += 1;
    else if (key !== 'ver' && key !== 'comment') return 'penstock sends no other header, and no body';
  }
  return undefined;
}

/** `[min-recv N] [comment X] [ok-status S] … [!] (status|rstatus|string|rstring) PATTERN`. */
function readExpect(words: readonly string[], expected: Expected): string | undefined {
  const options = [
    'min-recv',
    'comment',
    'ok-status',
    'error-status',
    'tout-status',
    'on-success',
    'on-error',
    'status-code',
  ];
  let at = 0;
  while (options.includes(words[at] ?? '')) at += 2;
  const negated = words[at] === '!';
  const [match, pattern = ''] = words.slice(negated ? at + 1 : at);
  if (match === 'status' || match === 'rstatus') {
    const wanted = match === 'status' ? inList(pattern) : inExpression(pattern);
    if (wanted === undefined || expected.status !== undefined) return 'penstock knows one list of codes';
    expected.status = ranges((code) => wanted(code) !== negated);
    return expected.status.length > 0 ? undefined : 'no status would be healthy';
  }
  const text = match === 'string' ? pattern : match === 'rstring' ? literalOf(pattern) : undefined;
  if (text === undefined || text === '' || negated) return 'penstock expects a text in the body';
  expected.texts.push(escapeText(text));
  return undefined;
}

function inList(pattern: string): ((code: number) => boolean) | undefined {
  const parts = pattern.split(',').map((part) => /^(\d+)(?:-(\d+))?$/.exec(part));
  if (parts.includes(null)) return undefined;
  return (code) => parts.some((part) => code >= Number(part?.[1]) && code <= Number(part?.[2] ?? part?.[1]));
}

function inExpression(pattern: string): ((code: number) => boolean) | undefined {
  try {
    const expression = new RegExp(pattern);
    return (code) => expression.test(String(code));
  } catch {
    return undefined;
  }
}

/** The codes for which it holds, as penstock writes them. */
function ranges(holds: (code: number) => boolean): string[] {
  const found: string[] = [];
  for (let code = 100; code <= 599; code++) {
    if (!holds(code)) continue;
    const least = code;
    while (code < 599 && holds(code + 1)) code++;
    found.push(least === code ? String(least) : `${least}-${code}`);
  }
  return found;
}

/** The text that an expression stands for if it is nothing but one. */
export function literalOf(pattern: string): string | undefined {
  return /^(?:[^\\^$.|?*+()[\]{}]|\\[^\w\s])+$/.test(pattern) ? pattern.replace(/\\(.)/g, '$1') : undefined;
}

/** Bytes in penstock's notation: `\xHH`, and `\\` for a backslash. */
export function escapeText(text: string): string {
  return text
    .replaceAll('\\', () => '\\\\')
    .replace(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
