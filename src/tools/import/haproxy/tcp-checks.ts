/** Converts the script of `option tcp-check`: `tcp-check connect`, `send`, `expect`. */
import type { CheckKind } from './check-kind.ts';
import { escapeText, literalOf, type Uncheckable } from './http-checks.ts';
import type { ProxySection } from './proxies.ts';
import type { Line } from './syntax.ts';

type Script = { port?: number; overTls?: true; sent: string; texts: string[] };

/** Everything is sent at once, and every text is expected. undefined if there is no script. */
export function tcpCheck(backend: ProxySection): (CheckKind & { overTls?: true }) | Uncheckable | undefined {
  const steps = backend.every('tcp-check');
  if (backend.last('option', 'tcp-check') === undefined || steps.length === 0) return undefined;
  const script: Script = { sent: '', texts: [] };
  for (const [index, line] of steps.entries()) {
    const why = readStep(line, index, script);
    if (why !== undefined) return { line, why };
  }
  const { sent, texts, port, overTls } = script;
  const place = { ...(port !== undefined && { port }), ...(overTls && { overTls }) };
  if (texts.length === 0) return { type: 'tcp', ...place };
  const [only] = texts;
  return {
    type: 'expect',
    ...(sent !== '' && { send: sent }),
    expect: texts.length === 1 && only !== undefined ? only : texts,
    ...place,
  };
}

/** Returns why it cannot be carried over. */
function readStep({ words: [, action, ...rest] }: Line, index: number, script: Script): string | undefined {
  const words = withoutComment(rest);
  if (action === 'comment') return undefined;
  if (action === 'connect') return readConnect(words, index, script);
  if (action === 'send' || action === 'send-binary') {
    const text = action === 'send' ? escapeText(words[0] ?? '') : bytesOf(words[0] ?? '');
    if (!text) return 'it sends nothing that penstock could';
    script.sent += text;
    return undefined;
  }
  if (action !== 'expect') return 'a check of penstock’s connects, sends, and expects texts or bytes';
  return readExpect(words, script);
}

/** Only the first step may say where to connect: a check of penstock's has one connection. */
function readConnect(words: readonly string[], index: number, script: Script): string | undefined {
  if (index > 0) return 'a check of penstock’s has one connection';
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    if (word === 'ssl') script.overTls = true;
    else if (word === 'port' && /^\d{1,5}$/.test(words[at + 1] ?? '')) script.port = Number(words[++at]);
    else if (word !== 'default' && word !== 'linger') return `a check of penstock’s has no ${word}`;
  }
  return undefined;
}

/** `[min-recv N] [ok-status S] … [!] (string|binary|rstring) PATTERN`. */
function readExpect(words: readonly string[], script: Script): string | undefined {
  const at = words.findIndex((word) => ['string', 'binary', 'rstring'].includes(word));
  const pattern = words[at + 1] ?? '';
  const match = words[at];
  const text = match === 'binary' ? bytesOf(pattern) : match === 'rstring' ? literalOf(pattern) : pattern;
  if (at === -1 || words.slice(0, at).includes('!') || !text) {
    return 'a check of penstock’s connects, sends, and expects texts or bytes';
  }
  script.texts.push(match === 'binary' ? text : escapeText(text));
  return undefined;
}

function withoutComment(words: readonly string[]): string[] {
  return words.filter((word, index) => word !== 'comment' && words[index - 1] !== 'comment');
}

/** In penstock's notation; undefined if it is not hex. */
function bytesOf(hex: string): string | undefined {
  return /^([0-9a-fA-F]{2})+$/.test(hex) ? hex.replace(/../g, (byte) => `\\x${byte}`) : undefined;
}
