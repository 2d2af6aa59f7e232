/** TLS options that `bind`, `server`, crt-list and `global` share: versions, ciphers, curves. */
import { createSecureContext } from 'node:tls';
import type { Notes } from '../notes.ts';
import type { Line } from './syntax.ts';

/** TLS options by name, each with its line; the last of repeated options counts. */
export type Options = ReadonlyMap<string, { readonly value: string; readonly line: Line }>;

/** Penstock's `min_version`, `max_version`, `ciphers`, `groups` and `alpn`. */
export function tlsParameters(options: Options, notes: Notes): object {
  const alpn = options
    .get('alpn')
    ?.value.split(',')
    .filter((protocol) => protocol !== '');
  return {
    ...(alpn && alpn.length > 0 && { alpn }),
    ...versions(options, notes),
    ...ciphers(options, notes),
    ...groups(options, notes),
  };
}

const order = ['SSLv3', 'TLSv1.0', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

function versions(options: Options, notes: Notes): object {
  const bound = (option: string) => {
    const said = options.get(option);
    if (said !== undefined && order.indexOf(said.value) < 3) {
      const message = 'penstock speaks no version below 1.2';
      notes.notCarried(said.line, `${option} ${said.value}`, message);
    }
    return said?.value;
  };
  const isForced = (version: string) => options.has(`force-${version}`);
  for (const [option, { line }] of options) {
    if (/^force-(sslv3|tlsv10|tlsv11)$/.test(option)) {
      notes.notCarried(line, option, 'penstock speaks no version below 1.2');
    }
  }
  const min = bound('ssl-min-ver');
  const max = bound('ssl-max-ver');
  // One that is forced sets both ends, whatever `ssl-default-bind-options` says of either.
  const only13 =
    isForced('tlsv13') || (!isForced('tlsv12') && (min === 'TLSv1.3' || options.has('no-tlsv12')));
  const only12 = isForced('tlsv12') || max === 'TLSv1.2' || options.has('no-tlsv13');
  return { ...(only13 && { min_version: '1.3' }), ...(only12 && !only13 && { max_version: '1.2' }) };
}

/** Penstock has both kinds in one list, which must include TLS 1.3 suites if there are to be any. */
function ciphers(options: Options, notes: Notes): object {
  const [old, suites] = [options.get('ciphers'), options.get('ciphersuites')];
  if (old === undefined && suites === undefined) return {};
  const newest =
    suites?.value ?? 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';
  if (old === undefined) {
    notes.notCarried(
      suites?.line ?? { file: '', line: 0 },
      'ciphersuites',
      'without `ciphers` they do not stand alone here',
    );
    return {};
  }
  const listed = [...newest.split(':'), ...old.value.split(':')].filter((cipher) => cipher !== '');
  const strange = listed.filter((cipher) => !/^[!+\-@]/.test(cipher) && !isKnown({ ciphers: cipher }));
  if (strange.length === 0) return { ciphers: listed };
  notes.notCarried(
    old.line,
    'ciphers',
    `this OpenSSL does not know ${strange.join(', ')}`,
    'they are left out',
  );
  return { ciphers: listed.filter((cipher) => !strange.includes(cipher)) };
}

function groups(options: Options, notes: Notes): object {
  const said = options.get('curves') ?? options.get('ecdhe');
  if (said === undefined) return {};
  const listed = said.value.split(':');
  const strange = listed.filter((group) => !isKnown({ ecdhCurve: group }));
  if (strange.length > 0)
    notes.notCarried(said.line, 'curves', `this OpenSSL does not know ${strange.join(', ')}`);
  const known = listed.filter((group) => !strange.includes(group));
  return known.length === 0 ? {} : { groups: known };
}

function isKnown(options: { ciphers: string } | { ecdhCurve: string }): boolean {
  try {
    createSecureContext(options);
    return true;
  } catch {
    return false;
  }
}

/** The options set for all by `ssl-default-bind-…` or `ssl-default-server-…` in `global`. */
export function defaultOptions(
  side: 'bind' | 'server',
  global: (...words: readonly string[]) => Line | undefined,
): Map<string, { value: string; line: Line }> {
  const options = new Map<string, { value: string; line: Line }>();
  const take = (key: string, option: string) => {
    const line = global(`ssl-default-${side}-${key}`);
    if (line) options.set(option, { value: line.words[1] ?? '', line });
  };
  take('ciphers', 'ciphers');
  take('ciphersuites', 'ciphersuites');
  take('curves', 'curves');
  const line = global(`ssl-default-${side}-options`);
  const words = line?.words.slice(1) ?? [];
  for (const [index, word] of words.entries()) {
    if (line) options.set(word, { value: words[index + 1] ?? '', line });
  }
  return options;
}
