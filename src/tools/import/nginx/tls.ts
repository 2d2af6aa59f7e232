/**
 * Versions, ciphers and groups, which have the same names for clients (`ssl_…`) and servers (`proxy_ssl_…`).
 */
import { tlsParameters } from '../haproxy/tls.ts';
import type { Notes } from '../notes.ts';
import type { Settings } from './settings.ts';
import type { Directive } from './syntax.ts';

const versions = ['TLSv1.2', 'TLSv1.3'];

export function tlsSettings(settings: Settings, prefix: 'ssl_' | 'proxy_ssl_', notes: Notes): object {
  const options = new Map<string, { value: string; line: Directive }>();
  const take = (name: string, option: string, text: (words: readonly string[]) => string | undefined) => {
    const directive = settings.last(`${prefix}${name}`);
    const value = directive && text(directive.words);
    if (directive && value !== undefined) options.set(option, { value, line: directive });
  };
  take('ciphers', 'ciphers', ([list = '']) => (list === 'DEFAULT' ? undefined : list));
  take('ecdh_curve', 'curves', ([list = '']) => (list === 'auto' ? undefined : list));
  take('alpn', 'alpn', (words) => words.join(','));
  const said = settings.last(`${prefix}protocols`);
  const spoken = versions.filter((version) => said === undefined || said.words.includes(version));
  if (said && spoken.length === 0) notes.notCarried(said, said.text, 'penstock speaks no version below 1.2');
  return {
    ...tlsParameters(options, notes),
    ...(spoken.length === 1 && spoken[0] === 'TLSv1.3' && { min_version: '1.3' }),
    ...(spoken.length === 1 && spoken[0] === 'TLSv1.2' && { max_version: '1.2' }),
  };
}
